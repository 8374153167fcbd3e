#!/usr/bin/env python3
"""Check every notebook for what neither nbdev nor a test run notices.

    tools/check_notebooks.py [NOTEBOOK ...]   default: all, and the tree and the other Python files
        --summary      print the number of problems per rule instead of the problems
        --notes        print, too, what is worth a look and no problem
        --mend-last    rewrite the last cell of the exporting notebooks, then check
        --root DIR     the project that the notebooks belong to (default: the one this file is in)

The exit code is 1 if there is a problem. The rules, by the name that each message carries:

- `python`: a cell is not Python.
- `imports`: imports and other code in one cell (the docs build would execute it).
- `output`: a stored error.
- `machine`: a path of somebody's machine, in a cell or in an output.
- `docment`: an exported function whose parameters or result lack a docment, or that has no docstring; a
  function under `#| exporti` that has no docstring of one line, unless its name begins with an underscore.
- `figure`: a labelled figure without caption or alternative text, a displayed picture without alternative
  text.
- `title`: no title with a one-line promise.
- `width`: more than 110 columns, here and in the project's other Python files. A docment does not count (a
  comment behind a line of a function's signature or behind a field of a dataclass), the code before it
  does. Nor does a directive (`#| fig-cap: ...`), nor a line that is nothing but one URL. Any other string
  can be broken.
- `boolean`: arithmetic on a boolean, such as `50*(mode == 'unroll')` or `'s'*(n > 1)`. Python's booleans
  and tensors look alike before they run, so this is what counts as one: `not ...`; a comparison by `is` or
  `in`; a comparison with a number or a string in the source; an `and` or `or` with one of these or with any
  comparison in it; and any comparison beside a string. A comparison of names, attributes, calls and
  elements alone may be a mask and is let through (`(a > b)*c`), and so is a default (`(x or 0) + 1`) and
  what a string formats (`'%s' % (n > 1)`). A tensor that is compared with a number says that it is a mask:
  `(x > 0).float()*y`, or `torch.where`. Compiled functions (under `njit`, `triton.jit`, or our `kernel` and
  `entry`) are exempt: there, masks are the idiom.
- `targets`: more than two targets in an assignment, unless one value is unpacked: `a, b, c = x, y, z` and
  `a = b = c = 1` are refused, `a, b, c = f()` and `a, b, c = (f(o) for o in (x, y, z))` are not.
- `private`: a private name of another of our modules, imported or reached through its module.
- `glued`: an attribute set on a class by the import of an exported cell (`@patch` and the class's body are
  for that).
- `global`, `warnings`: a `global` statement, or a warning filter set by the import, in an exported cell.
- `last`: an exporting notebook does not end with the cell `LAST` below, or a cell exports elsewhere.
- `foreign`: a package that the requirements do not name (nbdev, cvxpy, POT, ...), imported outside
  functions without `except ImportError` or an `if`: the notebook would not run with the package alone.
- `cells`, `lines`: more than 90 cells in a notebook, more than 400 lines in a module.
- `tree`: a module that no notebook exports to, or that two name by `default_exp`, or with a private name; a
  numbered folder in nbs/; a notebook without a number there (the index and the tutorials need none).

Lines that begin with `#` are notes and no problems: docments that begin in upper case with an ordinary
word."""
import argparse, ast, io, json, re, sys, tokenize
from collections import Counter
from configparser import ConfigParser
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
LAST = '''#| hide
try:
    from nbdev import nbdev_export
    from nbdev.config import is_nbdev
    if is_nbdev(): nbdev_export()
except ImportError: pass'''
WIDTH = 110  # columns
CELLS, LINES = 90, 400  # of a notebook, of a module

MACHINE = re.compile(r'(?<![\w.~$}/-])/(?:work|home|root|tmp|Users|mnt|opt|private|var/(?:folders|tmp))'
                     r'/[\w.-]+|\b[A-Z]:\\\\?Users\\')
