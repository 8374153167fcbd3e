"""The whole site: its pages, what stands around them, and the links between them."""
import html, os, re, shutil
from concurrent.futures import ThreadPoolExecutor

import yaml

from search import search_index
from source import HERE, Notebook, load_config, pandoc

ASSETS = {'.png', '.jpg', '.jpeg', '.gif', '.svg', '.css',
          '.csv', '.json', '.txt', '.html', '.npz', '.safetensors'}
OWN = ('site.css', 'site.js')


def mend_math(page):
    "Norm bars without the space around operators, and an overline that every font has."
    bar = r'<mo stretchy="false" form="\w+">([∥‖|])</mo>'
    page = re.sub(bar, r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', page)
    return page.replace('<mo accent="true">‾</mo>', '<mo stretchy="true">¯</mo>')


def slim(page):
    "Without what pandoc writes for every line of code: an anchor nobody uses."
    page = re.sub(r'<a href="#cb[\d-]+" aria-hidden="true" tabindex="-1"></a>', '', page)
    page = re.sub(r'<span id="cb[\d-]+">(.*?)</span>(?=\n|</code>)', r'\1', page)
    return re.sub(r'<div class="sourceCode" id="cb\d+">', '<div class="sourceCode">', page)


def break_names(page):
    "Long names in the list beside the text may break after a dot or an underscore, not just anywhere."
    def breaks(m): return re.sub(r'(?<=\w)[._](?=\w)', r'\g<0><wbr>', m[0])
    return re.sub(r'<nav class="toc".*?</nav>', lambda m: re.sub(r'>[^<]+<', breaks, m[0]), page, flags=re.S)


def frontmatter(meta): return '---\n' + yaml.safe_dump(meta, allow_unicode=True) + '---\n\n'


def target(path, meta):
    "The page that a source file becomes."
    return path.parent/meta.get('output-file', path.with_suffix('.html').name)


def page_title(meta, path):
    "The title of a page as HTML."
    title = html.escape(str(meta.get('title', path.stem)), quote=False)
    return re.sub(r'`([^`]*)`', r'<code>\1</code>', title)


def read_meta(path):
    "The front matter of a source file."
    if path.suffix == '.ipynb': return Notebook(path, None, 'html').meta
    m = re.match(r'---\n(.*?)\n---\n', path.read_text(encoding='utf-8'), flags=re.S)
    return (yaml.safe_load(m[1]) or {}) if m else {}


def menu_entries(items, pages):
    "The menu's items as (text, source) for a page and (text, [items]) for a section; each page must exist."
    res = []
    for o in items:
        if isinstance(o, str): o = dict(href=o)
        if 'section' in o:
            res.append((o['section'], menu_entries(o.get('contents', []), pages)))
            continue
        if o['href'] not in pages: raise SystemExit(f'sidebar: no such page: {o["href"]}')
        res.append((o.get('text'), o['href']))
    return res


def menu_sources(entries):
    "The sources of the pages in a menu, in order."
    for _, o in entries:
        if isinstance(o, str): yield o
        else: yield from menu_sources(o)


def menu_html(entries, pages, here):
    "The menu on the page made from source `here`, as HTML: sections closed, but for the one that holds it."
    res, base = [], pages[here][0].parent
    for label, o in entries:
        if not isinstance(o, str):
            state = ' open' if here in menu_sources(o) else ''
            head = f'<summary>{html.escape(label)}</summary>'
            res.append(f'<li><details{state}>{head}\n{menu_html(o, pages, here)}\n</details></li>')
            continue
        dst, meta = pages[o]
        current = ' aria-current="page"' if o == here else ''
        href, title = os.path.relpath(dst, base), label or page_title(meta, dst)
        res.append(f'<li><a href="{href}"{current}>{title}</a></li>')
    return '\n'.join(['<ul>', *res, '</ul>'])


def prev_next(entries, pages, here):
    "Links to the neighbors in the menu's order."
    srcs = [*menu_sources(entries)]
    if here not in srcs: return ''
    k, res = srcs.index(here), []
    base = pages[here][0].parent
    for j, rel, arrow in ((k - 1, 'prev', '← {}'), (k + 1, 'next', '{} →')):
        if not 0 <= j < len(srcs): continue
        dst, meta = pages[srcs[j]]
        href, title = os.path.relpath(dst, base), arrow.format(page_title(meta, dst))
        res.append(f'<a rel="{rel}" href="{href}">{title}</a>')
    return '\n'.join(res)


def fix_links(page, dst, pages, ids, site_url):
    """Point links to notebooks, from the site's root and to its public address at the rendered pages.

    nbdev links every name that a module defines. Those without an entry of their own (helpers, and methods
    that Python, torch or fastai call) lead to their class, or else to the page; tools/check_docs.py demands
    an entry for all others."""
    by_src = {src: d for src, (d, _) in pages.items()}
    known = {d.as_posix() for d in by_src.values()}
    def fix(m):
        url = html.unescape(m[2])
        path, _, anchor = url.partition('#')
        public = bool(site_url) and (path + '/').startswith(site_url + '/')
        from_root = path.startswith('/') and not path.startswith('//')
        by_nbdev = public or from_root
        if by_nbdev:
            rel = path[len(site_url) if public else 0:].strip('/') or 'index.html'
            if from_root or rel in known: path = os.path.relpath(rel, dst.parent)
        elif '://' not in path and path.endswith(('.ipynb', '.qmd')):
            src = os.path.normpath(dst.parent/path)
            if src in by_src: path = os.path.relpath(by_src[src], dst.parent)
        there = ids.get(os.path.normpath(dst.parent/path) if path else dst.as_posix())
        if by_nbdev and there and anchor not in there:
            parent = anchor.rpartition('.')[0]
            anchor = parent if parent in there else ''
        if anchor: path += '#' + anchor
        return f'{m[1]}"{html.escape(path)}"'
    return re.sub(r'(<a\b[^>]*?\bhref=)"([^"]*)"', fix, page)


def sources(root, *exts):
    "The files below `root` with these endings, without what is hidden or begins with an underscore."
    files = [p for p in sorted(root.rglob('*')) if p.suffix in exts and p.is_file()]
    found = [p.relative_to(root) for p in files]
    return [p for p in found if not any(o[0] in '_.' for o in p.parts)]


def page_markdown(path, meta, folder, defaults):
    "The Markdown of the source file `path`; its images go below `folder`."
    if path.suffix != '.ipynb': return path.read_text(encoding='utf-8')
    return frontmatter(meta) + Notebook(path, folder, 'html', defaults).markdown()


def page_args(src, pages, entries, cfg):
    "What pandoc is told to make the page of the source file `src`."
    dst, meta = pages[src]
    web, own_css = cfg.get('website', {}), cfg['format']['html'].get('css')
    up = '../'*(len(dst.parts) - 1)
    title = f'{meta.get("title", dst.stem)} – {web.get("title", "")}'
    variables = dict(
        menu=menu_html(entries, pages, src),
        neighbours=prev_next(entries, pages, src),
        root=up or './',
        site=html.escape(web.get('title', '')),
        pagedesc=html.escape(str(meta.get('description', ''))),
        repo=html.escape(str(web.get('repo-url', ''))),
        favicon=web.get('favicon', ''))
    args = ['--to', 'html5', '--standalone', '--template', HERE/'page.html', '--wrap', 'preserve']
    args += ['--mathml', '--toc', '--toc-depth', 3]
    args += ['--metadata', f'pagetitle={title}', '--metadata', f'notebook={src}']
    args += ['--css', up + 'site.css']
    if own_css: args += ['--css', up + own_css]
    for k, v in variables.items(): args += ['--variable', f'{k}={v}']
    return args


def render_site(root):
    "Render every notebook and Markdown page below `root` and copy what they show."
    cfg = load_config(root)
    filters = [root/f for f in cfg.get('filters', ())]
    out, web = root/cfg['project'].get('output-dir', '_docs'), cfg.get('website', {})
    shutil.rmtree(out, ignore_errors=True)
    metas = {p: read_meta(root/p) for p in sources(root, '.ipynb', '.md', '.qmd')}
    pages = {p.as_posix(): (target(p, m), m) for p, m in metas.items()}
    entries = menu_entries(web.get('sidebar', {}).get('contents', list(pages)), pages)
    site_url = str(web.get('site-url', '')).rstrip('/')
    for p in sources(root, *ASSETS):
        (out/p).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root/p, out/p)
    out.mkdir(exist_ok=True)
    for name in OWN: shutil.copyfile(HERE/name, out/name)
    def make(src):
        dst, meta = pages[src]
        folder = (out/dst).parent
        folder.mkdir(parents=True, exist_ok=True)
        md = page_markdown(root/src, meta, folder, cfg.get('execute'))
        shortcode = re.search(r'\{\{<.{,57}', md, flags=re.S)
        if shortcode: raise SystemExit(f'{src}: Quarto shortcodes are not supported here: {shortcode[0]}')
        page = pandoc(md, page_args(src, pages, entries, cfg), src, filters)
        return dst, slim(break_names(mend_math(page)))
    with ThreadPoolExecutor(os.cpu_count()) as threads: made = dict(threads.map(make, pages))
    ids = {dst.as_posix(): set(re.findall(r'\bid="([^"]+)"', page)) for dst, page in made.items()}
    for dst, page in made.items():
        fixed = fix_links(page, dst, pages, ids, site_url)
        (out/dst).write_text(fixed, encoding='utf-8')
    (out/'search.js').write_text(search_index(made), encoding='utf-8')
    print(f'{len(pages)} pages in {out.name}')
