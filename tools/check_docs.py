#!/usr/bin/env python3
"""Check the rendered site, its llms.txt and the README: every link, anchor, label and picture resolves.

    tools/check_docs.py [FOLDER]     default: _docs, next to README.md

Fails on: a link or picture whose file is missing, an anchor that no element has, an unresolved cross
reference, a picture without alternative text, an id or documented symbol that occurs twice on a page, math
that was not converted, anything loaded from another host, a page that the sidebar does not reach, a notebook
that has no page, and a public name without an entry of its own where nbdev's links look for it: each function
and class in the `__all__` of a module, each public method and property of such a class, and each method
patched onto a class of another library. No entry is asked for what a class inherits, for names with
underscores in front, for `forward` and `extra_repr` of a module, and for the events that fastai calls on a
callback. (For that the package is imported.)"""
import html, importlib, inspect, re, sys
from collections import Counter
from configparser import ConfigParser
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
EXTERNAL = re.compile(r'^[a-z][a-z0-9+.-]*:|^//', re.I)
LABEL = re.compile(r'\?@[\w-]+|(?<![\w`/])@(?:fig|tbl|eq|sec|lst)-[\w-]+')
VOID = {'area', 'base', 'br', 'col', 'embed', 'hr', 'img', 'input', 'link', 'meta', 'source', 'track', 'wbr'}
WIDEST = 100_000  # bytes of a picture
PICTURES = ('.png', '.jpg', '.jpeg', '.svg')


class Page(HTMLParser):
    "The ids, links, loaded files and visible text of one HTML page."
    def __init__(self, path):
        super().__init__()
        self.path = path
        self.stack = []  # the open elements, as (tag, class)
        self.prose, self.bad = [], []
        self.headings, self.symbols = set(), []
        self.links, self.nav = [], set()
        self.ids, self.loads = [], []
        self.feed(path.read_text(encoding='utf-8'))

    def inside(self, *tags): return any(t in tags for t, _ in self.stack)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag not in VOID: self.stack.append((tag, a.get('class') or ''))
        if a.get('id'): self.ids.append(a['id'])
        if tag == 'a' and a.get('href') is not None:
            self.links.append(a['href'])
            in_sidebar = any('sidebar' in c for _, c in self.stack)
            if in_sidebar or self.inside('nav'): self.nav.add(a['href'])
        if tag == 'img' and not (a.get('alt') or '').strip():
            self.bad.append(f'picture without alternative text: {a.get("src", "")[:80]}')
        loading = ['src', 'poster']
        if tag == 'link' and a.get('rel') in ('stylesheet', 'icon'): loading.append('href')
        for k in loading:
            if a.get(k) and not a[k].startswith('data:'): self.loads.append(a[k])
        if 'math' in (a.get('class') or '').split(): self.bad.append('math that was not converted')

    def handle_endtag(self, tag):
        while self.stack:
            if self.stack.pop()[0] == tag: break

    def handle_data(self, data):
        if self.inside('style', 'script'): return
        if self.inside('h3') and self.stack[-1][0] in ('h3', 'code'): self.symbols.append(data.strip())
        if self.inside('h2', 'h3', 'h4', 'h5'): self.headings.add(data.strip())
        if not self.inside('pre', 'code', 'title'): self.prose.append(data)


def resolve(page, url, pages, where):
    "What is wrong with the link `url` on `page`, or None."
    path, _, anchor = url.partition('#')
    if path.startswith('/'): return f"{where} from the host's root: {url}"
    target = (page.path if not path else (page.path.parent/unquote(path.split('?')[0])).resolve())
    if target.is_dir(): target = target/'index.html'
    if not target.exists(): return f'{where} to a missing file: {url}'
    if anchor and target.suffix == '.html':
        other = pages.get(target)
        if other and unquote(anchor) not in other.ids: return f'{where} to a missing anchor: {url}'


def repeated(items):
    "What occurs more than once in `items`, as (item, how often)."
    return [(o, n) for o, n in Counter(items).items() if n > 1]


def check_page(page, pages, site):
    "Every problem of one of the `pages`, and None for what has none; `site` is the public address."
    yield from page.bad
    for ident, n in repeated(page.ids): yield f'id used {n} times: {ident}'
    symbols = [o for o in page.symbols if re.fullmatch(r'[\w.]+', o)]
    for symbol, n in repeated(symbols): yield f'documented {n} times: {symbol}'
    for m in LABEL.findall(' '.join(page.prose)): yield f'unresolved cross reference: {m}'
    for url in page.links:
        if site and url.startswith(site): yield f'link to the public site instead of a page: {url}'
        elif not EXTERNAL.match(url): yield resolve(page, url, pages, 'link')
    for url in page.loads:
        if EXTERNAL.match(url): yield f'loaded from another host: {url}'
        else: yield resolve(page, url, pages, 'picture or style')


def check_sidebar(docs, pages):
    "The pages that the sidebar of the first page does not name."
    index = pages.get((docs/'index.html').resolve())
    if not index: return
    reached = {(docs/o.partition('#')[0]).resolve() for o in index.nav if not EXTERNAL.match(o)}
    for p in pages:
        if p not in reached: yield p, 'not in the sidebar'


def check_pictures(docs):
    "The pictures that are too large."
    for path in docs.rglob('*'):
        if path.suffix not in PICTURES or 'site_libs' in path.parts: continue
        size = path.stat().st_size
        if size > WIDEST: yield path, f'picture larger than {WIDEST//1000} kB: {size//1000} kB'


