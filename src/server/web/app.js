// The page around the chat: list of chats, model, composer, keys, theme, panel, settings.

import { get_json } from './api.js';
import { Conversation } from './conversation.js';
import { el, icon } from './dom.js';
import { Follow } from './follow.js';
import { Panel } from './panel.js';
import { Settings } from './settings.js';
import { export_chat, Sidebar } from './sidebar.js';
import { erase, list_chats, load_chat, read, remove_chat, save_chat, write } from './store.js';

const kRetry_ms = 4000;  // between looks for a server that does not answer
const kToast_ms = 7000;
const kIdeas = ['Explain how a mixture-of-experts model works', 'Write a Python script that finds duplicate files',
  'Compare three sorting algorithms in a table', 'Help me plan a weekend in the mountains'];

const $ = (id) => document.getElementById(id);
const input = $('input');
const is_narrow = () => matchMedia('(max-width: 800px)').matches;
let model = { id: '' };

for (const button of document.querySelectorAll('[data-icon]')) button.prepend(icon(button.dataset.icon));

const follow = new Follow($('scroller'), $('turns'), $('jump'));
const settings = new Settings($('settings'), () => show_think());
const panel = new Panel($('panel-body'), (stats) => show_server(stats));
const conversation = new Conversation($('turns'), settings, {
  changed: () => show_state(),
  announce: (text) => { $('live').textContent = text; },
  welcome,
  to_end: () => follow.to_end(),
  model_id: () => model.id,
  unsaved: () => toast('There is no room left to keep this chat in the browser.'),
});
const sidebar = new Sidebar($('chats'), {
  open: (id) => open_chat(id),
  is_live: (id) => conversation.is_live(id),
  rename: (id, title) => {
    const chat = conversation.chat.id === id ? conversation.chat : load_chat(id);
    if (chat && title !== '') {
      chat.title = title;
      save_chat(chat, false);
    }
    show_state();
  },
  remove: (id) => {
    const chat = conversation.chat.id === id ? conversation.chat : load_chat(id);
    conversation.drop(id);
    remove_chat(id);
    if (conversation.chat.id === id) conversation.start_new();
    show_state();
    if (chat) {
      toast('Chat deleted', 'Undo', () => {
        save_chat(chat);
        open_chat(id);
      });
    }
  },
});

function welcome() {
  const ideas = kIdeas.map((idea) => el('button', { type: 'button', class: 'idea', onclick: () => send(idea) }, idea));
  return el('div', { class: 'welcome', 'data-testid': 'welcome' }, el('h2', {}, 'What is on your mind?'), el('div', { class: 'ideas' }, ...ideas));
}

function toast(text, action = '', run = () => {}) {
  const [label, button] = $('toast').children;
  label.textContent = text;
  button.textContent = action;
  button.hidden = action === '';
  button.onclick = () => {
    $('toast').hidden = true;
    run();
  };
  $('toast').hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $('toast').hidden = true; }, kToast_ms);
}

function open_chat(id) {
  conversation.open(id);
  if (is_narrow()) show_sidebar(false);
  else input.focus();
}

function new_chat() {
  conversation.start_new();
  if (is_narrow()) show_sidebar(false);
  input.focus();
}

function send(text = input.value.trim()) {
  if (text === '' || conversation.is_live()) return;
  input.value = '';
  conversation.send(text);
  fit_input();
  input.focus({ preventScroll: true });
}

// All that depends on the chats: the list, send or stop, how full the context is.
function show_state() {
  const { chat } = conversation;
  const live = conversation.is_live();
  sidebar.show(chat.id);
  if ($('stop').hidden === live) $('stop').hidden = !live;
  $('send').hidden = live;
  $('send').disabled = input.value.trim() === '';
  const usage = chat.messages.findLast((message) => message.usage)?.usage;
  const used = usage ? usage.prompt_tokens + usage.completion_tokens : 0;
  $('context').textContent = used > 0 && model.context ? `${used.toLocaleString('en')} of ${model.context.toLocaleString('en')} tokens` : '';
  $('context').classList.toggle('warn', used > model.context * 0.85);
  for (const id of ['export-md', 'export-json']) $(id).disabled = chat.messages.length === 0;
  if (chat.messages.length > 0) write('hlwq.current', chat.id);
  else erase('hlwq.current');
}

