"""What the site is made from: the configuration, notebooks as Markdown, and pandoc."""
import base64, html, json, re, subprocess
from pathlib import Path

import pypandoc, yaml

HERE = Path(__file__).resolve().parent
READER = 'markdown+autolink_bare_uris+table_attributes-smart'
OPTION = re.compile(r'^\s*#\s*\|\s*([\w-]+)\s*:\s*(.*)$')
IMAGES = {'image/svg+xml': 'svg', 'image/png': 'png', 'image/jpeg': 'jpeg', 'image/gif': 'gif'}


def text(o): return o if isinstance(o, str) else ''.join(o or [])


def attr(s): return s.replace('\\', '\\\\').replace('"', '\\"')


def fence(s, head):
    "`s` in a code fence that is longer than any inside it."
    n = max([2, *map(len, re.findall(r'`{3,}', s))]) + 1
    return f'{"`"*n} {head}\n{s.rstrip()}\n{"`"*n}'


def div(attrs, body, depth=3): return f'{":"*depth} {{{attrs}}}\n{body}\n{":"*depth}'


def load_config(root):
    "`_quarto.yml` with the files it names under `metadata-files` merged in."
    def merge(a, b):
        for k, v in b.items():
            both = isinstance(v, dict) and isinstance(a.get(k), dict)
            a[k] = merge(a[k], v) if both else v
        return a
    cfg = yaml.safe_load((root/'_quarto.yml').read_text(encoding='utf-8'))
    for f in cfg.get('metadata-files', []):
        if (root/f).exists(): merge(cfg, yaml.safe_load((root/f).read_text(encoding='utf-8')) or {})
    return cfg


def split_options(src):
    "The `#| key: value` lines at the top of a cell as a dict, and the rest of the cell."
    lines, opts = src.splitlines(), []
    while lines and (OPTION.match(lines[0]) or (opts and not lines[0].strip())):
        line = lines.pop(0)
        if line.strip(): opts.append(OPTION.sub(r'\1: \2', line))
    found = yaml.safe_load('\n'.join(opts)) or {}
    return found, '\n'.join(lines).strip('\n')