URL = re.compile(r'''\s*(#\s*)?[rbfu]?['"<(]*https?://\S+\s*''')
MAGIC = re.compile(r'^([ \t]*)[%!].*', flags=re.M)
EXPORTS = ('export', 'exports', 'exporti')
FUNC = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPILED = {'njit', 'jit', 'kernel', 'entry'}
IMPORT_NAMES = {'pot': 'ot', 'pillow': 'PIL', 'scikit_learn': 'sklearn'}  # where they differ
COMES_ALONG = {'IPython', 'pandas', 'triton'}  # with Jupyter, fastai and torch
PROPER = set('''
    True False None Adam Armijo Bayes Beckman Beckmann Bernoulli Blackwell Chambolle Clopper Cohen
    Dirichlet Dykstra Euclid Euclidean Fenchel Frobenius Gauss Gaussian Hessian Hoeffding Holm Huber
    Jacobian Jupyter Lagrange Laplace Laplacian Linf Lipschitz Moreau Neumann Newton Nesterov Numba
    Pearson Pock Poisson Polyak Python Sinkhorn Tango Tiny Triton Wasserstein Wilson'''.split())


# Notebooks and their cells

def text(o): return o if isinstance(o, str) else ''.join(o or [])


def read_cells(path): return json.loads(Path(path).read_text(encoding='utf-8'))['cells']


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


def default_modules(cells):
    "The modules that a notebook names by `default_exp`, in order."
    found = [directives(text(c['source'])) for c in cells if c['cell_type'] == 'code']
    return [d['default_exp'] for d in found if d.get('default_exp')]


def exported_to(cells):
    "The modules that a notebook exports to, its own first, then those that `#| export module` names."
    found = [directives(text(c['source'])) for c in cells if c['cell_type'] == 'code']
    own, others = default_modules(cells), {d[k] for d in found for k in EXPORTS if d.get(k)}
    return own + sorted(others - set(own))


def without_magics(src):
    "The cell's Python, line for line."
    try: ast.parse(src)
    except SyntaxError: return MAGIC.sub(r'\1pass', src)
    return src


def parse(src):
    "The cell's syntax tree, without magics and shell lines; None where it is not Python."
    if src.lstrip().startswith('%%'): return None
    return ast.parse(without_magics(src))


def comments(src):
    "Where the comment of each line begins, as a dict from line to column."
    tokens = tokenize.generate_tokens(io.StringIO(without_magics(src)).readline)
    return {t.start[0]: t.start[1] for t in tokens if t.type == tokenize.COMMENT}


def decorated_by(node):
    "The decorators of a function or class as one string."
    return ' '.join(ast.unparse(d) for d in getattr(node, 'decorator_list', []))


def outside_functions(tree):
    "What the import of the cell runs: all nodes, except those inside functions."
    todo = [tree]
    while todo:
        o = todo.pop(0)
        yield o
        if not isinstance(o, (*FUNC, ast.Lambda)): todo += ast.iter_child_nodes(o)


# The project

@lru_cache
def project(root):
    "Of the project in `root`: the package, its modules, and the names that may be imported unconditionally."
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    if not cfg.read(root/'settings.ini', encoding='utf-8'):
        sys.exit(f'root: expected a folder with settings.ini, got {root}')
    settings = cfg['DEFAULT']
    lib = settings['lib_name'].strip()
    modules = {'.'.join(p.relative_to(root).with_suffix('').parts).removesuffix('.__init__')
               for p in (root/lib).rglob('*.py')}
    for path in notebooks(root):
        modules |= {f'{lib}.{m}' for m in exported_to(read_cells(path))}
    packages = {p for m in modules for p in parents(m)}
    required = [o.replace('-', '_') for o in re.findall(r'(?<!\S)[A-Za-z][\w-]*', settings['requirements'])]
    known = {IMPORT_NAMES.get(o.lower(), o) for o in required} | COMES_ALONG | {lib}
    return SimpleNamespace(lib=lib, modules=modules | packages, known=known)


def parents(module):
    "The packages that a module is in."
    parts = module.split('.')
    return ['.'.join(parts[:n]) for n in range(1, len(parts))]


def notebooks(root):
    "The notebooks of the project, as nbdev finds them."
    nbs = root/'nbs'
    return sorted(p for p in nbs.rglob('*.ipynb') if not any(o[0] in '_.' for o in p.relative_to(nbs).parts))


