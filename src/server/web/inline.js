// Inline Markdown to DOM nodes: emphasis, code, links, breaks. Linear in the text whatever it
// holds: model text is not trusted.

import { el } from './dom.js';

const kMaxDepth = 20;  // nested emphasis; browsers lay out deep trees recursively
const kMaxOpen = 64;    // openers that wait for a closer; older ones stay text
const kLongestRun = 16;  // of * or _: a longer one is no emphasis
const kSpecial = /[\\`*_~[\]!<&$\n]|https?:\/\//g;
const kDestination =
  /\(\s{0,8}(?:<([^<>\n]{0,2048})>|([^\s<>()]{0,2048}(?:\([^\s()]{0,256}\)[^\s()]{0,256}){0,8}))(?:\s{1,8}(?:"[^"\n]{0,512}"|'[^'\n]{0,512}'))?\s{0,8}\)/y;
const kOpenDestination = /\([^\s()]{0,2048}$/y;
const kBareUrl = /https?:\/\/[^\s<>"'`*|\\]{0,2047}[^\s<>"'`*|\\.,;:!?)\]}_~]/y;
const kEntity = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos|nbsp|mdash|ndash|hellip|times|rarr));/y;
const kEntities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', mdash: '\u2014',
  ndash: '\u2013', hellip: '\u2026', times: '\u00d7', rarr: '\u2192' };
const kBreak = /<br\s{0,8}\/?>/iy;
const kPunctuation = /[\p{P}\p{S}]/u;
const kMath = { '\\(': '\\)', '\\[': '\\]', '$$': '$$' };

