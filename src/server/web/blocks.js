// Lines of Markdown to blocks, one level deep: what is inside lists and quotes stays lines, which
// markdown.js parses when it shows them. Linear in the text.

const kIndent = /^ */;
const kFence = /^ *(`{3,}|~{3,})([^`]*)$/;
const kHeading = /^ {0,3}(#{1,6})(?: +(.*))?$/s;
const kRule = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const kQuote = /^ {0,3}> ?/;
const kItem = /^( {0,3})([-*+]|\d{1,9}[.)])(?:( +)(.*))?$/s;
const kUnderline = /^ {0,3}(=+|-+) *$/;
const kDelimiterRow = /^\|?:?-+:?(?:\|:?-+:?)*\|?$/;  // without its spaces
const kMaxColumns = 64;

export function split_lines(text) {
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    if (lines[i].endsWith('\r')) lines[i] = lines[i].slice(0, -1);
    if (lines[i].includes('\t')) lines[i] = lines[i].replace(/^[ \t]+/, (space) => space.replaceAll('\t', '    '));
  }
  return lines;
}

const is_blank = (line) => line.trim() === '';
const indent_of = (line) => kIndent.exec(line)[0].length;

// Whether the line ends a paragraph above it.
function interrupts(line) {
  if (kFence.test(line) && indent_of(line) < 4) return true;
  if (kHeading.test(line) || kQuote.test(line) || kRule.test(line)) return true;
  const item = kItem.exec(line);
  return item !== null && item[4] !== undefined && item[4] !== '' && (item[2].length === 1 || /^1[.)]$/.test(item[2]));
}

// Cells of a row: split at pipes that have no backslash before them.
function cells_of(line) {
  let row = line.trim();
  if (row.startsWith('|')) row = row.slice(1);
  const cells = [];
  let cell = '';
  for (const part of row.split(/(\\\||\|)/)) {
    if (part === '|') {
      cells.push(cell.trim());
      cell = '';
    } else {
      cell += part === '\\|' ? '|' : part;
    }
    if (cells.length >= kMaxColumns) return cells;
  }
  if (cell.trim() !== '') cells.push(cell.trim());
  return cells;
}