# Documentation

def mixes_imports(tree):
    "Whether imports at the top level of the cell stand beside other code."
    kinds = {isinstance(o, (ast.Import, ast.ImportFrom)) for o in tree.body
             if not (isinstance(o, ast.Expr) and isinstance(o.value, ast.Constant))}
    return len(kinds) > 1


def is_none(node): return isinstance(node, ast.Constant) and node.value is None


def returns_value(fn):
    "Whether the function itself (not one inside it) returns something or yields."
    todo = list(fn.body)
    while todo:
        o = todo.pop()
        if isinstance(o, (*FUNC, ast.Lambda, ast.ClassDef)): continue
        if isinstance(o, (ast.Yield, ast.YieldFrom)): return True
        if isinstance(o, ast.Return) and o.value is not None and not is_none(o.value): return True
        todo += ast.iter_child_nodes(o)
    return False


def undocumented(fn, lines, method):
    "What of `fn` (parameters, 'return') lacks a docment, by fastcore's rule: a comment on its line or above."
    a = fn.args
    params = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
    if method: params = params[1:]
    owner = {p.lineno: p.arg for p in params}  # the comment of a line is its last parameter's
    ends = fn.body[0].lineno - 1  # `): # comment` at least
    if fn.returns: ends = fn.returns.lineno  # `)->type: # comment`
    if fn.returns or ends not in owner: owner[ends] = 'return'

    def above(n): return n - 1 in lines and n > fn.lineno and n - 1 not in owner
    documented = {name for n, name in owner.items() if n in lines or above(n)}
    yield from (p.arg for p in params if p.arg not in documented)
    gives = fn.name != '__init__' and returns_value(fn) and 'contextmanager' not in decorated_by(fn)
    if gives and 'return' not in documented: yield 'return'


def public(name): return not name.startswith('_')


def functions(tree):
    "What users call (functions, patched and class methods, constructors), as (name, node, takes self)."
    for o in tree.body:
        if isinstance(o, FUNC) and public(o.name): yield o.name, o, 'patch' in decorated_by(o)
        if isinstance(o, ast.ClassDef) and public(o.name):
            for m in o.body:
                if not isinstance(m, FUNC): continue
                static = 'staticmethod' in decorated_by(m)
                made = static or 'classmethod' in decorated_by(m)
                if m.name == '__init__' or (made and public(m.name)):
                    yield f'{o.name}.{m.name}', m, not static


def described(cls):
    "Whether a class has a docstring, or its constructor has one."
    inits = [m for m in cls.body if isinstance(m, FUNC) and m.name == '__init__']
    return any(ast.get_docstring(o) for o in (cls, *inits))


def check_docments(src, tree):
    "The problems of the exported functions in a cell."
    lines = set(comments(src))
    for name, fn, method in functions(tree):
        if not ast.get_docstring(fn) and '.' not in name: yield f'{name} has no docstring'
        for p in undocumented(fn, lines, method): yield f'{name}: no docment for {p}'
    for o in tree.body:
        if not isinstance(o, ast.ClassDef) or not public(o.name): continue
        if not described(o): yield f'{o.name} has no docstring'
        for f in fields(o):
            if not {f.lineno, f.end_lineno, f.lineno - 1} & lines:
                yield f'{o.name}: no docment for {ast.unparse(f.target)}'


def check_docstrings(tree):
    "What `#| exporti` shares under a public name has one line that says what it does."
    for o in tree.body:
        if not isinstance(o, (*FUNC, ast.ClassDef)) or not public(o.name): continue
        doc = ast.get_docstring(o)
        if not doc and not (isinstance(o, ast.ClassDef) and described(o)): yield f'{o.name} has no docstring'
        elif doc and '\n' in doc: yield f'{o.name}: docstring of more than one line'


def fields(cls):
    "The fields of a dataclass; none of another class."
    if 'dataclass' not in decorated_by(cls): return []
    return [f for f in cls.body if isinstance(f, ast.AnnAssign)]


