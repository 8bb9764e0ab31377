// The list of chats: open, rename, delete, export.

import { el, icon_button } from './dom.js';
import { chat_as_markdown, list_chats, title_of } from './store.js';

export class Sidebar {
  // actions: {open(id), rename(id, title), remove(id), is_live(id)}
  constructor(list, actions) {
    this.list_ = list;
    this.actions_ = actions;
  }

  show(current) {
    if (this.list_.querySelector('input')) return;  // a name is being typed
    const entries = list_chats();
    this.list_.replaceChildren(...entries.map((entry) => this.row_(entry, entry.id === current)));
    if (entries.length === 0) this.list_.append(el('li', { class: 'empty' }, 'Chats are kept in this browser.'));
  }

  row_(entry, is_current) {
    const row = el('li', { class: this.actions_.is_live(entry.id) ? 'live' : '', 'data-testid': 'chat' },
      el('button', { type: 'button', class: 'chat', dir: 'auto', title: entry.title, 'aria-current': is_current ? 'true' : undefined,
        onclick: () => this.actions_.open(entry.id) }, entry.title),
      icon_button('edit', `Rename “${entry.title}”`, () => this.rename_(row, entry), { 'data-testid': 'rename-chat' }),
      icon_button('trash', `Delete “${entry.title}”`, () => this.actions_.remove(entry.id), { 'data-testid': 'delete-chat' }));
    return row;
  }

  rename_(row, entry) {
    let done = false;
    const finish = (title) => {
      if (done) return;
      done = true;
      row.replaceChildren();
      this.actions_.rename(entry.id, title);
    };
    const input = el('input', { type: 'text', maxlength: 100, 'aria-label': 'Name of the chat', 'data-testid': 'rename-input',
      onblur: () => finish(input.value.trim()),
      onkeydown: (event) => {
        if (event.key === 'Enter') finish(input.value.trim());
        if (event.key === 'Escape') finish(entry.title);
        event.stopPropagation();
      } });
    input.value = entry.title;
    row.replaceChildren(input);
    input.select();
  }
}

// Hands the chat to the browser as a file.
export function export_chat(chat, as_json) {
  const text = as_json ? JSON.stringify({ title: title_of(chat), messages: chat.messages }, null, 2) : chat_as_markdown(chat);
  const url = URL.createObjectURL(new Blob([text], { type: as_json ? 'application/json' : 'text/markdown' }));
  const name = title_of(chat).replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || 'chat';
  el('a', { href: url, download: `${name}.${as_json ? 'json' : 'md'}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
