// The live panel: speed, load and memory of the server, and the expert cache layer by layer, from
// GET /stats once a second while it is open.

import { get_json } from './api.js';
import { el, svg } from './dom.js';

const kPoll_ms = 1000;
const kPoints = 60;   // of the speed's curve
const kWindow = 10;   // polls that the expert rates look back
// Cividis: dark to bright, in the same order for every kind of colour vision.
const kScale = [[0, 32, 77], [49, 68, 107], [102, 105, 112], [149, 143, 120], [203, 186, 105], [255, 234, 70]];

const count = (value) => Math.round(value).toLocaleString('en');
const percent = (share) => `${(share * 100).toFixed(share < 0.9995 ? 1 : 0)} %`;

export function bytes_text(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes.toFixed(unit > 0 && bytes < 100 ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes < 1 ? `${Math.floor(seconds)} s` : minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
}

function color_of(share) {
  const at = Math.min(Math.max(share, 0), 1) * (kScale.length - 1);
  const low = Math.min(Math.floor(at), kScale.length - 2);
  return `rgb(${kScale[low].map((from, i) => Math.round(from + (kScale[low + 1][i] - from) * (at - low))).join(' ')})`;
}

function figure(label, testid) {
  const value = el('b', { 'data-testid': testid });
  return { root: el('div', { class: 'figure' }, el('span', {}, label), value), value };
}

function bar(label, testid) {
  const text = el('b');
  const fill = el('i');
  const track = el('div', { class: 'bar', role: 'meter', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 }, fill);
  const note = el('small');
  const root = el('div', { 'data-testid': testid }, el('div', { class: 'figure' }, el('span', {}, label), text), track, note);
  const show = (used, total, description, remark = '') => {
    root.hidden = !(total > 0);
    const share = total > 0 ? Math.min(used / total, 1) : 0;
    fill.style.width = `${share * 100}%`;
    fill.classList.toggle('full', share > 0.95);
    track.setAttribute('aria-valuenow', Math.round(share * 100));
    track.setAttribute('aria-valuetext', description);
    text.textContent = description;
    note.textContent = remark;
  };
  return { root, show };
}

// What came since an earlier poll; an expert list of another length or smaller counts is another
// run of the server.
function expert_changes(now, then) {
  if (!then || then.length !== now.length) return null;
  const changes = now.map((layer, i) => Object.fromEntries(Object.keys(layer).map((key) =>
    [key, key === 'layer' ? layer.layer : layer[key] - then[i][key]])));
  return changes.some((layer) => layer.hits < 0 || layer.misses < 0) ? null : changes;
}

const rate_of = ({ hits, misses }) => (hits + misses > 0 ? hits / (hits + misses) : null);

export class Panel {
  // `polled(stats or null)` is called after each poll.
  constructor(root, polled) {
    this.root_ = root;
    this.polled_ = polled;
    this.speeds_ = [];
    this.experts_ = [];
    this.picked_ = 0;
    this.build_();
  }

  get is_open() {
    return !this.root_.hidden;
  }

  set is_open(open) {
    this.root_.hidden = !open;
    clearTimeout(this.timer_);
    if (open) this.poll_();
  }

  async poll_() {
    clearTimeout(this.timer_);
    if (!document.hidden) {
      try {
        const stats = await get_json('/stats');
        this.show_(stats);
        this.polled_(stats);
        this.state_.textContent = '';
      } catch {
        this.state_.textContent = 'No answer from the server.';
        this.polled_(null);
      }
    }
    clearTimeout(this.timer_);
    if (this.is_open) this.timer_ = setTimeout(() => this.poll_(), kPoll_ms);
  }

  build_() {
    this.decode_ = figure('Answer tok/s', 'decode-rate');
    this.line_ = svg('path', { class: 'line' });
    this.area_ = svg('path', { class: 'area' });
    this.curve_ = svg('svg', { viewBox: '0 0 240 48', preserveAspectRatio: 'none', class: 'curve', role: 'img' }, this.area_, this.line_);
    this.figures_ = [['Prompt tok/s', 'prompt-rate'], ['Running', 'running'], ['Waiting', 'waiting'], ['Finished', 'finished']]
      .map(([label, id]) => figure(label, id));
    this.bars_ = { vram: bar('GPU memory', 'vram'), kv: bar('KV cache', 'kv'), prefix: bar('Prefix cache', 'prefix') };
    this.host_ = figure('Host memory', 'host-memory');
    this.state_ = el('p', { class: 'panel-state', role: 'status' });
    this.about_ = el('p', { class: 'about' });
    this.strip_ = el('div', { class: 'strip', role: 'group', 'aria-label': 'Expert hit rate, layer by layer', 'data-testid': 'heat-strip',
      onkeydown: (event) => this.strip_key_(event) });
    this.overall_ = el('b', { 'data-testid': 'hit-rate' });
    this.detail_ = el('p', { class: 'detail', 'data-testid': 'heat-detail' });
    const legend = el('div', { class: 'legend', 'aria-hidden': 'true' }, '0 %', el('i'), '100 %');
    legend.children[0].style.background = `linear-gradient(to right, ${[0, 1, 2, 3, 4, 5].map((i) => color_of(i / 5)).join(', ')})`;
    this.since_ = el('small');
    this.expert_box_ = el('section', { 'data-testid': 'experts' }, el('h3', {}, 'Experts'),
      el('div', { class: 'figure' }, el('span', {}, 'Found in GPU memory'), this.overall_), this.strip_, legend, this.detail_, this.since_);
    this.resident_ = el('section', { 'data-testid': 'experts-resident' }, el('h3', {}, 'Experts'), el('p', { class: 'about' }, 'All experts are resident.'));
    this.root_.append(this.state_,
      el('section', {}, el('h3', {}, 'Speed'), this.decode_.root, this.curve_, ...this.figures_.map((each) => each.root)),
      this.expert_box_, this.resident_,
      el('section', {}, el('h3', {}, 'Memory'), this.bars_.vram.root, this.host_.root, this.bars_.kv.root, this.bars_.prefix.root),
      this.about_);
  }

  show_(stats) {
    const { model, requests, rates, kv, memory, prefix_cache: prefix } = stats;
    this.decode_.value.textContent = rates.decode_tok_s.toFixed(1);
    this.speeds_ = [...this.speeds_, rates.decode_tok_s].slice(-kPoints);
    this.show_curve_();
    const sequences = stats.sequences ? ` of ${stats.sequences.total}` : '';
    [rates.prompt_tok_s.toFixed(0), `${requests.running}${sequences}`, count(requests.waiting),
      count(requests.finished)].forEach((text, i) => { this.figures_[i].value.textContent = text; });

    const used = memory.device_total - memory.device_free;
    this.bars_.vram.show(used, memory.device_total, `${bytes_text(used)} of ${bytes_text(memory.device_total)}`,
      `${bytes_text(memory.device_allocated)} by this server`);
    this.host_.value.textContent = bytes_text(memory.host_resident);
    this.bars_.kv.show(kv.pages_used, kv.pages_total, `${percent(kv.pages_used / kv.pages_total)} of ${bytes_text(kv.bytes_total)}`,
      `${count(kv.pages_used)} of ${count(kv.pages_total)} pages, ${kv.page_tokens} tokens each`);
    this.bars_.prefix.show(prefix.bytes, prefix.limit_bytes, `${bytes_text(prefix.bytes)} of ${bytes_text(prefix.limit_bytes)}`,
      `${count(prefix.tokens_reused)} tokens reused, ${count(prefix.hits)} of ${count(prefix.hits + prefix.misses)} prompts found`);
    this.about_.textContent = `${model.backend}, ${model.layers} layers, ${bytes_text(model.weight_bytes)} of weights · `
      + `hlwq ${stats.version}, up ${duration(stats.uptime_s)}`;
    this.show_experts_(stats.experts ?? [], memory.device_total > 0);
  }

  show_curve_() {
    const top = Math.max(...this.speeds_, 1);
    const step = 240 / (kPoints - 1);
    const start = 240 - (this.speeds_.length - 1) * step;
    const line = this.speeds_.map((speed, i) => `${(start + i * step).toFixed(1)} ${(45 - 42 * speed / top).toFixed(1)}`).join('L');
    this.line_.setAttribute('d', `M${line}`);
    this.area_.setAttribute('d', `M${start.toFixed(1)} 48L${line}L240 48Z`);
    this.curve_.setAttribute('aria-label', `Answer tokens a second over the last minute, at most ${top.toFixed(1)}`);
  }

  show_experts_(experts, has_device) {
    this.expert_box_.hidden = experts.length === 0;
    this.resident_.hidden = experts.length > 0 || !has_device;
    if (experts.length === 0) return;
    const recent = expert_changes(experts, this.experts_[0]);
    const last = this.experts_.at(-1);
    this.experts_ = last && expert_changes(experts, last) ? [...this.experts_, experts].slice(-kWindow - 1) : [experts];
    const live = recent?.some((layer) => rate_of(layer) !== null);
    this.layers_ = live ? recent : experts;
    this.since_.textContent = live ? `Over the last ${kWindow} seconds` : 'Since the server started';
    const total = rate_of(this.layers_.reduce((sum, layer) => ({ hits: sum.hits + layer.hits, misses: sum.misses + layer.misses }), { hits: 0, misses: 0 }));
    this.overall_.textContent = total === null ? '–' : percent(total);
    if (this.strip_.childElementCount !== experts.length) {
      this.strip_.replaceChildren(...experts.map((_, i) => el('button', { type: 'button',
        onmouseenter: () => this.pick_(i), onfocus: () => this.pick_(i), onclick: () => this.pick_(i) })));
    }
    this.layers_.forEach((layer, i) => {
      const cell = this.strip_.children[i];
      const rate = rate_of(layer);
      cell.style.background = rate === null ? '' : color_of(rate);
      cell.title = this.layer_text_(layer);
      cell.setAttribute('aria-label', cell.title);
    });
    this.pick_(Math.min(this.picked_, experts.length - 1));
  }

  layer_text_(layer) {
    const rate = rate_of(layer);
    const parts = [`${count(layer.hits)} hits`, `${count(layer.misses)} misses`];
    if (layer.on_cpu > 0) parts.push(`${count(layer.on_cpu)} on CPU`);
    if (layer.in_place > 0) parts.push(`${count(layer.in_place)} read in place`);
    return `MoE layer ${layer.layer}: ${rate === null ? 'not used yet' : `${percent(rate)} · ${parts.join(', ')} · ${bytes_text(layer.bytes)} copied`}`;
  }

  // The cell that the line below the strip tells about, and that Tab leads to.
  pick_(index) {
    this.picked_ = index;
    [...this.strip_.children].forEach((cell, i) => { cell.tabIndex = i === index ? 0 : -1; });
    this.strip_.querySelector('.picked')?.classList.remove('picked');
    this.strip_.children[index].classList.add('picked');
    this.detail_.textContent = this.layer_text_(this.layers_[index]);
  }

  strip_key_(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const cell = step && this.strip_.children[this.picked_ + step];
    if (!cell) return;
    event.preventDefault();
    cell.focus();
  }
}
