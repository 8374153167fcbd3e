#!/usr/bin/env python3
"""Check every notebook for what neither nbdev nor a test run notices.

    tools/check_notebooks.py [NOTEBOOK ...]     default: all in nbs/

Fails on: a cell that mixes imports with other code (the docs build would execute it), a stored error output, an
exported function whose parameters or result lack a docment, a path of somebody's machine, a labelled figure without
caption or alternative text, a displayed picture without alternative text, and an exporting notebook that does not end
with `nbdev_export()`."""
import ast, io, json, re, sys, tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINE = re.compile(r'(?<![\w.~$}/-])/(?:work|home|root|tmp|Users|mnt|opt|var/folders|private)/[\w.-]+|\b[A-Z]:\\\\?Users\\')
FUNC = (ast.FunctionDef, ast.AsyncFunctionDef)


def text(o): return o if isinstance(o, str) else ''.join(o or [])


def directives(src):
    "The `#|` lines at the top of a cell as a dict, in Quarto's and in nbdev's form."
    res = {}
    for line in src.splitlines():
        m = re.match(r'\s*#\s*\|\s*(.*)', line)
        if not m:
            if line.strip(): break
            continue
        key, sep, val = m[1].partition(':')
        if sep: res[key.strip()] = val.strip()
        elif m[1].split(): res[m[1].split()[0]] = ' '.join(m[1].split()[1:])
    return res


def parse(src):
    "The cell's syntax tree, without magics and shell lines; None where it is not Python."
    if src.lstrip().startswith('%%'): return None
    return ast.parse('\n'.join('pass' if re.match(r'\s*[%!]', o) else o for o in src.splitlines()))


def mixes_imports(tree):
    "Whether imports at the top level of the cell stand beside other code."
    kinds = {isinstance(o, (ast.Import, ast.ImportFrom)) for o in tree.body
             if not (isinstance(o, ast.Expr) and isinstance(o.value, ast.Constant))}
    return len(kinds) > 1


def returns_value(fn):
    "Whether the function itself (not one inside it) returns something or yields."
    todo = list(fn.body)
    while todo:
        o = todo.pop()
        if isinstance(o, (*FUNC, ast.Lambda, ast.ClassDef)): continue
        if isinstance(o, (ast.Yield, ast.YieldFrom)): return True
        if isinstance(o, ast.Return) and o.value is not None and not (isinstance(o.value, ast.Constant) and o.value.value is None): return True
        todo += ast.iter_child_nodes(o)
    return False


def undocumented(fn, comments, method):
    "The parameters of `fn` (and 'return') without a docment, by fastcore's rule: a comment on its line or right above."
    a = fn.args
    params = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
    if method: params = params[1:]
    owner = {p.lineno: p.arg for p in params}  # of several parameters on one line, the comment is the last one's
    ends = fn.returns.lineno if fn.returns else fn.body[0].lineno - 1  # `)->type: # comment`, or at least `): # comment`
    if fn.returns or ends not in owner: owner[ends] = 'return'
    documented = {name for n, name in owner.items() if n in comments or (n - 1 in comments and n > fn.lineno and n - 1 not in owner)}
    yield from (p.arg for p in params if p.arg not in documented)
    gives = fn.name != '__init__' and returns_value(fn) and not any('contextmanager' in ast.unparse(d) for d in fn.decorator_list)
    if gives and 'return' not in documented: yield 'return'


def public(name): return not name.startswith('_')


def functions(tree):
    "What users call: functions, patched methods, constructors and class methods, as (name, node, takes self)."
    for o in tree.body:
        decorators = ' '.join(ast.unparse(d) for d in getattr(o, 'decorator_list', []))
        if isinstance(o, FUNC) and public(o.name): yield o.name, o, 'patch' in decorators
        if isinstance(o, ast.ClassDef) and public(o.name):
            for m in o.body:
                if not isinstance(m, FUNC): continue
                made = ' '.join(ast.unparse(d) for d in m.decorator_list)
                if m.name == '__init__' or (public(m.name) and ('classmethod' in made or 'staticmethod' in made)):
                    yield f'{o.name}.{m.name}', m, 'staticmethod' not in made