// The address when it may be a link: http, https or mailto. Null for all else (javascript:, data:,
// relative ones, which would lead into this server).
export function safe_url(address) {
  try {
    const url = new URL(address);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function matches_at(pattern, text, position) {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

class Inline {
  // `open`: the text still grows, so marks without an end yet count as ended by it.
  constructor(parent, text, open) {
    this.parent_ = parent;
    this.plain_ = '';               // text behind the last node
    this.text_ = text;
    this.open_ = open;
    this.marks_ = [];               // openers without a closer: {char, length, node, image}
    this.counts_ = {};              // of them, by char
    this.link_floor_ = 0;           // brackets below hold a link already: links do not nest
    this.depths_ = new Map();       // element -> depth of emphasis in it
    this.absent_ = new Set();       // closers that do not come any more
  }

  render() {
    const text = this.text_;
    let at = 0;
    while (at < text.length) {
      kSpecial.lastIndex = at;
      const found = kSpecial.exec(text);
      const next = found ? found.index : text.length;
      if (next > at) this.put_(text.slice(at, next));
      at = found ? this.special_(next, found[0]) : next;
    }
    this.flush_();
    while (this.open_ && this.marks_.length > 0) this.close_at_end_();
  }

  // Text is gathered: appending to a node piece by piece would copy it each time.
  put_(string) {
    this.plain_ += string;
  }

  append_(node) {
    this.flush_();
    this.parent_.append(node);
  }

  flush_() {
    if (this.plain_ !== '') this.parent_.append(this.plain_);
    this.plain_ = '';
  }

  // Handles what starts at `at`; returns where to go on.
  special_(at, what) {
    const text = this.text_;
    switch (what) {
      case '\\': return this.escape_(at);
      case '`': return this.code_(at);
      case '*': case '_': case '~': return this.delimiter_(at, what);
      case '[': return this.bracket_(at, '[', false);
      case '!': if (text[at + 1] === '[') return this.bracket_(at, '![', true); break;
      case ']': return this.link_(at);
      case '$': if (text[at + 1] === '$') return this.math_(at, '$$') ?? this.literal_(at, 2); break;
      case '\n': {
        this.append_(el('br'));
        while (text[at + 1] === ' ' || text[at + 1] === '\t') at++;
        return at + 1;
      }
      case '<': {
        const tag = matches_at(kBreak, text, at);
        if (!tag) break;
        this.append_(el('br'));
        return at + tag[0].length;
      }
      case '&': {
        const entity = matches_at(kEntity, text, at);
        if (!entity) break;
        const code = entity[1] ? Number(entity[1]) : parseInt(entity[2], 16);
        this.put_(entity[3] ? kEntities[entity[3]]
          : code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd');
        return at + entity[0].length;
      }
      default: return this.bare_url_(at, what.length);
    }
    return this.literal_(at, 1);
  }

  literal_(at, length) {
    this.put_(this.text_.slice(at, at + length));
    return at + length;
  }

  escape_(at) {
    const next = this.text_[at + 1];
    const math = this.math_(at, `\\${next}`);
    if (math !== null) return math;
    if (next === '\n') return at + 1;
    if (next === undefined || !/[!-/:-@[-`{-~]/.test(next)) return this.literal_(at, 1);
    this.put_(next);
    return at + 2;
  }

  // Formulas are shown as they were written; marks in them are no emphasis. Null when none starts.
  math_(at, opener) {
    const closer = kMath[opener];
    if (closer === undefined || this.absent_.has(closer)) return null;
    const start = at + opener.length;
    let end = this.text_.indexOf(closer, start);
    if (end < 0) {
      this.absent_.add(closer);
      if (!this.open_) return null;
      end = this.text_.length;
    }
    this.append_(el('span', { class: 'math', dir: 'ltr' }, this.text_.slice(start, end).trim()));
    return end + closer.length;
  }

  code_(at) {
    const text = this.text_;
    this.ticks_ ??= this.tick_runs_();
    let length = 1;
    while (text[at + length] === '`') length++;
    const runs = this.ticks_.get(length);
    while (runs.positions[runs.next] <= at) runs.next++;
    let end = runs.positions[runs.next];
    if (end === undefined) {
      if (!this.open_) return this.literal_(at, length);
      end = text.length;
    }
    let body = text.slice(at + length, end).replaceAll('\n', ' ');
    if (body.startsWith(' ') && body.endsWith(' ') && body.trim() !== '') body = body.slice(1, -1);
    this.append_(el('code', { dir: 'ltr' }, body));
    return end + length;
  }

  // Run length -> where runs of that length start; `next` only ever advances.
  tick_runs_() {
    const runs = new Map();
    for (const run of this.text_.matchAll(/`+/g)) {
      if (!runs.has(run[0].length)) runs.set(run[0].length, { positions: [], next: 0 });
      runs.get(run[0].length).positions.push(run.index);
    }
    return runs;
  }

  bare_url_(at, length) {
    const before = this.text_[at - 1];
    const found = matches_at(kBareUrl, this.text_, at);
    const href = found && !this.counts_['['] && !(before && /\w/.test(before)) && safe_url(found[0]);
    if (!href) return this.literal_(at, length);
    this.append_(this.anchor_(href, found[0]));
    return at + found[0].length;
  }

  anchor_(href, ...children) {
    return el('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' }, ...children);
  }

  push_(mark) {
    this.append_(mark.node);
    this.marks_.push(mark);
    this.counts_[mark.char] = (this.counts_[mark.char] ?? 0) + 1;
    if (this.marks_.length <= kMaxOpen) return;
    this.counts_[this.marks_.shift().char]--;
    this.link_floor_ = Math.max(0, this.link_floor_ - 1);
  }

  // Takes openers off down to the last of `char`, which must exist; those above stay text.
  pop_to_(char) {
    for (;;) {
      const mark = this.marks_.pop();
      this.counts_[mark.char]--;
      if (mark.char === char) return mark;
    }
  }

  bracket_(at, opener, image) {
    this.push_({ char: '[', image, node: document.createTextNode(opener) });
    return at + opener.length;
  }

  link_(at) {
    if (!this.counts_['[']) return this.literal_(at, 1);
    const mark = this.pop_to_('[');
    const taken = this.marks_.length < this.link_floor_ && !mark.image;
    this.link_floor_ = Math.min(this.link_floor_, this.marks_.length);
    const found = taken ? null : matches_at(kDestination, this.text_, at + 1);
    const partial = !found && !taken && this.open_ && matches_at(kOpenDestination, this.text_, at + 1);
    if (!found && !partial) return this.literal_(at, 1);
    const href = found && safe_url(found[1] ?? found[2]);
    // An image is not fetched: that would tell its host who reads. Its text links to it.
    const plain = !href || (mark.image && this.counts_['[']);
    const wrapper = plain ? el('span') : this.anchor_(href);
    if (mark.image) wrapper.classList.add('image');
    this.wrap_(mark.node, wrapper);
    if (wrapper.firstChild === null) wrapper.append(mark.image ? 'image' : href ?? '');
    mark.node.remove();
    if (!plain) this.link_floor_ = this.marks_.length;
    return at + 1 + (found ?? partial)[0].length;
  }

  delimiter_(at, char) {
    const text = this.text_;
    let end = at + 1;
    while (text[end] === char) end++;
    let length = end - at;
    if (length > kLongestRun) return this.literal_(at, length);
    const before = text[at - 1] ?? ' ';
    const after = text[end] ?? ' ';
    const left = !/\s/.test(after) && (!kPunctuation.test(after) || /\s/.test(before) || kPunctuation.test(before));
    const right = !/\s/.test(before) && (!kPunctuation.test(before) || /\s/.test(after) || kPunctuation.test(after));
    const word = char === '_';  // snake_case is no emphasis
    const can_open = left && (!word || !right || kPunctuation.test(before)) && (char !== '~' || length === 2);
    const can_close = right && (!word || !left || kPunctuation.test(after)) && (char !== '~' || length === 2);
    while (can_close && length > 0 && this.counts_[char]) {
      const mark = this.pop_to_(char);
      length -= this.emphasize_(mark, Math.min(mark.length, length, 2));
      if (mark.length > 0) {
        this.marks_.push(mark);
        this.counts_[char]++;
      }
    }
    this.link_floor_ = Math.min(this.link_floor_, this.marks_.length);
    if (length === 0) return end;
    if (can_open) this.push_({ char, length, node: document.createTextNode(char.repeat(length)) });
    else this.put_(char.repeat(length));
    return end;
  }

  // Wraps all after the opener; takes `length` of its characters away. Returns `length`.
  emphasize_(mark, length) {
    this.wrap_(mark.node, el(mark.char === '~' ? 'del' : length === 2 ? 'strong' : 'em'));
    mark.length -= length;
    if (mark.length === 0) mark.node.remove();
    else mark.node.data = mark.char.repeat(mark.length);
    return length;
  }

  // Moves all nodes after `node` into `wrapper`, and that behind it; too deep, it changes nothing.
  wrap_(node, wrapper) {
    this.flush_();
    let depth = 0;
    for (let child = node.nextSibling; child; child = child.nextSibling) {
      depth = Math.max(depth, this.depths_.get(child) ?? 0);
    }
    if (depth >= kMaxDepth) return;
    this.depths_.set(wrapper, depth + 1);
    while (node.nextSibling) wrapper.append(node.nextSibling);
    this.append_(wrapper);
  }

  close_at_end_() {
    const mark = this.marks_.pop();
    if (mark.char === '[') return;
    while (mark.length > 0) this.emphasize_(mark, Math.min(mark.length, 2));
  }
}

// Replaces what is in `parent` by the text's nodes. They are built outside the document, where
// adding one costs the same however many there are (a parent with dir=auto looks at all of them).
export function render_inline(parent, text, open) {
  const nodes = document.createDocumentFragment();
  // While it grows, a trailing run is half a mark: nothing to see yet.
  new Inline(nodes, open ? text.replace(/[*_~`]{1,8}$/, '') : text, open).render();
  parent.replaceChildren(nodes);
}
