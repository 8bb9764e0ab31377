// Light colouring of code: comments, strings, numbers, keywords. One small lexer a family of
// languages, no grammar; an unknown language stays plain.

import { el } from './dom.js';

const kLongest = 20000;  // characters in one call; longer text (minified files) stays plain

const kKeywords = new Set((
  'abstract and as assert async await auto bool break case catch char class const constexpr continue '
  + 'def default del delete do double elif else end enum except export extends extern false finally float fn '
  + 'for from func function global if impl implements import in include inline int interface is lambda let '
  + 'local long match mod module move mut namespace new nil none None not null nullptr operator or override '
  + 'package pass private protected pub public raise ref return self short signed sizeof static struct super '
  + 'switch template then this throw trait true True False try type typedef typename union unsafe unsigned '
  + 'use using var virtual void where while with yield echo fi done esac '
  + 'SELECT FROM WHERE INSERT INTO UPDATE SET DELETE CREATE TABLE JOIN LEFT INNER ON GROUP BY ORDER LIMIT AS '
  + 'AND OR NOT NULL VALUES PRIMARY KEY HAVING DISTINCT'
).split(' '));

const kWord = '(?<word>[A-Za-z_$][\\w$]*)';
const kNumber = '(?<number>\\b(?:0[xXbB][\\da-fA-F_]+|\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)\\w{0,3})';
const kDouble = '"(?:[^"\\\\\\n]|\\\\.)*"?';
const kSingle = "'(?:[^'\\\\\\n]|\\\\.)*'?";
const kChar = "'(?:[^'\\\\\\n]|\\\\[^\\n']{1,8}|\\\\')'";

function lexer(comment, string, block) {
  return new RegExp(`(?<block>${block})|(?<comment>${comment})|(?<string>${string})|${kNumber}|${kWord}`, 'g');
}

const kC = lexer('//[^\\n]*|^[ \\t]*#[ \\t]*\\w+', `${kDouble}|${kChar}`, '/\\*');
const kScript = lexer('//[^\\n]*', `${kDouble}|${kSingle}`, '/\\*|`');
const kHash = lexer('#[^\\n]*', `${kDouble}|${kSingle}`, '"""|\'\'\'');
const kDash = lexer('--[^\\n]*', `${kDouble}|${kSingle}`, '/\\*|\\[\\[');
const kMarkup = lexer('</?[\\w:-]+|/?>', `${kDouble}|${kSingle}`, '<!--');
const kClosers = { '/*': '*/', '`': '`', '"""': '"""', "'''": "'''", '[[': ']]', '<!--': '-->' };

const kLexers = new Map();
for (const [names, pattern] of [
  ['c h cc cpp c++ cxx hpp cu cuda cuh java go golang rust rs cs csharp c# kotlin kt swift scala zig dart', kC],
  ['js javascript mjs jsx ts typescript tsx json jsonc json5 css scss less php', kScript],
  ['py python python3 sh bash shell zsh console yaml yml toml ini ruby rb r perl make makefile cmake dockerfile '
    + 'elixir julia nix', kHash],
  ['sql lua haskell hs ada', kDash],
  ['html xml svg vue', kMarkup],
]) for (const name of names.split(' ')) kLexers.set(name, pattern);

// Appends the text's nodes to `parent`. `state` is what an earlier call returned for the text
// before this: the closer of a comment or string that is still open, '' for none.
export function highlight(parent, text, language, state) {
  const pattern = kLexers.get(language);
  if (!pattern || text.length > kLongest) {
    parent.append(text);
    return '';
  }
  let at = 0;
  let plain = 0;
  const emit = (kind, from, to) => {
    if (from > plain) parent.append(text.slice(plain, from));
    parent.append(el('span', { class: `t-${kind}` }, text.slice(from, to)));
    at = plain = to;
  };
  const emit_block = (from, body, closer) => {
    const end = text.indexOf(closer, body);
    emit(/[/-]/.test(closer) ? 'comment' : 'string', from, end < 0 ? text.length : end + closer.length);
    return end < 0 ? closer : '';
  };
  if (state !== '') state = emit_block(0, 0, state);
  while (at < text.length) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) break;
    const { block, comment, string, number, word } = found.groups;
    const end = found.index + found[0].length;
    if (block) state = emit_block(found.index, end, kClosers[block]);
    else if (comment) emit(pattern === kMarkup || !/^(\/\/|#|--)/.test(comment) ? 'keyword' : 'comment', found.index, end);
    else if (string) emit('string', found.index, end);
    else if (number) emit('number', found.index, end);
    else if (kKeywords.has(word)) emit('keyword', found.index, end);
    else if (text[end] === '(') emit('function', found.index, end);
    else at = end;
  }
  if (plain < text.length) parent.append(text.slice(plain));
  return state;
}