def check_docments(src, tree):
    "The problems of the exported functions in a cell."
    comments = {t.start[0] for t in tokenize.generate_tokens(io.StringIO(src).readline) if t.type == tokenize.COMMENT}
    for name, fn, method in functions(tree):
        if not ast.get_docstring(fn) and '.' not in name: yield f'{name} has no docstring'
        for p in undocumented(fn, comments, method):
            yield f'{name}: no docment for {p}'
    for o in tree.body:
        if isinstance(o, ast.ClassDef) and public(o.name):
            if not ast.get_docstring(o) and not any(isinstance(m, FUNC) and m.name == '__init__' and ast.get_docstring(m) for m in o.body):
                yield f'{o.name} has no docstring'
            if any('dataclass' in ast.unparse(d) for d in o.decorator_list):
                for f in o.body:
                    if isinstance(f, ast.AnnAssign) and not {f.lineno, f.end_lineno, f.lineno - 1} & comments:
                        yield f'{o.name}: no docment for {ast.unparse(f.target)}'


def check_cell(cell):
    "The problems of one code cell."
    src = text(cell['source'])
    d, tree = directives(src), None
    try: tree = parse(src)
    except SyntaxError as e: yield f'not Python: {e}'
    exported = {'export', 'exports'} & set(d)
    if tree and mixes_imports(tree): yield f'imports and other code in one cell: {ast.unparse(tree.body[0])[:60]} ...'
    if tree and exported:
        try: yield from check_docments(src, tree)
        except tokenize.TokenError as e: yield f'not Python: {e}'
    outs = cell.get('outputs', [])
    for o in outs:
        if o['output_type'] == 'error': yield f'stored error output: {o.get("ename")}: {text(o.get("evalue"))[:80]}'
        shown = text(o.get('text')) + ''.join(text(v) for k, v in o.get('data', {}).items() if not k.startswith('image/'))
        for m in MACHINE.findall(shown): yield f'machine path in an output: {m}'
    for m in MACHINE.findall(src): yield f'machine path: {m}'
    if str(d.get('label', '')).startswith('fig-'):
        for k in ('fig-cap', 'fig-alt'):
            if not d.get(k): yield f'figure {d["label"]} has no {k}'
    hidden = 'hide' in d or d.get('include') == 'false' or d.get('output') == 'false' or exported
    if not hidden and any(k.startswith('image/') for o in outs for k in o.get('data', {})) and not d.get('fig-alt'):
        yield 'displayed picture without fig-alt'


def check_notebook(path):
    "Every problem of the notebook, with the number of its cell."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    code = [(i, c) for i, c in enumerate(cells) if c['cell_type'] == 'code' and text(c['source']).strip()]
    for i, c in code:
        for problem in check_cell(c): yield i, problem
    for i, c in enumerate(cells):
        if c['cell_type'] == 'markdown':
            for m in MACHINE.findall(text(c['source'])): yield i, f'machine path: {m}'
            for alt, url in re.findall(r'!\[([^\]]*)\]\(([^)]*)\)(?!\{[^}]*fig-alt)', text(c['source'])):
                if not alt.strip(): yield i, f'picture without alternative text: {url}'
    first = text(cells[0]['source']) if cells else ''
    if not re.match(r'# .+', first) or not re.search(r'^> .+', first, flags=re.M): yield 0, 'no title with a one-line promise (# ..., > ...)'
    if any('default_exp' in directives(text(c['source'])) for _, c in code):
        src = text(code[-1][1]['source'])
        if 'nbdev_export()' not in src or 'hide' not in directives(src): yield code[-1][0], 'last cell is not a hidden nbdev_export()'


def main():
    files = [Path(o) for o in sys.argv[1:]] or sorted(
        p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(o[0] in '_.' for o in p.relative_to(ROOT/'nbs').parts))
    if not files: sys.exit('no notebook found')
    bad = 0
    for path in files:
        for i, problem in check_notebook(path):
            bad += 1
            print(f'{path.name}, cell {i}: {problem}')
    print(f'{len(files)} notebooks checked, {bad} problems')
    sys.exit(bool(bad))


if __name__ == '__main__': main()
