// Builders of DOM nodes. Text always enters as text, never as markup.

const kSvg = 'http://www.w3.org/2000/svg';

// Paths on a 24 x 24 grid, drawn as strokes.
const kIcons = {
  menu: 'M4 7h16M4 12h16M4 17h10',
  plus: 'M12 5v14M5 12h14',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13.5 6.5l4 4',
  gauge: 'M4 19V9M10 19V5M16 19v-7M21 19H3',
  sliders: 'M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  up: 'M12 19V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
  stop: 'M8 8h8v8H8z',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M5 13l4.5 4.5L19 7',
  again: 'M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  close: 'M6 6l12 12M18 6L6 18',
  tool: 'M14 6a4 4 0 0 0 5 5l-9 9a2 2 0 0 1-3-3l9-9M14 6l3-3M19 11l2-3',
};

// An element with attributes and children. A function under `on...` becomes a listener, `false`
// and undefined leave an attribute out, `true` sets it empty.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  return svg('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' },
    svg('path', { d: kIcons[name] }));
}

// A button that shows an icon alone; `label` is its name and its tooltip.
export function icon_button(name, label, onclick, attributes = {}) {
  return el('button', { type: 'button', class: 'icon-button', title: label, 'aria-label': label,
    onclick, ...attributes }, icon(name));
}

// Puts text on the clipboard, also where the page came over plain HTTP from another machine and
// browsers hide navigator.clipboard. Says whether it went well.
export async function copy_text(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el('textarea', { class: 'hidden-text', 'aria-hidden': 'true' });
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

// A button that copies what get_text() returns and shows a check mark for a moment.
export function copy_button(label, get_text, attributes = {}) {
  const button = icon_button('copy', label, async () => {
    const done = await copy_text(get_text());
    button.replaceChildren(icon(done ? 'check' : 'close'));
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  }, attributes);
  return button;
}
