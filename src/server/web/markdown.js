// Markdown as it streams in: shows a text that grows at its end. Blocks before the last are final
// and never looked at again; inside the last one, what has not changed keeps its nodes. Nothing
// is ever parsed as HTML.

import { copy_button, el } from './dom.js';
import { cells_of_row, parse_blocks, split_lines } from './blocks.js';
import { highlight } from './highlight.js';
import { render_inline } from './inline.js';

const kMaxDepth = 12;    // lists and quotes in each other; deeper ones are shown as text
const kChunkLines = 48;  // code is laid out in pieces, so that a long one grows cheaply

// A last line that may yet turn out to be a marker ("-", "``", "1.") is not shown while it grows.
const kHeldBack = /^[\s>]*(?:[-*+_=|>:#~` ]+|\d{1,3}[.)]?|(?:`{3,}|~{3,})[^`]*|[-*+] \[[ xX]?\]?)$/;

const kLongestHeldBack = 400;
const kRightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

const states = new WeakMap();  // node -> what it shows

// The direction of the first letter. dir=auto would do the same, but the browser then looks again
// at all the text for each node that is added to it.
function set_direction(node, text) {
  const letter = /\p{L}/u.exec(text);
  if (letter && kRightToLeft.test(letter[0])) node.dir = 'rtl';
  else if (node.dir) node.removeAttribute('dir');
}

function show_inline(node, text, open) {
  const state = states.get(node);
  if (state.text === text && state.open === open) return;
  Object.assign(state, { text, open });
  set_direction(node, text);
  render_inline(node, text, open);
}

function show_items(node, count, tag, update) {
  while (node.childElementCount > count) node.lastElementChild.remove();
  let child = node.firstElementChild;
  for (let i = 0; i < count; i++, child = child.nextElementSibling) {
    if (!child) {
      child = el(tag);
      states.set(child, {});
      node.append(child);
    }
    update(child, i);
  }
}

const kKinds = {
  paragraph: {
    create: () => el('p'),
    update: (node, block, open) => show_inline(node, block.text, open),
  },
  heading: {
    create: (block) => el(`h${block.level}`),
    fits: (node, block) => node.localName === `h${block.level}`,
    update: (node, block, open) => show_inline(node, block.text, open),
  },
  rule: { create: () => el('hr'), update: () => {} },
  quote: {
    create: () => el('blockquote'),
    update: (node, block, open, depth) => {
      set_direction(node, block.lines[0]);
      show_lines(node, block.lines, open, depth);
    },
  },
  list: {
    create: (block) => el(block.ordered ? 'ol' : 'ul', { start: block.ordered && block.start !== 1 ? block.start : undefined }),
    fits: (node, block) => (node.localName === 'ol') === block.ordered,
    update: show_list,
  },
  table: {
    create: () => el('div', { class: 'table', tabindex: 0, role: 'region', 'aria-label': 'Table' },
      el('table', {}, el('thead', {}, el('tr')), el('tbody'))),
    update: show_table,
  },
  code: { create: create_code, update: show_code },
};

function show_list(node, block, open, depth) {
  node.classList.toggle('loose', block.loose);
  set_direction(node, block.items[0][0]);
  show_items(node, block.items.length, 'li', (item, i) => {
    const last = open && i === block.items.length - 1;
    const task = /^\[([ xX])\] /.exec(block.items[i][0]);
    if (task) item.dataset.task = task[1] === ' ' ? 'open' : 'done';
    const lines = task ? [block.items[i][0].slice(4), ...block.items[i].slice(1)] : block.items[i];
    const key = lines.join('\n');
    const state = states.get(item);
    if (state.key === key && state.open === last) return;
    Object.assign(state, { key, open: last });
    show_lines(item, lines, last, depth);
  });
}

function show_table(node, block, open) {
  const [head, body] = node.firstChild.children;
  const columns = block.header.length;
  const show_row = (row, cells, tag, last) => show_items(row, cells.length, tag, (cell, i) => {
    if (block.align[i]) cell.className = `align-${block.align[i]}`;
    show_inline(cell, cells[i], last && i === cells.length - 1);
  });
  show_row(head.firstChild, block.header, 'th', open && block.rows.length === 0);
  show_items(body, block.rows.length, 'tr', (row, i) => {
    const last = open && i === block.rows.length - 1;
    const state = states.get(row);
    if (state.key === block.rows[i] && state.open === last) return;
    Object.assign(state, { key: block.rows[i], open: last });
    show_row(row, cells_of_row(block.rows[i], columns), 'td', last);
  });
}

function create_code() {
  const state = { source: [], chunks: [], language: undefined };
  const node = el('div', { class: 'code', dir: 'ltr' },
    el('div', { class: 'code-head' }, el('span'), copy_button('Copy code', () => state.source.join('\n'))),
    el('pre', { tabindex: 0 }, el('code')));
  states.set(node, state);
  return node;
}

function show_code(node, block) {
  const state = states.get(node);
  const code = node.lastChild.firstChild;
  state.source = block.lines;
  if (state.language !== block.language) {
    Object.assign(state, { language: block.language, chunks: [] });
    code.replaceChildren();
    node.firstChild.firstChild.textContent = block.language || 'text';
  }
  let lexer_state = '';
  let count = 0;
  for (let line = 0; line < block.lines.length; line += kChunkLines, count++) {
    const text = block.lines.slice(line, line + kChunkLines).join('\n');
    let chunk = state.chunks[count];
    if (chunk?.text !== text || chunk.before !== lexer_state) {
      if (!chunk) {
        chunk = state.chunks[count] = { node: el('span', { class: 'chunk' }) };
        code.append(chunk.node);
      }
      chunk.node.replaceChildren();
      chunk.text = text;
      chunk.before = lexer_state;
      chunk.after = highlight(chunk.node, `${text}\n`, block.language.toLowerCase(), lexer_state);
    }
    lexer_state = chunk.after;
  }
  for (const chunk of state.chunks.splice(count)) chunk.node.remove();
}

// Makes the nodes after `before` (null: from the first) in `parent` show the blocks.
function show_blocks(parent, before, blocks, open, depth) {
  let node = before ? before.nextSibling : parent.firstChild;
  blocks.forEach((block, i) => {
    const kind = kKinds[block.kind];
    if (!node || states.get(node)?.kind !== block.kind || (kind.fits && !kind.fits(node, block))) {
      const fresh = kind.create(block);
      states.set(fresh, Object.assign(states.get(fresh) ?? {}, { kind: block.kind }));
      if (node) node.replaceWith(fresh);
      else parent.append(fresh);
      node = fresh;
    }
    kind.update(node, block, open && i === blocks.length - 1, depth);
    node = node.nextSibling;
  });
  while (node) {
    const next = node.nextSibling;
    node.remove();
    node = next;
  }
}

function show_lines(parent, lines, open, depth) {
  const blocks = depth + 1 < kMaxDepth ? parse_blocks(lines, open)
    : [{ kind: 'paragraph', text: lines.join('\n').trim() }];
  show_blocks(parent, null, blocks, open, depth + 1);
}

export class MarkdownView {
  constructor(root) {
    this.root_ = root;
    this.text_ = '';
    this.reset_();
  }

  reset_() {
    this.root_.replaceChildren();
    this.final_chars_ = 0;    // of the text, shown by nodes up to last_final_
    this.last_final_ = null;
  }

  // Shows `text`; cheap when it continues the one before. `done`: it will not grow any more.
  update(text, done) {
    if (!text.startsWith(this.text_)) this.reset_();
    this.text_ = text;
    const tail = text.slice(this.final_chars_);
    const lines = split_lines(tail);
    if (!done && lines.at(-1).length < kLongestHeldBack && kHeldBack.test(lines.at(-1))) lines.pop();
    const blocks = parse_blocks(lines, !done);
    show_blocks(this.root_, this.last_final_, blocks, !done, 0);
    if (blocks.length < 2) return;
    let node = this.last_final_ ? this.last_final_.nextSibling : this.root_.firstChild;
    for (let i = 2; i < blocks.length; i++) node = node.nextSibling;
    this.last_final_ = node;
    let at = 0;
    for (let line = 0; line < blocks.at(-1).line; line++) at = tail.indexOf('\n', at) + 1;
    this.final_chars_ += at;
  }
}
