// One answer while it comes in: fills its message from the stream and keeps its times.

import { stream_chat } from './api.js';

// The messages as the server takes them: what was thought is left out, as are answers that failed
// before they said anything.
export function wire_messages(system, messages) {
  const wire = system === '' ? [] : [{ role: 'system', content: system }];
  for (const { role, content, tool_calls } of messages) {
    if (role === 'user') wire.push({ role, content });
    else if (tool_calls?.length > 0) {
      wire.push({ role, content, tool_calls: tool_calls.map((call) => ({ id: call.id, type: 'function',
        function: { name: call.name, arguments: call.arguments } })) });
    } else if (content !== '') wire.push({ role, content });
  }
  return wire;
}

export class Generation {
  // `message` is the answer to fill, `grown()` is called after each piece.
  constructor(message, grown) {
    this.message = message;
    this.grown_ = grown;
    this.controller_ = new AbortController();
    this.started_ = performance.now();
    this.first_ = null;          // when the first token came, ms
    this.thinking_since_ = null;
    this.pieces_ = 0;
  }

  stop() {
    this.controller_.abort();
  }

  // Seconds since the request was sent.
  get waited_s() {
    return (performance.now() - this.started_) / 1000;
  }

  get thinking_s() {
    return this.thinking_since_ === null ? null : (performance.now() - this.thinking_since_) / 1000;
  }

  // {pieces, tok_s} so far: a piece is a token, or a few of them.
  get progress() {
    const seconds = this.first_ === null ? 0 : (performance.now() - this.first_) / 1000;
    return { pieces: this.pieces_, tok_s: seconds > 0.25 ? (this.pieces_ - 1) / seconds : null };
  }

  // Runs to the end, whichever it is; what went wrong stands in message.error.
  async run(request) {
    const message = this.message;
    try {
      for await (const chunk of stream_chat(request, this.controller_.signal)) this.take_(chunk);
      if (message.finish === undefined) message.finish = 'stop';
    } catch (error) {
      if (error.name === 'AbortError') message.finish = 'stopped';
      else message.error = { message: error.message, type: error.type ?? '', code: error.code ?? '' };
    }
    this.end_thinking_();
    const { pieces, tok_s } = this.progress;
    const seconds = this.first_ === null ? 0 : (this.last_ - this.first_) / 1000;
    message.tokens = message.usage?.completion_tokens ?? pieces;
    message.tok_s = message.tokens > 1 && seconds > 0 ? (message.tokens - 1) / seconds : tok_s;
    message.first_s = this.first_ === null ? null : (this.first_ - this.started_) / 1000;
  }

  take_(chunk) {
    const message = this.message;
    if (chunk.usage) {
      message.usage = {
        prompt_tokens: Number(chunk.usage.prompt_tokens) || 0,
        completion_tokens: Number(chunk.usage.completion_tokens) || 0,
        cached_tokens: Number(chunk.usage.prompt_tokens_details?.cached_tokens) || 0,
      };
    }
    const choice = chunk.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason) message.finish = String(choice.finish_reason);
    const { content, reasoning_content, tool_calls } = choice.delta ?? {};
    if (!content && !reasoning_content && !tool_calls) return;
    this.last_ = performance.now();
    this.first_ ??= this.last_;
    this.pieces_++;
    if (reasoning_content) {
      this.thinking_since_ ??= performance.now();
      message.reasoning = (message.reasoning ?? '') + reasoning_content;
    }
    if (content || tool_calls) this.end_thinking_();
    if (content) message.content += content;
    for (const call of tool_calls ?? []) this.take_call_(call);
    this.grown_();
  }

  take_call_(call) {
    const calls = (this.message.tool_calls ??= []);
    const index = Number.isInteger(call.index) ? call.index : calls.length;
    if (index < 0 || index > calls.length) return;
    const kept = (calls[index] ??= { id: '', name: '', arguments: '' });
    if (call.id) kept.id = String(call.id);
    kept.name += call.function?.name ?? '';
    kept.arguments += call.function?.arguments ?? '';
  }

  end_thinking_() {
    if (this.thinking_since_ === null) return;
    this.message.thought_s = (this.message.thought_s ?? 0) + this.thinking_s;
    this.thinking_since_ = null;
  }
}