def docment_lines(tree):
    "The lines whose comment is a docment: a function's signature and a dataclass's fields."
    res = set()
    for o in ast.walk(tree):
        if isinstance(o, FUNC):
            body = min(d.lineno for d in (o.body[0], *getattr(o.body[0], 'decorator_list', [])))
            parts = [*ast.walk(o.args), *([o.returns] if o.returns else [])]
            ends = [p.end_lineno for p in parts if hasattr(p, 'end_lineno')]
            res |= {*range(o.lineno, max(o.lineno, body - 1, *ends) + 1)}
        if isinstance(o, ast.ClassDef):
            for f in fields(o): res |= {*range(f.lineno, f.end_lineno + 1)}
    return res


def is_ordinary(word, code):
    "Whether a capitalized word is no acronym, proper name or code name (by its look, or as it is in `code`)."
    if not word[:1].isupper() or not word[1:].islower() or not word.isalpha(): return False
    return word not in PROPER and not re.search(rf'\b{word}\b', code)


def docment_notes(src, tree):
    "The docments that begin in upper case with an ordinary word."
    lines = src.splitlines()
    starts = comments(src)
    code = '\n'.join(line[:starts.get(n)] for n, line in enumerate(lines, 1))
    for n in sorted(docment_lines(tree) & set(starts)):
        doc = lines[n - 1][starts[n]:].strip('# ')
        word = re.match(r'[^\s,.;:()\'’-]*', doc)[0]
        if is_ordinary(word, code): yield f'line {n}: docment begins in upper case: {doc[:60]}'


# Lines

def too_wide(lines, starts, docments):
    "Lines over the width, as (number, columns); comments begin at `starts` and do not count in `docments`."
    for n, line in enumerate(lines, 1):
        if n in docments and n in starts and line[:starts[n]].strip(): line = line[:starts[n]]
        line = line.rstrip()
        if len(line) > WIDTH and not URL.fullmatch(line): yield n, len(line)


def check_width(src, tree):
    "The lines of a cell over the width."
    lines = [re.sub(r'^\s*#\s*\|.*', '', line) for line in src.splitlines()]
    starts, docments = (comments(src), docment_lines(tree)) if tree else ({}, set())
    for n, columns in too_wide(lines, starts, docments): yield f'line {n}: {columns} columns, {WIDTH} at most'


def is_literal(node):
    "Whether a node is a number or a string, with or without a sign."
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)): node = node.operand
    return isinstance(node, (ast.Constant, ast.JoinedStr)) and not is_none(node)


def is_string(node): return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, 'value', None), str)


def is_boolean(node):
    "Whether an operand is a Python boolean, by the decision in this file's first lines."
    if isinstance(node, ast.UnaryOp): return isinstance(node.op, ast.Not)
    if isinstance(node, ast.BoolOp):
        return any(isinstance(o, ast.Compare) or is_boolean(o) for o in node.values)
    if not isinstance(node, ast.Compare): return False
    if any(isinstance(o, (ast.Is, ast.IsNot, ast.In, ast.NotIn)) for o in node.ops): return True
    return any(is_literal(o) for o in (node.left, *node.comparators))