function take_fence(lines, at, match) {
  const indent = indent_of(lines[at]);
  const closer = new RegExp(`^ {0,3}${match[1][0]}{${Math.min(match[1].length, 1000)},} *$`);
  let end = at + 1;
  while (end < lines.length && !closer.test(indent > 3 ? lines[end].trimStart() : lines[end])) end++;
  const body = lines.slice(at + 1, end);
  return [{
    kind: 'code',
    language: match[2].trim().split(/[\s{,]/)[0].slice(0, 40),
    lines: indent === 0 ? body : body.map((line) => line.slice(Math.min(indent, indent_of(line)))),
  }, end + 1];
}

function take_indented(lines, at) {
  let end = at;
  let last = at;
  for (; end < lines.length && (is_blank(lines[end]) || indent_of(lines[end]) >= 4); end++) {
    if (!is_blank(lines[end])) last = end;
  }
  return [{ kind: 'code', language: '', lines: lines.slice(at, last + 1).map((line) => line.slice(4)) }, last + 1];
}

function take_quote(lines, at) {
  const inner = [];
  let end = at;
  for (; end < lines.length && !is_blank(lines[end]); end++) {
    if (kQuote.test(lines[end])) inner.push(lines[end].replace(kQuote, ''));
    else if (end > at && !is_blank(inner.at(-1)) && !interrupts(lines[end])) inner.push(lines[end]);
    else break;
  }
  return [{ kind: 'quote', lines: inner }, end];
}

function take_list(lines, at, first) {
  const kind_of = (marker) => marker.at(-1);  // bullets by themselves, numbers by what follows them
  const list = { kind: 'list', ordered: first[2].length > 1, start: parseInt(first[2], 10), loose: false, items: [] };
  let end = at;
  while (end < lines.length) {
    const match = kItem.exec(lines[end]);
    if (!match || kind_of(match[2]) !== kind_of(first[2]) || kRule.test(lines[end])) break;
    const marker_end = match[1].length + match[2].length;
    const content = marker_end + (match[3] && match[3].length < 5 ? match[3].length : 1);
    // Many models indent what belongs to "1." by two spaces; taken as it is meant.
    const least = Math.min(content, match[1].length + 2);
    const item = [lines[end].slice(content)];
    let last = end + 1;  // behind the item's last line that is not blank
    for (end++; end < lines.length; end++) {
      const line = lines[end];
      if (is_blank(line)) {
        item.push('');
        continue;
      }
      const indent = indent_of(line);
      const lazy = !is_blank(lines[end - 1]) && !interrupts(line) && !kItem.test(line);
      if (indent < least && !lazy) break;
      item.push(line.slice(Math.min(indent, content)));
      if (last < end) list.loose = true;
      last = end + 1;
    }
    const blank = last < end;
    item.length -= end - last;
    list.items.push(item);
    if (!blank) continue;
    const next = end < lines.length ? kItem.exec(lines[end]) : null;
    if (!next || kind_of(next[2]) !== kind_of(first[2])) return [list, last];
    list.loose = true;
  }
  return [list, end];
}

function take_table(lines, at, open) {
  const header = cells_of(lines[at]);
  const align = cells_of(lines[at + 1] ?? '').map((cell) =>
    cell.endsWith(':') ? (cell.startsWith(':') ? 'center' : 'right') : '');
  let end = Math.min(at + 2, lines.length);
  const rows = [];
  for (; end < lines.length && !is_blank(lines[end]) && !interrupts(lines[end]); end++) rows.push(lines[end]);
  return [{ kind: 'table', header, align, rows, open }, end];
}

// A table needs a header and a delimiter row of as many cells. The last line of a text that still
// grows and starts with a pipe counts as a header already, so that it need not change its looks.
function starts_table(lines, at, open) {
  if (!lines[at].includes('|')) return false;
  if (at + 1 === lines.length) return open && lines[at].trimStart().startsWith('|');
  return kDelimiterRow.test(lines[at + 1].replaceAll(' ', '')) && cells_of(lines[at]).length === cells_of(lines[at + 1]).length;
}

export function cells_of_row(line, columns) {
  return cells_of(line).slice(0, columns);
}

// Blocks of `lines`, each with `line`, the index where it starts. `open`: the text still grows.
export function parse_blocks(lines, open) {
  const blocks = [];
  let at = 0;
  const add = (block, next) => {
    blocks.push({ line: at, ...block });
    at = next;
  };
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (is_blank(line)) at++;
    else if (indent_of(line) >= 4 && !kFence.test(line)) add(...take_indented(lines, at));
    else if ((match = kFence.exec(line))) add(...take_fence(lines, at, match));
    else if ((match = kHeading.exec(line))) {
      add({ kind: 'heading', level: match[1].length, text: (match[2] ?? '').replace(/(?:^| )#{1,6} *$/, '').trim() }, at + 1);
    } else if (kRule.test(line)) add({ kind: 'rule' }, at + 1);
    else if (kQuote.test(line)) add(...take_quote(lines, at));
    else if ((match = kItem.exec(line))) add(...take_list(lines, at, match));
    else if (starts_table(lines, at, open)) add(...take_table(lines, at, open));
    else add(...take_paragraph(lines, at, open));
  }
  return blocks;
}

function take_paragraph(lines, at, open) {
  let end = at + 1;
  for (; end < lines.length && !is_blank(lines[end]); end++) {
    const underline = kUnderline.exec(lines[end]);
    if (underline) {
      const text = lines.slice(at, end).join('\n').trim();
      return [{ kind: 'heading', level: underline[1][0] === '=' ? 1 : 2, text }, end + 1];
    }
    if (interrupts(lines[end]) || starts_table(lines, end, open)) break;
  }
  return [{ kind: 'paragraph', text: lines.slice(at, end).map((line) => line.trim()).join('\n') }, end];
}
