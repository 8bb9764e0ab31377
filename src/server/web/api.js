// The server's HTTP interface: JSON documents and streamed chat completions.

const kLost = 'The connection to the server was lost before the answer was complete.';
const kUnreachable = 'The server cannot be reached. Is it still running?';

// What the server said about a failed request, or the page about a failed connection
// (type 'connection').
export class ApiError extends Error {
  constructor(message, type = '', code = '') {
    super(message);
    this.type = type;
    this.code = code;
  }
}

function error_of(body, status) {
  const error = body?.error;
  if (typeof error?.message !== 'string') return new ApiError(`The server answered with HTTP status ${status}.`);
  return new ApiError(error.message, String(error.type ?? ''), String(error.code ?? status));
}

async function open(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(kUnreachable, 'connection');
  }
  if (response.ok) return response;
  throw error_of(await response.json().catch(() => null), response.status);
}

// A JSON document, within `timeout_ms`. ApiError when it does not come.
export async function get_json(path, timeout_ms = 4000) {
  const response = await open(path, { signal: AbortSignal.timeout(timeout_ms) }).catch((error) => {
    throw error instanceof ApiError ? error : new ApiError(kUnreachable, 'connection');
  });
  return response.json();
}

// Data of server-sent events out of pieces of text, however they were cut.
async function* events_of(reader) {
  const decoder = new TextDecoder();
  let rest = '';
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (done ? `${decoder.decode()}\n\n` : decoder.decode(value, { stream: true }))).split('\n');
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      else if (line === '' && data.length > 0) {
        yield data.join('\n');
        data = [];
      }
    }
    if (done) return;
  }
}

// Chunks of a streamed chat completion, up to its [DONE]. Throws ApiError when the server refuses,
// fails on the way or goes away, AbortError when `signal` stops it.
export async function* stream_chat(request, signal) {
  const response = await open('/v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  const reader = response.body.getReader();
  try {
    for await (const data of events_of(reader)) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw error_of(chunk, response.status);
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError(kLost, 'connection');
  } finally {
    reader.cancel().catch(() => {});
  }
  throw new ApiError(kLost, 'connection');
}
