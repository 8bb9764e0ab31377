// What the browser remembers: chats and small values. localStorage may be missing, full or hold
// anything; then chats live as long as the page.

const kIndex = 'hlwq.chats';
const kChat = 'hlwq.chat.';
const kMaxChats = 200;
const kMaxTitle = 60;

const unsaved = new Map();  // key -> text of what localStorage did not take

export function read(key) {
  let text = unsaved.get(key) ?? null;
  try {
    text ??= localStorage.getItem(key);
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

// Whether the value will still be there after the page is closed.
export function write(key, value) {
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(key, text);
    unsaved.delete(key);
    return true;
  } catch {
    unsaved.set(key, text);
    return false;
  }
}

export function erase(key) {
  unsaved.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // Nothing was kept there.
  }
}

const text_or = (value, otherwise) => (typeof value === 'string' ? value : otherwise);

// Newest first: [{id, title, updated}].
export function list_chats() {
  const index = read(kIndex);
  if (!Array.isArray(index)) return [];
  return index.filter((entry) => typeof entry?.id === 'string')
    .map((entry) => ({ id: entry.id, title: text_or(entry.title, 'Chat'), updated: Number(entry.updated) || 0 }))
    .sort((a, b) => b.updated - a.updated);
}

export function new_chat() {
  return { id: Date.now().toString(36) + Math.random().toString(36).slice(2, 8), title: '', messages: [] };
}

function sound_message(message) {
  if (message?.role !== 'user' && message?.role !== 'assistant') return null;
  const sound = { ...message, content: text_or(message.content, '') };
  if (typeof sound.reasoning !== 'string') delete sound.reasoning;
  if (typeof sound.error?.message !== 'string') delete sound.error;
  if (!Array.isArray(sound.tool_calls)) delete sound.tool_calls;
  else sound.tool_calls = sound.tool_calls.filter((call) => typeof call?.name === 'string' && typeof call.arguments === 'string');
  return sound;
}

// The chat, or null when it is not there or unreadable.
export function load_chat(id) {
  const chat = read(kChat + id);
  if (!Array.isArray(chat?.messages)) return null;
  const messages = chat.messages.map(sound_message).filter(Boolean);
  const last = messages.at(-1);
  // The page was closed before the answer began.
  if (last?.role === 'assistant' && !last.content && !last.reasoning && !last.tool_calls && !last.error) messages.pop();
  return { id, title: text_or(chat.title, ''), messages };
}

export function title_of(chat) {
  if (chat.title) return chat.title;
  const first = chat.messages.find((message) => message.role === 'user')?.content.trim().replace(/\s+/g, ' ') ?? '';
  return first.length > kMaxTitle ? `${first.slice(0, kMaxTitle - 1).trimEnd()}…` : first || 'New chat';
}

// Keeps the chat; old ones go when there are too many or no room is left. False when it could not
// be kept beyond this page.
export function save_chat(chat, touch = true) {
  const others = list_chats().filter((entry) => entry.id !== chat.id);
  const before = list_chats().find((entry) => entry.id === chat.id);
  const entry = { id: chat.id, title: title_of(chat), updated: touch || !before ? Date.now() : before.updated };
  while (others.length >= kMaxChats) erase(kChat + others.pop().id);
  let kept = write(kChat + chat.id, { title: chat.title, messages: chat.messages });
  while (!kept && others.length > 0 && storage_works()) {
    erase(kChat + others.pop().id);
    kept = write(kChat + chat.id, { title: chat.title, messages: chat.messages });
  }
  write(kIndex, [entry, ...others]);
  return kept;
}

// Tells full storage, where dropping old chats helps, from storage that is switched off.
function storage_works() {
  try {
    return localStorage.length > 0;
  } catch {
    return false;
  }
}

export function remove_chat(id) {
  erase(kChat + id);
  write(kIndex, list_chats().filter((entry) => entry.id !== id));
}

export function chat_as_markdown(chat) {
  const parts = chat.messages.map((message) => `## ${message.role === 'user' ? 'You' : 'Model'}\n\n${message.content}`);
  return `# ${title_of(chat)}\n\n${parts.join('\n\n')}\n`;
}
