// What one message looks like: the user's bubble, and the model's answer with its thoughts, tool
// calls, errors and small print.

import { copy_button, el, icon, icon_button } from './dom.js';
import { MarkdownView } from './markdown.js';

const kClampChars = 1500;
const kClampLines = 18;
const kCostShare = 4;  // an update is followed by a pause this many times as long

const number = (value, digits = 0) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const seconds = (value) => `${number(value, value < 10 ? 1 : 0)} s`;

// actions: {edit(message, text), remove(message)}
export function user_turn(message, actions) {
  const text = el('div', { class: 'text', dir: 'auto' }, message.content);
  const bubble = el('div', { class: 'bubble', 'data-testid': 'message', 'data-role': 'user' }, text);
  if (message.content.length > kClampChars || message.content.split('\n', kClampLines + 1).length > kClampLines) {
    text.classList.add('clamped');
    const more = el('button', { type: 'button', class: 'link', 'aria-expanded': 'false', onclick: () => {
      const clamped = text.classList.toggle('clamped');
      more.textContent = clamped ? 'Show all' : 'Show less';
      more.setAttribute('aria-expanded', String(!clamped));
    } }, 'Show all');
    bubble.append(more);
  }
  const tools = el('div', { class: 'tools' },
    copy_button('Copy message', () => message.content, { 'data-testid': 'copy' }),
    icon_button('edit', 'Edit and ask again', () => edit(), { 'data-testid': 'edit' }),
    icon_button('trash', 'Delete message and its answer', () => actions.remove(message), { 'data-testid': 'delete' }));
  const turn = el('article', { class: 'turn user', 'aria-label': 'You' }, bubble, tools);

  function edit() {
    const area = el('textarea', { dir: 'auto', 'aria-label': 'Edit message', 'data-testid': 'edit-text', onkeydown: (event) => {
      if (event.key === 'Escape') cancel();
      else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) send();
      else return;
      event.preventDefault();
      event.stopPropagation();
    } });
    area.value = message.content;
    const cancel = () => {
      turn.replaceChildren(bubble, tools);
      tools.children[1].focus();
    };
    const send = () => {
      if (area.value.trim() !== '') actions.edit(message, area.value.trim());
    };
    turn.replaceChildren(el('div', { class: 'editor' }, area, el('div', { class: 'editor-foot' },
      el('button', { type: 'button', class: 'button', onclick: cancel }, 'Cancel'),
      el('button', { type: 'button', class: 'button primary', 'data-testid': 'edit-send', onclick: send }, 'Send'))));
    area.style.height = `${Math.min(area.scrollHeight + 2, 420)}px`;
    area.focus();
  }
  return turn;
}

function pretty_json(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;  // still coming in
  }
}

export class AnswerView {
  // actions: {regenerate(message), remove(message)}. `generation`: its Generation while it runs.
  // `shown()` is called after each update.
  constructor(message, actions, generation, shown) {
    this.message_ = message;
    this.actions_ = actions;
    this.generation = generation;
    this.shown_ = shown;
    this.cost_ms_ = 0;
    this.build_();
    this.update();
  }

  build_() {
    this.thought_title_ = el('span');
    this.thought_text_ = el('div', { class: 'markdown' });
    this.thoughts_ = el('details', { class: 'thoughts', 'data-testid': 'reasoning', hidden: true, ontoggle: () => this.update_thoughts_() },
      el('summary', {}, this.thought_title_), this.thought_text_);
    this.thought_view_ = new MarkdownView(this.thought_text_);
    this.text_ = el('div', { class: 'markdown', 'data-testid': 'answer' });
    this.view_ = new MarkdownView(this.text_);
    this.calls_ = el('div', { class: 'calls' });
    this.error_ = el('div');
    this.wait_ = el('div', { class: 'waiting', hidden: true }, el('span', { class: 'dots', 'aria-hidden': 'true' }, el('i'), el('i'), el('i')),
      el('span'));
    this.print_ = el('span', { class: 'print', 'data-testid': 'answer-stats' });
    this.tools_ = el('div', { class: 'tools' });
    this.body_ = el('div', { class: 'body', 'data-testid': 'message', 'data-role': 'assistant' },
      this.thoughts_, this.text_, this.calls_, this.wait_, this.error_);
    this.turn = el('article', { class: 'turn assistant', 'aria-label': 'Model' }, this.body_,
      el('div', { class: 'foot' }, this.tools_, this.print_));
  }

  // Asks for an update soon: at most one a frame, and less often when updates take long.
  schedule() {
    if (this.pending_) return;
    this.pending_ = true;
    const pause = Math.max(0, this.cost_ms_ * kCostShare - (performance.now() - (this.updated_ ?? 0)));
    setTimeout(() => requestAnimationFrame(() => {
      this.pending_ = false;
      if (this.generation) this.update();
    }), pause);
  }

