// What a page of the site does: dark or light, open menus where there is room, anchors, copying, and the search.
const root = document.currentScript.dataset.root;
const page = document.documentElement;
page.classList.add('js');

function stored(value) {  // the reader's choice of a theme, kept where the browser lets us
  try { return value ? localStorage.setItem('theme', value) : localStorage.getItem('theme'); } catch { return null; }
}
if (stored()) page.dataset.theme = stored();

function make(tag, values, ...children) {
  const o = Object.assign(document.createElement(tag), values);
  o.append(...children);
  return o;
}

function themeButton() {
  document.getElementById('theme').onclick = () => {
    const dark = page.dataset.theme ? page.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    page.dataset.theme = dark ? 'light' : 'dark';
    stored(page.dataset.theme);
  };
}

function openWhereThereIsRoom(selector, width) {
  const room = matchMedia(`(min-width: ${width})`), fold = document.querySelector(selector);
  if (!fold) return;
  const set = () => { fold.open = room.matches; };
  room.addEventListener('change', set);
  set();
  const current = fold.querySelector('[aria-current]'), box = fold.parentElement;
  if (current && room.matches) box.scrollTop = current.offsetTop - box.clientHeight / 3;
}

function anchors() {
  for (const h of document.querySelectorAll('.content :is(h2, h3, h4)[id]'))
    h.append(make('a', {className: 'anchor', href: '#' + h.id, textContent: '#', ariaLabel: 'Link to ' + h.textContent}));
}

function copyButtons() {
  if (!navigator.clipboard) return;
  for (const box of document.querySelectorAll('.content div.sourceCode')) {
    const button = make('button', {type: 'button', className: 'copy', textContent: 'Copy'});
    button.onclick = async () => {
      await navigator.clipboard.writeText(box.querySelector('code').textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    };
    box.append(button);
  }
}

function reachByKeyboard() {  // what scrolls sideways can be scrolled without a mouse
  for (const o of document.querySelectorAll('.content :is(pre, table, p, ul, ol, math, .cell-output-display)'))
    if (o.scrollWidth > o.clientWidth) o.tabIndex = 0;
}

function openTarget() {  // a link into a folded check opens it
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  target?.closest('details')?.setAttribute('open', '');
}

// One match: how well the section answers, 0 where a word is missing
function score(words, query, title, heading, text) {
  const name = heading.toLowerCase(), all = `${title} ${heading} ${text}`.toLowerCase();
  if (!words.every(w => all.includes(w))) return 0;
  if (name === query) return 100;
  if (name.includes(query)) return 60 - Math.min(name.length, 40) / 4;
  const inName = words.filter(w => name.includes(w)).length, inTitle = words.filter(w => title.toLowerCase().includes(w)).length;
  return 1 + 10 * inName + 5 * inTitle + (text.toLowerCase().includes(query) ? 3 : 0);
}

function found(query) {
  const words = query.split(/\s+/), hits = [];
  for (const [url, sections] of searchIndex)
    for (const [heading, anchor, text] of sections) {
      const points = score(words, query, sections[0][0], heading, text);
      if (points) hits.push({points, heading, text, title: sections[0][0], url: root + url + (anchor ? '#' + anchor : '')});
    }
  return hits.sort((a, b) => b.points - a.points);
}

function hitLink({heading, text, title, url}, query) {
  const at = Math.max(text.toLowerCase().indexOf(query.split(/\s+/)[0]) - 40, 0);
  const where = heading === title ? [] : [make('span', {className: 'where', textContent: title})];
  const said = make('span', {className: 'said', textContent: (at ? '…' : '') + text.slice(at, at + 120)});
  return make('li', {}, make('a', {href: url}, make('strong', {textContent: heading}), ...where, said));
}

function search() {
  const input = document.getElementById('search'), box = document.getElementById('hits');
  const show = () => {
    const query = input.value.trim().toLowerCase();
    box.replaceChildren();
    if (query.length < 2 || typeof searchIndex === 'undefined') return;
    const hits = found(query);
    box.append(make('p', {textContent: hits.length === 1 ? '1 section' : `${hits.length} sections`}));
    if (hits.length) box.append(make('ul', {}, ...hits.slice(0, 12).map(o => hitLink(o, query))));
  };
  let asked = false;
  const load = () => {
    if (!asked) document.head.append(make('script', {src: root + 'search.js', onload: show}));
    asked = true;
  };
  input.addEventListener('focus', load);
  input.addEventListener('input', () => { load(); show(); });
  input.addEventListener('keydown', e => {
    if (e.key === 'Enter') box.querySelector('a')?.click();
    if (e.key === 'Escape') { input.value = ''; show(); }
  });
  document.addEventListener('keydown', e => {
    if (e.key !== '/' || e.target.closest('input, textarea')) return;
    e.preventDefault();
    input.focus();
  });
  document.addEventListener('click', e => { if (!e.target.closest('search')) box.replaceChildren(); });
}

document.addEventListener('DOMContentLoaded', () => {
  themeButton();
  openWhereThereIsRoom('nav.sidebar > details', '60rem');
  openWhereThereIsRoom('nav.toc > details', '80rem');
  anchors();
  copyButtons();
  reachByKeyboard();
  openTarget();
  search();
});
addEventListener('hashchange', openTarget);