function fit_input() {
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight}px`;
  $('send').disabled = input.value.trim() === '';
}

function show_think() {
  $('think').hidden = !settings.knows_thinking;
  $('think').setAttribute('aria-pressed', String(settings.thinking));
}

// The server's state as it was last heard of; null: it did not answer.
function show_server(stats) {
  document.body.classList.toggle('offline', stats === null);
  if (stats === null) {
    $('model-about').textContent = 'no connection';
    return;
  }
  model = stats.model;
  $('model-name').textContent = model.id;
  const about = [model.backend?.split(',')[0] ?? model.device, model.context && `${model.context.toLocaleString('en')} tokens of context`];
  $('model-about').textContent = about.filter(Boolean).join(' · ');
  document.title = `${model.id} · hlwq`;
  settings.set_model(model);
  show_think();
}

async function find_server() {
  try {
    show_server(await get_json('/stats'));
    show_state();
  } catch {
    show_server(null);
    setTimeout(find_server, kRetry_ms);
  }
}

function show_sidebar(open) {
  document.body.classList.toggle('sidebar-open', open);
  $('sidebar').inert = !open;
  $('sidebar-toggle').setAttribute('aria-expanded', String(open));
  if (!is_narrow()) write('hlwq.sidebar', open);
  else if (open) $('new-chat').focus();
}

function show_panel(open) {
  $('panel').hidden = !open;
  panel.is_open = open;
  document.body.classList.toggle('panel-open', open);
  $('panel-toggle').setAttribute('aria-expanded', String(open));
  if (!is_narrow()) write('hlwq.panel', open);
}

function is_dark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}

function show_theme() {
  $('theme-toggle').replaceChildren(icon(is_dark() ? 'sun' : 'moon'));
}

// The choice is remembered while it differs from the system's.
function toggle_theme() {
  const theme = is_dark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem('hlwq.theme', theme);
  } catch {
    // It holds as long as the page.
  }
  show_theme();
}

input.addEventListener('input', fit_input);
input.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() === 'o' && event.shiftKey && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    new_chat();
  } else if (event.key === 'Escape' && !$('settings').open) {
    if (is_narrow() && document.body.classList.contains('sidebar-open')) show_sidebar(false);
    else if (conversation.is_live()) conversation.stop();
  }
});
$('send').addEventListener('click', () => send());
$('stop').addEventListener('click', () => {
  conversation.stop();
  input.focus();
});
$('new-chat').addEventListener('click', new_chat);
$('think').addEventListener('click', () => { settings.thinking = !settings.thinking; });
$('settings-open').addEventListener('click', () => settings.open());
$('theme-toggle').addEventListener('click', toggle_theme);
$('panel-toggle').addEventListener('click', () => show_panel(!panel.is_open));
$('panel-close').addEventListener('click', () => show_panel(false));
$('sidebar-toggle').addEventListener('click', () => show_sidebar(!document.body.classList.contains('sidebar-open')));
$('sidebar-close').addEventListener('click', () => show_sidebar(false));
$('scrim').addEventListener('click', () => show_sidebar(false));
$('export-md').addEventListener('click', () => export_chat(conversation.chat, false));
$('export-json').addEventListener('click', () => export_chat(conversation.chat, true));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show_theme);
addEventListener('pagehide', () => conversation.save_running());
addEventListener('storage', () => show_state());

show_theme();
show_sidebar(!is_narrow() && read('hlwq.sidebar') !== false);
show_panel(!is_narrow() && read('hlwq.panel') === true);
const last = read('hlwq.current');
conversation.open(typeof last === 'string' && list_chats().some((entry) => entry.id === last) ? last : '');
find_server();
input.focus();
