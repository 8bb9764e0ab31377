// The chat on screen, and the answers that come in for it and for chats in the background.

import { el } from './dom.js';
import { Generation, wire_messages } from './generation.js';
import { load_chat, new_chat, save_chat } from './store.js';
import { AnswerView, user_turn } from './turns.js';

const kShownTurns = 60;    // of a long chat; earlier ones on request
const kSave_ms = 3000;     // while an answer comes in
const kSpoken = 1500;      // characters of an answer that a screen reader is told

export class Conversation {
  // settings: Settings. hooks: {changed(), announce(text), welcome(), to_end(), model_id(), unsaved()}
  constructor(root, settings, hooks) {
    this.root_ = root;
    this.settings_ = settings;
    this.hooks_ = hooks;
    this.running_ = new Map();  // chat id -> {chat, generation, view, saves}
    this.chat = new_chat();
    this.actions_ = {
      edit: (message, text) => this.edit_(message, text),
      remove: (message) => this.remove_(message),
      regenerate: (message) => this.regenerate_(message),
    };
  }

  is_live(id = this.chat.id) {
    return this.running_.has(id);
  }

  // Shows the chat, or a new one when there is none under that id.
  open(id) {
    this.chat = this.running_.get(id)?.chat ?? load_chat(id) ?? new_chat();
    this.show();
  }

  start_new() {
    this.chat = new_chat();
    this.show();
  }

  send(text) {
    if (this.is_live()) return;
    this.chat.messages.push({ role: 'user', content: text });
    this.answer_();
  }

  stop(id = this.chat.id) {
    this.running_.get(id)?.generation.stop();
  }

  // Stops an answer whose message is going away, too.
  drop(id = this.chat.id) {
    this.stop(id);
    clearInterval(this.running_.get(id)?.saves);
    this.running_.delete(id);
  }

  // Keeps answers that are under way, for when the page closes.
  save_running() {
    for (const { chat } of this.running_.values()) save_chat(chat);
  }

  show(from = Math.max(0, this.chat.messages.length - kShownTurns)) {
    const { messages } = this.chat;
    const turns = messages.slice(from).map((message) => this.turn_(message));
    if (from > 0) turns.unshift(this.earlier_button_(from));
    if (messages.at(-1)?.role === 'user') {
      turns.push(el('button', { type: 'button', class: 'button earlier', 'data-testid': 'answer-this', onclick: () => this.answer_() }, 'Answer this'));
    }
    this.root_.replaceChildren(...(messages.length > 0 ? turns : [this.hooks_.welcome()]));
    this.hooks_.to_end();
    this.hooks_.changed();
  }

  earlier_button_(from) {
    return el('button', { type: 'button', class: 'button earlier', 'data-testid': 'earlier', onclick: () => this.show_earlier_(from) },
      `Show ${from} earlier messages`);
  }

  // Puts earlier turns above; the one that was first stays where it is.
  show_earlier_(from) {
    const start = Math.max(0, from - kShownTurns);
    const first = this.root_.children[1];
    const scroller = this.root_.parentElement;
    const top = first.getBoundingClientRect().top;
    this.root_.firstChild.remove();
    first.before(...this.chat.messages.slice(start, from).map((message) => this.turn_(message)));
    if (start > 0) this.root_.prepend(this.earlier_button_(start));
    scroller.scrollTop += first.getBoundingClientRect().top - top;
  }

  turn_(message) {
    if (message.role === 'user') return user_turn(message, this.actions_);
    const running = this.running_.get(this.chat.id);
    if (running?.generation.message === message) return running.view.turn;
    return new AnswerView(message, this.actions_, null, () => {}).turn;
  }

  // Asks for an answer to the chat as it stands.
  async answer_() {
    const { chat } = this;
    const request = {
      model: this.hooks_.model_id(),
      messages: wire_messages(this.settings_.system, chat.messages),
      ...this.settings_.request(),
    };
    const message = { role: 'assistant', content: '' };
    chat.messages.push(message);
    if (!save_chat(chat)) this.hooks_.unsaved();
    const generation = new Generation(message, () => view.schedule());
    const view = new AnswerView(message, this.actions_, generation, () => {});
    const saves = setInterval(() => save_chat(chat), kSave_ms);
    this.running_.set(chat.id, { chat, generation, view, saves });
    this.show();
    this.hooks_.announce('The model is answering.');
    const ticks = setInterval(() => view.schedule(), 500);
    await generation.run(request);
    clearInterval(ticks);
    clearInterval(saves);
    view.finish();
    if (this.running_.get(chat.id)?.generation !== generation) return;  // dropped, or asked again
    this.running_.delete(chat.id);
    if (!save_chat(chat)) this.hooks_.unsaved();
    this.hooks_.announce(message.error ? '' : `Answer: ${message.content.slice(0, kSpoken)}`);
    this.hooks_.changed();
  }

  cut_(index) {
    this.drop();
    this.chat.messages.length = index;
  }

  edit_(message, text) {
    this.cut_(this.chat.messages.indexOf(message));
    this.send(text);
  }

  regenerate_(message) {
    if (this.is_live()) return;
    this.cut_(this.chat.messages.indexOf(message));
    this.answer_();
  }

  // A question goes with its answer.
  remove_(message) {
    const { messages } = this.chat;
    const at = messages.indexOf(message);
    const pair = message.role === 'user' && messages[at + 1]?.role === 'assistant';
    if (this.is_live() && at + 2 >= messages.length) this.cut_(at);
    else messages.splice(at, pair ? 2 : 1);
    save_chat(this.chat, false);
    const { scrollTop } = this.root_.parentElement;
    this.show();
    this.root_.parentElement.scrollTop = scrollTop;
  }
}