def is_compiled(node):
    "Whether a function is decorated for a compiler."
    if not isinstance(node, FUNC): return False
    names = [ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return any(o.split('.')[-1].strip('_') in COMPILED for o in names)


def boolean_arithmetic(tree):
    "The nodes that compute with booleans."
    todo = [tree]
    while todo:
        o = todo.pop(0)
        if is_compiled(o): continue
        todo += ast.iter_child_nodes(o)
        if isinstance(o, ast.AugAssign): pair = [o.target, o.value]
        elif isinstance(o, ast.BinOp): pair = [o.left, o.right]
        else: continue
        if isinstance(o.op, (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)): continue
        if isinstance(o.op, ast.Mod) and is_string(pair[0]): continue
        beside_string = any(is_string(p) for p in pair) and any(isinstance(p, ast.Compare) for p in pair)
        if beside_string or any(is_boolean(p) for p in pair): yield o


def is_sequence(node): return isinstance(node, (ast.Tuple, ast.List))


def count_targets(target, value):
    "How many values an assignment gives to its target: one for what is unpacked, however many names take it."
    if not (is_sequence(target) and is_sequence(value)): return 1
    if any(isinstance(o, ast.Starred) for o in (*target.elts, *value.elts)):
        return min(len(target.elts), len(value.elts))
    return sum(count_targets(*pair) for pair in zip(target.elts, value.elts))


def crowded_assignments(tree):
    "The assignments with more than two targets, as (node, number)."
    for o in ast.walk(tree):
        if not isinstance(o, ast.Assign): continue
        n = sum(count_targets(t, o.value) for t in o.targets)
        if n > 2: yield o, n


def shown(node):
    "A node as a short piece of source."
    res = ' '.join(ast.unparse(node).split())
    return res if len(res) <= 60 else res[:57] + '...'


def check_lines(tree):
    "The problems of a cell's expressions and assignments, as (rule, message)."
    for o in boolean_arithmetic(tree):
        yield 'boolean', f'line {o.lineno}: arithmetic on a boolean: {shown(o)}'
    for o, n in crowded_assignments(tree):
        yield 'targets', f'line {o.lineno}: {n} targets, two at most: {shown(o)}'


# Modules

def is_private(name): return name.startswith('_') and not (name.startswith('__') and name.endswith('__'))


def absolute(node, own):
    "The full name of the module that a `from ... import` reads; `own` is the notebook's module."
    if not node.level: return node.module
    package = own.split('.')[:-node.level] if own else []
    return '.'.join([*package, *([node.module] if node.module else [])])


def module_names(trees, own, proj):
    "The names under which the cells of a notebook hold our modules, as a dict from name to module."
    res = {}
    for o in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(o, ast.Import):
            for a in o.names:
                if a.name in proj.modules and a.asname: res[a.asname] = a.name
                elif a.name in proj.modules: res[proj.lib] = proj.lib
        if isinstance(o, ast.ImportFrom):
            for a in o.names:
                module = f'{absolute(o, own)}.{a.name}'
                if module in proj.modules: res[a.asname or a.name] = module
    return res


def dotted(node):
    "The dotted name that a node is, or an empty string."
    if isinstance(node, ast.Name): return node.id
    if not isinstance(node, ast.Attribute): return ''
    head = dotted(node.value)
    return f'{head}.{node.attr}' if head else ''


def module_of(node, names, proj):
    "Which of our modules a node is, or None."
    head, _, rest = dotted(node).partition('.')
    if head not in names: return None
    module = f'{names[head]}.{rest}'.rstrip('.')
    return module if module in proj.modules else None


def check_private(tree, own, names, proj):
    "The private names of other modules of ours that a cell uses."
    for o in ast.walk(tree):
        if isinstance(o, ast.ImportFrom):
            module = absolute(o, own) or ''
            if module == own or module.split('.')[0] != proj.lib: continue
            hidden = [part for part in module.split('.') if is_private(part)]
            for name in [*hidden, *(a.name for a in o.names if is_private(a.name))]:
                yield f'line {o.lineno}: {name} is private to {module}'
        if isinstance(o, ast.Attribute) and is_private(o.attr):
            module = module_of(o.value, names, proj)
            if module and module != own: yield f'line {o.lineno}: {o.attr} is private to {module}'


def is_class_name(node): return isinstance(node, ast.Name) and node.id[:1].isupper()


def check_glued(tree):
    "The attributes that the import of a cell sets on classes."
    for o in outside_functions(tree):
        if isinstance(o, ast.Call) and dotted(o.func) == 'setattr' and o.args and is_class_name(o.args[0]):
            yield f'line {o.lineno}: glued on to a class: {shown(o)}'
        if isinstance(o, ast.Attribute) and isinstance(o.ctx, ast.Store) and is_class_name(o.value):
            yield f'line {o.lineno}: glued on to a class: {ast.unparse(o)}'


def check_filters(tree):
    "The warning filters that the import of a cell sets for everybody."
    todo = [tree]
    while todo:
        o = todo.pop(0)
        if isinstance(o, (*FUNC, ast.Lambda)): continue
        if isinstance(o, ast.With) and any('catch_warnings' in ast.unparse(i) for i in o.items): continue
        todo += ast.iter_child_nodes(o)
        if isinstance(o, ast.Call) and dotted(o.func).split('.')[-1] in ('filterwarnings', 'simplefilter'):
            yield f'line {o.lineno}: a warning filter set by the import'


def catches_import_error(node):
    "Whether a `try`, or a `with suppress(...)`, goes on where an import fails."
    if isinstance(node, ast.With):
        return any('suppress(' in ast.unparse(i) and 'ImportError' in ast.unparse(i) for i in node.items)
    if not isinstance(node, ast.Try): return False
    kinds = {dotted(e) for h in node.handlers
             for e in (h.type.elts if isinstance(h.type, ast.Tuple) else [h.type])}
    return bool(kinds & {'ImportError', 'ModuleNotFoundError', 'Exception', 'BaseException', ''})


def unconditional_imports(tree):
    "The imports that a cell cannot do without."
    todo = [tree]
    while todo:
        o = todo.pop(0)
        if isinstance(o, (*FUNC, ast.Lambda, ast.If)): continue
        if catches_import_error(o):
            todo += [*getattr(o, 'handlers', []), *getattr(o, 'finalbody', [])]
            continue
        if isinstance(o, (ast.Import, ast.ImportFrom)): yield o
        todo += ast.iter_child_nodes(o)


def check_foreign(tree, proj):
    "The packages that a cell imports on no condition and that the requirements do not name."
    for o in unconditional_imports(tree):
        if isinstance(o, ast.ImportFrom) and o.level: continue
        modules = [o.module] if isinstance(o, ast.ImportFrom) else [a.name for a in o.names]
        for name in sorted({m.split('.')[0] for m in modules}):
            if name not in proj.known and name not in sys.stdlib_module_names:
                yield f'line {o.lineno}: {name} is no requirement: try the import, or do it where it is used'


def check_exported(tree):
    "What no cell that is exported may do, as (rule, message)."
    for message in check_glued(tree): yield 'glued', message
    for message in check_filters(tree): yield 'warnings', message
    for o in ast.walk(tree):
        if isinstance(o, ast.Global): yield 'global', f'line {o.lineno}: global {", ".join(o.names)}'


# A notebook, and the tree

def check_outputs(cell, d):
    "The problems of what a cell has stored and shows, as (rule, message)."
    outs = cell.get('outputs', [])
    for o in outs:
        if o['output_type'] == 'error':
            yield 'output', f'stored error output: {o.get("ename")}: {text(o.get("evalue"))[:80]}'
        data = {k: text(v) for k, v in o.get('data', {}).items() if not k.startswith('image/')}
        for m in MACHINE.findall(text(o.get('text')) + ''.join(data.values())):
            yield 'machine', f'machine path in an output: {m}'
    if str(d.get('label', '')).startswith('fig-'):
        for k in ('fig-cap', 'fig-alt'):
            if not d.get(k): yield 'figure', f'figure {d["label"]} has no {k}'
    hidden = {'hide', 'export', 'exports'} & set(d) or 'false' in (d.get('include'), d.get('output'))
    pictures = any(k.startswith('image/') for o in outs for k in o.get('data', {}))
    if pictures and not hidden and not d.get('fig-alt'): yield 'figure', 'displayed picture without fig-alt'


def check_cell(cell, root=ROOT, own=None, names=()):
    "The problems of a code cell as (rule, message). `own`: the notebook's module; `names`: those it imports."
    src = text(cell['source'])
    d, tree = directives(src), None
    try: tree = parse(src)
    except SyntaxError as e: yield 'python', f'not Python: {e}'
    for message in check_width(src, tree): yield 'width', message
    for m in MACHINE.findall(src): yield 'machine', f'machine path: {m}'
    yield from check_outputs(cell, d)
    if not tree: return
    proj = project(root)
    if mixes_imports(tree):
        yield 'imports', f'imports and other code in one cell: {ast.unparse(tree.body[0])[:60]} ...'
    if {'export', 'exports'} & set(d):
        for message in check_docments(src, tree): yield 'docment', message
    elif 'exporti' in d:
        for message in check_docstrings(tree): yield 'docment', message
    if set(EXPORTS) & set(d): yield from check_exported(tree)
    yield from check_lines(tree)
    for message in check_private(tree, own, names, proj): yield 'private', message
    for message in check_foreign(tree, proj): yield 'foreign', message


def check_markdown(src):
    "The problems of one Markdown cell as (rule, message)."
    for m in MACHINE.findall(src): yield 'machine', f'machine path: {m}'
    for alt, url in re.findall(r'!\[([^\]]*)\]\(([^)]*)\)(?!\{[^}]*fig-alt)', src):
        if not alt.strip(): yield 'figure', f'picture without alternative text: {url}'


def trees_of(cells):
    "The syntax trees of the code cells that have one."
    for c in cells:
        if c['cell_type'] != 'code': continue
        try: tree = parse(text(c['source']))
        except SyntaxError: continue
        if tree: yield tree


def problems_of(path, root=ROOT):
    "Every problem of the notebook, as (number of its cell, rule, message)."
    cells, proj = read_cells(path), project(root)
    exports = exported_to(cells)
    last = text(cells[-1]['source']).rstrip() if cells else ''
    own = f'{proj.lib}.{exports[0]}' if exports else None
    names = module_names(trees_of(cells), own, proj)
    for i, c in enumerate(cells):
        src, found = text(c['source']), []
        if c['cell_type'] == 'markdown': found = check_markdown(src)
        elif c['cell_type'] == 'code' and src.strip(): found = check_cell(c, root, own, names)
        for rule, message in found: yield i, rule, message
    first = text(cells[0]['source']) if cells else ''
    if not re.match(r'# .+', first) or not re.search(r'^> .+', first, flags=re.M):
        yield 0, 'title', 'no title with a one-line promise (# ..., > ...)'
    for i, c in enumerate(cells):
        early = i < len(cells) - 1 or not exports
        if early and c['cell_type'] == 'code' and 'nbdev_export(' in text(c['source']):
            yield i, 'last', 'exports where it is not the last cell of an exporting notebook'
    if exports and last != LAST:
        yield len(cells) - 1, 'last', 'not the hidden cell that exports (--mend-last writes it)'
    if len(cells) > CELLS: yield len(cells) - 1, 'cells', f'{len(cells)} cells, {CELLS} at most'


def check_notebook(path, root=ROOT):
    "Every problem of the notebook, with the number of its cell."
    for i, rule, message in problems_of(path, root): yield i, f'{rule}: {message}'


def notes_of(path):
    "What is worth a look in a notebook and no problem, with the number of its cell."
    for i, c in enumerate(read_cells(path)):
        src = text(c['source'])
        if c['cell_type'] != 'code' or not {'export', 'exports'} & set(directives(src)): continue
        try: tree = parse(src)
        except SyntaxError: continue
        for message in docment_notes(src, tree): yield i, message


def check_modules(root):
    "The problems of the package's files, as (place, rule, message)."
    lib = project(root).lib
    books = {place_of(path, root): read_cells(path) for path in notebooks(root)}
    targets = {m for cells in books.values() for m in exported_to(cells)}
    for path in sorted((root/lib).rglob('*.py')):
        place = path.relative_to(root).as_posix()
        module = '.'.join(path.relative_to(root/lib).with_suffix('').parts)
        if path.name in ('__init__.py', '_modidx.py'): continue
        if any(is_private(part) for part in module.split('.')): yield place, 'tree', 'a private module'
        if module not in targets: yield place, 'tree', 'no notebook exports to this module'
        n = len(path.read_text(encoding='utf-8').splitlines())
        if n > LINES: yield place, 'lines', f'{n} lines, {LINES} at most'
    defaults = Counter(m for cells in books.values() for m in default_modules(cells))
    for place, cells in books.items():
        for m in sorted(set(default_modules(cells))):
            if defaults[m] > 1: yield place, 'tree', f'default_exp {m} is there {defaults[m]} times'


def check_names(root):
    "The problems of the notebooks' names, as (place, rule, message)."
    paths = [p.relative_to(root/'nbs') for p in notebooks(root)]
    for folder in sorted({parent for p in paths for parent in p.parents if parent.name}):
        if folder.name[0].isdigit(): yield f'nbs/{folder.as_posix()}', 'tree', 'a numbered folder'
    for p in paths:
        free = p.as_posix() == 'index.ipynb' or p.parts[0] == 'tutorials'
        if free or re.match(r'\d+[a-z]?_', p.name): continue
        yield f'nbs/{p.as_posix()}', 'tree', 'no number in its name'


def check_python(root):
    "The lines over the width in the Python files that no notebook makes, as (place, rule, message)."
    paths = [*root.glob('*.py'), *(root/'tests').rglob('*.py'), *(root/'tools').rglob('*')]
    for path in sorted(p for p in paths if p.is_file() and is_python(p)):
        src = path.read_text(encoding='utf-8')
        tree = ast.parse(src)
        place = path.relative_to(root).as_posix()
        for n, columns in too_wide(src.splitlines(), comments(src), docment_lines(tree)):
            yield f'{place}, line {n}', 'width', f'{columns} columns, {WIDTH} at most'


def is_python(path):
    "Whether a file is Python, by its name or its first line."
    if path.suffix: return path.suffix == '.py'
    with open(path, 'rb') as f: return b'python' in f.readline()


def place_of(path, root):
    "The name of a notebook in messages."
    try: return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError: return str(path)


def mend_last(path):
    "Give an exporting notebook the last cell it should have; says whether the file changed."
    old = path.read_text(encoding='utf-8')
    nb = json.loads(old)
    cells = nb['cells']
    if not exported_to(cells): return False
    while cells[-1]['cell_type'] == 'code' and not text(cells[-1]['source']).strip(): cells.pop()
    sources = [text(c['source']) for c in cells]
    held = [c for c, src in zip(cells, sources) if 'nbdev_export(' in src and 'hide' in directives(src)]
    taken = {c.get('id') for c in cells}
    fresh = next(f'e{n:03d}' for n in range(1, 1000) if f'e{n:03d}' not in taken)
    last = held[-1] if held else dict(cell_type='code', id=fresh, metadata={})
    last.update(source=LAST.splitlines(keepends=True), outputs=[], execution_count=None)
    nb['cells'] = [c for c in cells if c is not last] + [last]
    new = json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n'  # as nbdev writes it
    if new != old: path.write_text(new, encoding='utf-8')
    return new != old


def main(argv=None):
    "Check what the command line names; the exit code says whether there is a problem."
    parser = argparse.ArgumentParser(description='Check notebooks, the tree and the lines of the project.')
    add = parser.add_argument
    add('notebooks', nargs='*', type=Path, help='default: all, and the tree and the other Python files')
    add('--root', type=Path, default=ROOT, help='the project that they belong to')
    add('--summary', action='store_true', help='print the number of problems per rule instead')
    add('--notes', action='store_true', help='print, too, what is worth a look and no problem')
    add('--mend-last', action='store_true', help='rewrite the last cell of exporting notebooks first')
    args = parser.parse_args(argv)
    root = args.root.resolve()
    files = args.notebooks or notebooks(root)
    if not files: sys.exit('no notebook found')
    if args.mend_last:
        for path in files:
            if mend_last(path): print(f'{place_of(path, root)}: last cell rewritten')
    found = []
    for path in files:
        place = place_of(path, root)
        ordered = sorted(problems_of(path, root), key=lambda o: o[0])
        found += [(f'{place}, cell {i}', rule, message) for i, rule, message in ordered]
        if args.notes:
            for i, message in notes_of(path): print(f'# {place}, cell {i}: {message}')
    if not args.notebooks: found += [*check_modules(root), *check_names(root), *check_python(root)]
    if args.summary:
        for rule, n in Counter(rule for _, rule, _ in found).most_common(): print(f'{n:5d} {rule}')
    else:
        for place, rule, message in found: print(f'{place}: {rule}: {message}')
    print(f'{len(files)} notebooks checked, {len(found)} problems')
    sys.exit(bool(found))


if __name__ == '__main__': main()
