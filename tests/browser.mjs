// Opens pages in a browser and writes what it finds, as JSON. Called by test_browser.py:
//
//   node browser.mjs FOLDER_OF_NODE_MODULES CHROMIUM_OR_- PAGE... [--axe PAGE...]
//
// Each finding is {page, kind, what}. Pages after --axe are also read by axe-core, light and dark.
import { createRequire } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [modules, chromium, ...pages] = process.argv.slice(2);
const need = createRequire(path.join(modules, 'node_modules', 'x.js'));
const found = [], note = (page, kind, what) => found.push({page, kind, what: String(what).slice(0, 300)});

async function launch() {
  const { chromium: driver } = need('playwright-core');
  if (chromium !== '-') return driver.launch({executablePath: chromium, args: ['--no-sandbox']});
  const { default: packed } = await import(pathToFileURL(need.resolve('@sparticuz/chromium')));
  const args = packed.args.filter(o => !/single-process|zygote/.test(o));
  return driver.launch({executablePath: await packed.executablePath(), args});
}

// A new tab with the page `file`; what it says and asks for is noted
async function open(context, file) {
  const tab = await context.newPage();
  tab.setDefaultTimeout(120_000);  // a busy machine is no finding
  tab.on('console', m => { if (m.type() === 'error') note(file, 'console', m.text()); });
  tab.on('pageerror', e => note(file, 'console', e.message));
  tab.on('request', r => { if (!/^(file|data|blob):/.test(r.url())) note(file, 'outside', r.url()); });
  await tab.goto(pathToFileURL(file).href);
  return tab;
}

// What is wrong with the layout and the words of a page, as [kind, what]
function look() {
  const bad = [], wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) {
    const culprits = [...document.querySelectorAll('body *')].filter(o => o.getBoundingClientRect().right > innerWidth + 1);
    bad.push(['wide', `${wide} px: ${culprits.slice(0, 3).map(o => o.outerHTML.slice(0, 80)).join(' | ')}`]);
  }
  const title = document.querySelector('h1')?.getBoundingClientRect().top;
  if (!(title < 400)) bad.push(['title', title]);
  const raw = document.body.innerText.match(/.{0,30}\]\((http|\/)\S*/);
  if (raw) bad.push(['markdown', raw[0]]);
  return bad;
}

async function axe(context, file) {
  const tab = await open(context, file);
  await tab.evaluate(() => document.querySelectorAll('details').forEach(o => { o.open = true; }));
  await tab.evaluate(readFileSync(need.resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await tab.evaluate(() => axe.run());
  for (const v of violations) {
    if (!['serious', 'critical'].includes(v.impact)) continue;
    note(file, 'axe', `${v.id}, ${v.nodes.length} times: ${v.nodes[0].html.slice(0, 100)} ${v.nodes[0].any[0]?.message ?? ''}`);
  }
  await tab.close();
}

// The addresses that the search gives for `query`
async function search(context, file, query) {
  const tab = await open(context, file);
  await tab.fill('#search', query);
  await tab.waitForSelector('#hits a').catch(e => note(file, 'search', e.message));
  return tab.$$eval('#hits a', links => links.map(o => o.href));
}

// A browser that is there and does not start is no finding about the pages
const browser = await launch().catch(e => { console.error(`no browser starts: ${e.message}`); process.exit(3); });
const cut = pages.indexOf('--axe'), read = cut < 0 ? [] : pages.slice(cut + 1);
const phone = await browser.newContext({viewport: {width: 400, height: 800}, hasTouch: true});
for (const file of cut < 0 ? pages : pages.slice(0, cut)) {
  const tab = await open(phone, file);
  for (const [kind, what] of await tab.evaluate(look)) note(file, kind, what);
  await tab.close();
}
for (const [width, colorScheme] of [[1400, 'light'], [1400, 'dark'], [400, 'light']]) {
  const context = await browser.newContext({viewport: {width, height: 900}, colorScheme});
  for (const file of read) await axe(context, file);
}
const home = pages.find(o => path.basename(o) === 'index.html' && existsSync(path.join(path.dirname(o), 'search.js')));
const hits = home ? await search(phone, home, 'beckman_barycenter') : [];
await browser.close();
console.log(JSON.stringify({found, hits}));