def check_complete(docs, nbs, pages):
    "The notebooks that have no page."
    made = {p.relative_to(docs.resolve()).with_suffix('').as_posix() for p in pages}
    for nb in sorted(nbs.rglob('*.ipynb')):
        rel = nb.relative_to(nbs)
        if any(o[0] in '_.' for o in rel.parts): continue
        name = re.sub(r'^\d+[a-zA-Z0-9]*_', '', rel.name.lower()).removesuffix('.ipynb')
        if rel.with_name(name).as_posix() not in made: yield nb, 'notebook without a page'


def check_site(docs, nbs=ROOT/'nbs'):
    "Every problem of the site in `docs`, made from the notebooks in `nbs`, as (page, problem)."
    files = [p for p in sorted(docs.rglob('*.html')) if 'site_libs' not in p.parts]
    pages = {p.resolve(): Page(p.resolve()) for p in files}
    site = settings_url()
    if not pages: yield docs, 'no page at all'
    for page in pages.values():
        for problem in check_page(page, pages, site):
            if problem: yield page.path, problem
    yield from check_sidebar(docs, pages)
    yield from check_pictures(docs)
    if nbs: yield from check_complete(docs, nbs, pages)


MEMBERS = (property, cached_property, classmethod, staticmethod)


def own_members(cls):
    "The public functions and properties that the class itself has: from its body, or patched onto it."
    for name, o in vars(cls).items():
        if not name.startswith('_') and (inspect.isfunction(o) or isinstance(o, MEMBERS)): yield name


def called_by_others(cls):
    "The methods that a framework calls, not a reader: those of a module, and the events of a callback."
    bases = {f'{o.__module__.partition(".")[0]}.{o.__name__}' for o in cls.__mro__}
    if 'torch.Module' in bases: yield from ('forward', 'extra_repr')
    if 'fastai.Callback' in bases:
        from fastai.callback.core import event
        yield from (o for o in vars(event) if not o.startswith('_'))


def wanted(module, syms):
    "Each name of the imported `module` that needs an entry, and its page; `syms`: nbdev's index of it."
    package, pages = module.__name__.partition('.')[0], {}
    for full, (url, _) in syms.items():
        pages[full.removeprefix(f'{module.__name__}.')] = url.partition('#')[0]
    for name in getattr(module, '__all__', []):
        if name not in pages: continue  # no function or class, or one of another module
        yield name, pages[name]
        o = getattr(module, name)
        if not inspect.isclass(o): continue
        skipped = {*called_by_others(o)}
        for member in own_members(o):
            full = f'{name}.{member}'
            if member not in skipped: yield full, pages.get(full, pages[name])
    for name in pages:
        cls, _, member = name.partition('.')
        home = getattr(getattr(module, cls, None), '__module__', package)
        foreign = home.partition('.')[0] != package
        if foreign and member and not member.startswith('_'): yield name, pages[name]


def check_entries(docs, index, load=importlib.import_module):
    "Every public name in nbdev's `index` without an entry on its page in `docs`, as (page, problem)."
    seen, headings = set(), {}
    for module, syms in index['syms'].items():
        for name, page in wanted(load(module), syms):
            if (name, page) in seen: continue
            seen.add((name, page))
            if page not in headings:
                headings[page] = Page(docs/page).headings if (docs/page).exists() else set()
            if name not in headings[page]: yield docs/page, f'no entry of its own: {name}'


def settings():
    "What settings.ini says."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']


def nbdev_index():
    "nbdev's index of the package in this checkout."
    sys.path.insert(0, str(ROOT))
    return importlib.import_module(f'{settings()["lib_path"]}._modidx').d


def settings_url():
    "The public address of the site, from settings.ini."
    cfg = settings()
    return (cfg.get('doc_host', '') + cfg.get('doc_baseurl', '')).rstrip('/')


def check_readme(path, docs):
    "Every problem of the README: relative links, pictures, references, and links to pages of the site."
    prose = re.sub(r'^```.*?^```$', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)
    site = settings_url()
    for m in LABEL.findall(re.sub(r'`[^`]*`', '', prose)): yield path, f'unresolved cross reference: {m}'
    for alt, _ in re.findall(r'!\[([^\]]*)\]\(([^)]*)\)', prose):
        if not alt.strip(): yield path, 'picture without alternative text'
    for url in re.findall(r'\]\(([^)\s]+)\)', prose) + re.findall(r'\b(?:src|href)="([^"]+)"', prose):
        target, _, anchor = html.unescape(url).partition('#')
        if site and target.startswith(site):
            page = docs/(target[len(site):].strip('/') or 'index.html')
            if not page.exists(): yield path, f'link to a missing page of the site: {url}'
            elif anchor and anchor not in Page(page).ids:
                yield path, f'link to a missing anchor of the site: {url}'
        elif target and not EXTERNAL.match(target) and not (path.parent/unquote(target)).exists():
            yield path, f'link to a missing file: {url}'


def main():
    "Check the site and the README; the exit code says whether there is a problem."
    docs = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT/'_docs')
    if not docs.is_dir(): sys.exit(f'no such folder: {docs}')
    docs = docs.resolve()
    problems = [*check_site(docs), *check_readme(ROOT/'README.md', docs), *check_entries(docs, nbdev_index())]
    problems += check_readme(docs/'llms.txt', docs)
    for path, problem in problems:
        place = next(path.relative_to(o) for o in (docs, ROOT, path.anchor) if path.is_relative_to(o))
        print(f'{place}: {problem}')
    n = len(list(docs.rglob('*.html')))
    print(f'{n} pages and the README checked, {len(problems)} problems')
    sys.exit(bool(problems))


if __name__ == '__main__': main()