  // After the generation has ended.
  finish() {
    this.generation = null;
    this.update();
  }

  update() {
    const before = performance.now();
    const message = this.message_;
    const live = this.generation !== null;
    this.turn.classList.toggle('live', live);
    this.body_.dataset.state = live ? 'live' : message.error ? 'error' : 'done';
    this.view_.update(message.content, !live);
    this.update_thoughts_();
    this.update_calls_();
    this.wait_.hidden = !live || message.content !== '' || Boolean(message.reasoning) || Boolean(message.tool_calls);
    if (!this.wait_.hidden) {
      const waited = this.generation.waited_s;
      this.wait_.lastChild.textContent = waited < 2 ? 'Reading the prompt' : `Reading the prompt, ${number(waited)} s`;
    }
    this.print_.textContent = live ? this.live_print_() : this.final_print_();
    if (!live && this.tools_.childElementCount === 0) this.show_tools_();
    if (!live) this.show_error_();
    this.shown_();
    this.updated_ = performance.now();
    this.cost_ms_ = this.updated_ - before;
  }

  update_thoughts_() {
    const { reasoning, thought_s } = this.message_;
    this.thoughts_.hidden = !reasoning;
    if (!reasoning) return;
    const thinking_s = this.generation?.thinking_s ?? null;
    this.thoughts_.classList.toggle('thinking', thinking_s !== null);
    this.thought_title_.textContent = thinking_s !== null ? `Thinking… ${number(thinking_s)} s`
      : thought_s === undefined ? 'Thoughts' : `Thought for ${seconds(thought_s)}`;
    if (this.thoughts_.open) this.thought_view_.update(reasoning, thinking_s === null);
  }

  update_calls_() {
    const calls = this.message_.tool_calls ?? [];
    calls.forEach((call, i) => {
      const card = this.calls_.children[i] ?? this.calls_.appendChild(
        el('div', { class: 'call', 'data-testid': 'tool-call' },
          el('div', { class: 'call-head' }, icon('tool'), el('span', {}, 'Calls '), el('code')), el('pre', { tabindex: 0 })));
      if (card.dataset.size === String(call.arguments.length) && card.dataset.name === call.name) return;
      Object.assign(card.dataset, { size: call.arguments.length, name: call.name });
      card.querySelector('code').textContent = call.name;
      card.lastChild.textContent = pretty_json(call.arguments);
    });
  }

  live_print_() {
    const { pieces, tok_s } = this.generation.progress;
    if (pieces === 0) return '';
    return `${number(pieces)} tokens${tok_s === null ? '' : ` · ${number(tok_s, 1)} tok/s`}`;
  }

  final_print_() {
    const { finish, tokens, tok_s, first_s, usage } = this.message_;
    const parts = [];
    if (finish === 'length') parts.push('Cut off at the token limit');
    if (finish === 'stopped') parts.push('Stopped');
    if (tokens > 0) parts.push(`${number(tokens)} ${tokens === 1 ? 'token' : 'tokens'}`);
    if (tok_s > 0) parts.push(`${number(tok_s, 1)} tok/s`);
    if (typeof first_s === 'number') parts.push(`first after ${first_s < 1 ? `${number(first_s * 1000)} ms` : seconds(first_s)}`);
    if (usage?.prompt_tokens > 0) {
      parts.push(`prompt ${number(usage.prompt_tokens)}${usage.cached_tokens > 0 ? ` (${number(usage.cached_tokens)} cached)` : ''}`);
    }
    return parts.join(' · ');
  }

  show_tools_() {
    const { message_: message, actions_: actions } = this;
    this.tools_.append(
      message.content ? copy_button('Copy answer', () => message.content, { 'data-testid': 'copy' }) : '',
      icon_button('again', 'Answer again', () => actions.regenerate(message), { 'data-testid': 'regenerate', class: 'icon-button only-last' }),
      icon_button('trash', 'Delete answer', () => actions.remove(message), { 'data-testid': 'delete' }));
  }

  show_error_() {
    const error = this.message_.error;
    if (!error) return;
    const detail = [error.type, error.code].filter((part) => part && part !== 'connection').join(' · ');
    this.error_.replaceChildren(el('div', { class: 'error', role: 'alert', 'data-testid': 'error' },
      el('div', {}, el('p', {}, error.message), detail ? el('small', {}, detail) : null),
      el('button', { type: 'button', class: 'button only-last', 'data-testid': 'retry', onclick: () => this.actions_.regenerate(this.message_) }, 'Retry')));
  }
}