class Notebook:
    "One notebook on its way to Markdown; images go to `out/<stem>_files/<figures>`."
    def __init__(self, path, out, to, defaults=None):
        self.path, self.out = Path(path), out
        self.to, self.defaults = to, defaults or {}
        nb = json.loads(self.path.read_text(encoding='utf-8'))
        self.cells, self.meta = nb['cells'], {}
        self.lang = nb.get('metadata', {}).get('kernelspec', {}).get('language', 'python')
        self.figs = f'{self.path.stem}_files/figure-{"html" if to == "html" else "commonmark"}'
        for c in self.cells:
            src = text(c['source']).strip()
            if c['cell_type'] == 'raw' and src.startswith('---'):
                self.meta.update(yaml.safe_load(src.strip('-\n ')) or {})
                c['source'] = ''

    def save(self, data, name):
        "Write an image and return its path relative to the page."
        (self.out/self.figs).mkdir(parents=True, exist_ok=True)
        (self.out/self.figs/name).write_bytes(data)
        return f'{self.figs}/{name}'

    def markdown(self):
        "The whole notebook as Markdown."
        cells = (self.cell(i, c) for i, c in enumerate(self.cells))
        return '\n\n'.join(filter(None, cells)) + '\n'

    def cell(self, i, c):
        src = text(c['source'])
        if c['cell_type'] == 'raw': return ''
        if c['cell_type'] == 'markdown':
            for name, att in c.get('attachments', {}).items():
                mime, data = next(iter(att.items()))
                src = src.replace(f'attachment:{name}', self.save(base64.b64decode(data), f'{i}-{name}'))
            return src
        own, code = split_options(src)
        opts = {**self.defaults, **own}
        if opts.get('include') is False: return ''
        parts = []
        if opts.get('echo', True) is not False and code: parts.append(self.code(code, opts))
        if opts.get('output', True) is not False: parts += self.outputs(i, c.get('outputs', []), opts)
        body = '\n\n'.join(filter(None, parts))
        if opts.get('output') == 'asis' or not body or self.to != 'html': return body
        return div('.cell', body, 6)

    def code(self, code, opts):
        block = fence(code, f'{{.{self.lang} .cell-code}}' if self.to == 'html' else self.lang)
        if opts.get('code-fold') in (None, False): return block
        state = ' open' if opts['code-fold'] == 'show' else ''
        summary = html.escape(str(opts.get('code-summary', 'Code')))
        return f'<details{state}>\n<summary>{summary}</summary>\n\n{block}\n\n</details>'

    def outputs(self, i, outs, opts):
        label, asis = str(opts.get('label', '')), opts.get('output') == 'asis'
        res, images = [], []
        for k, o in enumerate(outs):
            kind = o['output_type']
            if kind == 'error':
                raise SystemExit(f'{self.path.name}: cell {i} holds an error output: {o.get("ename")}')
            if kind == 'stream':
                if o['name'] == 'stderr' and opts.get('warning') is False: continue
                s = text(o['text'])
                if s.strip(): res.append(s if asis else self.verbatim(s, o['name']))
                continue
            name = f'{label or f"cell-{i}"}-output-{k + 1}'
            md, is_image = self.display(o.get('data', {}), name)
            if is_image: images.append(md)
            else: res.append(md if asis else self.boxed(md))
        if images: res.append(self.figure(images, label, opts))
        if label.startswith('tbl-') and res:
            parts = [*res, str(opts.get('tbl-cap', ''))]
            res = [div(f'#{label}', '\n\n'.join(filter(None, parts)), 5)]
        return res

    def verbatim(self, s, name='stdout'):
        if self.to != 'html': return '\n'.join('    ' + l for l in s.rstrip('\n').splitlines())
        return div(f'.cell-output .cell-output-{name}', fence(s, '{.output}'), 4)

    def boxed(self, md):
        if self.to != 'html' or not md: return md
        return div('.cell-output .cell-output-display', md, 4)

    def display(self, data, name):
        "Markdown of one display output, and whether it is an image."
        if 'text/markdown' in data: return text(data['text/markdown']), False
        if 'text/html' in data and not set(data) & set(IMAGES):
            return fence(text(data['text/html']), '{=html}'), False
        for mime, ext in IMAGES.items():
            if mime not in data: continue
            raw = text(data[mime]).encode() if ext == 'svg' else base64.b64decode(text(data[mime]))
            return self.save(raw, f'{name}.{ext}'), True
        if 'text/latex' in data: return text(data['text/latex']), False
        s = text(data.get('text/plain', ''))
        return (self.verbatim(s) if s.strip() else None), False

    def figure(self, images, label, opts):
        cap, alt = opts.get('fig-cap') or '', opts.get('fig-alt') or ''
        sub = opts.get('fig-subcap') or []
        ident = f'#{label} ' if label.startswith('fig-') else ''
        if len(images) == 1:
            a = alt if isinstance(alt, str) else alt[0]
            return f'![{cap}]({images[0]}){{{ident}fig-alt="{attr(a)}"}}'
        alts = [alt]*len(images) if isinstance(alt, str) else alt
        inner = [f'![{sub[j] if j < len(sub) else ""}]({im}){{fig-alt="{attr(alts[j])}"}}'
                 for j, im in enumerate(images)]
        return div(f'{ident or ".figure"}', '\n\n'.join(inner + ([str(cap)] if cap else [])), 5)


def pandoc(md, args, page, filters=()):
    "Run pandoc on the Markdown `md`, with the project's `filters` before our own; its warnings are errors."
    lua = [o for f in (*filters, HERE/'filter.lua') for o in ('--lua-filter', str(f))]
    command = [pypandoc.get_pandoc_path(), '--from', READER, *lua, *map(str, args)]
    res = subprocess.run(command, input=md, capture_output=True, text=True, encoding='utf-8')
    if res.returncode or 'WARNING' in res.stderr: raise SystemExit(f'{page}: pandoc: {res.stderr.strip()}')
    return res.stdout
