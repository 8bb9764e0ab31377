// The settings dialog: system prompt and sampling. An empty field is not sent, so the model's own
// default holds; it stands in the field as a placeholder.

import { el, icon_button } from './dom.js';
import { read, write } from './store.js';

const kKey = 'hlwq.settings';

const kFields = [
  { key: 'temperature', label: 'Temperature', min: 0, max: 5, step: 0.05, hint: '0 takes the likeliest token' },
  { key: 'top_p', label: 'Top p', min: 0, max: 1, step: 0.01, hint: 'likeliest tokens up to this share' },
  { key: 'top_k', label: 'Top k', min: 0, max: 1000000, step: 1, hint: 'likeliest tokens; 0 is all' },
  { key: 'min_p', label: 'Min p', min: 0, max: 1, step: 0.01, hint: 'least share of the likeliest' },
  { key: 'repeat_penalty', label: 'Repeat penalty', min: 0.01, max: 10, step: 0.05, hint: '1 is none' },
  { key: 'max_tokens', label: 'Longest answer', min: 1, max: 1e9, step: 1, hint: 'tokens' },
  { key: 'seed', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, hint: 'same seed, same answer' },
];
const kNone = { max_tokens: 'no limit', seed: 'random' };

export class Settings {
  // `changed()` is called after each change.
  constructor(dialog, changed) {
    this.dialog_ = dialog;
    this.changed_ = changed;
    this.model_ = null;
    const kept = read(kKey);
    this.values_ = kept !== null && typeof kept === 'object' && !Array.isArray(kept) ? kept : {};
    this.inputs_ = {};
    this.build_();
  }

  // `model`: the "model" of /stats; its sampling becomes the placeholders.
  set_model(model) {
    this.model_ = model;
    for (const { key } of kFields) {
      this.inputs_[key].placeholder = kNone[key] ?? model.sampling?.[key] ?? 'default';
    }
    this.thinking_row_.hidden = model.thinking !== true;
  }

  open() {
    this.show_values_();
    this.dialog_.showModal();
  }

  get thinking() {
    return this.values_.thinking !== 'off';
  }

  set thinking(on) {
    this.set_('thinking', on ? '' : 'off');
  }

  get knows_thinking() {
    return this.model_?.thinking === true;
  }

  get system() {
    return typeof this.values_.system === 'string' ? this.values_.system.trim() : '';
  }

  // Fields of a chat completion request.
  request() {
    const request = {};
    for (const field of kFields) {
      const value = this.number_(field, this.values_[field.key]);
      if (value !== undefined) request[field.key] = value;
    }
    const thinking = this.values_.thinking;
    if (this.knows_thinking && (thinking === 'on' || thinking === 'off')) {
      request.chat_template_kwargs = { enable_thinking: thinking === 'on' };
    }
    return request;
  }

  // The number when it is one the field takes.
  number_(field, text) {
    if (text === undefined || text === null || String(text).trim() === '') return undefined;
    const value = Number(text);
    const sound = value >= field.min && value <= field.max && (field.step !== 1 || Number.isInteger(value));
    return sound ? value : undefined;
  }

  set_(key, value) {
    if (value === '') delete this.values_[key];
    else this.values_[key] = value;
    write(kKey, this.values_);
    this.changed_();
  }

  show_values_() {
    for (const [key, input] of Object.entries(this.inputs_)) {
      input.value = this.values_[key] ?? '';
      input.removeAttribute('aria-invalid');
    }
  }

  build_() {
    const fields = kFields.map((field) => {
      const input = el('input', { type: 'text', inputmode: field.step === 1 ? 'numeric' : 'decimal', id: `set-${field.key}`,
        'data-testid': `set-${field.key}`, autocomplete: 'off', placeholder: 'default', 'aria-describedby': `hint-${field.key}`,
        oninput: () => {
          const bad = input.value.trim() !== '' && this.number_(field, input.value) === undefined;
          if (bad) input.setAttribute('aria-invalid', 'true');
          else input.removeAttribute('aria-invalid');
          this.set_(field.key, bad ? '' : input.value.trim());
        } });
      this.inputs_[field.key] = input;
      return el('div', { class: 'field' }, el('label', { for: input.id }, field.label), input,
        el('small', { id: `hint-${field.key}` }, field.hint));
    });
    const system = el('textarea', { id: 'set-system', 'data-testid': 'set-system', rows: 4, dir: 'auto',
      placeholder: 'How the model should behave, for every chat', oninput: () => this.set_('system', system.value) });
    const thinking = el('select', { id: 'set-thinking', 'data-testid': 'set-thinking', onchange: () => this.set_('thinking', thinking.value) },
      el('option', { value: '' }, 'As the model likes'), el('option', { value: 'on' }, 'Always'), el('option', { value: 'off' }, 'Never'));
    Object.assign(this.inputs_, { system, thinking });
    this.thinking_row_ = el('div', { class: 'field wide', hidden: true }, el('label', { for: 'set-thinking' }, 'Think before answering'), thinking);
    const close = () => this.dialog_.close();
    const reset = () => {
      this.values_ = {};
      write(kKey, this.values_);
      this.show_values_();
      this.changed_();
    };
    this.dialog_.append(
      el('div', { class: 'dialog-head' }, el('h2', { id: 'settings-title' }, 'Settings'), icon_button('close', 'Close settings', close)),
      el('div', { class: 'fields' },
        el('div', { class: 'field wide' }, el('label', { for: 'set-system' }, 'System prompt'), system),
        this.thinking_row_, ...fields),
      el('div', { class: 'dialog-foot' },
        el('button', { type: 'button', class: 'button', 'data-testid': 'settings-reset', onclick: reset }, 'Reset to the model’s defaults'),
        el('button', { type: 'button', class: 'button primary', 'data-testid': 'settings-done', onclick: close }, 'Done')));
    this.dialog_.addEventListener('click', (event) => {
      if (event.target === this.dialog_) close();
    });
  }
}
