"The rules of tools/check_notebooks.py: what trips each of them, and what comes near and does not."
import importlib.util, json, subprocess, sys

import pytest

from conftest import ROOT

spec = importlib.util.spec_from_file_location('check_notebooks', ROOT/'tools'/'check_notebooks.py')
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)

SETTINGS = '''[DEFAULT]
lib_name = toy
requirements = numpy>=1
    scikit-learn>=1.3
dev_requirements = nbdev==2.4.14
    cvxpy>=1.5
    POT>=0.9.4
'''
TITLE = dict(cell_type='markdown', metadata={}, source='# Title\n\n> A promise')
WIDE = 'x' * 120


def code(src, **more):
    return dict(cell_type='code', metadata={}, execution_count=None, source=src, outputs=[]) | more


def write_nb(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nb = dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)
    path.write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


@pytest.fixture
def toy(tmp_path):
    "A small project without a problem: a package with two modules, and their notebooks in a folder."
    (tmp_path/'settings.ini').write_text(SETTINGS)
    (tmp_path/'toy'/'maths').mkdir(parents=True)
    for name in ('', 'maths/'): (tmp_path/'toy'/name/'__init__.py').write_text('')
    for name in ('grid', 'flow'):
        (tmp_path/'toy'/'maths'/f'{name}.py').write_text('x = 1\n')
    nbs = tmp_path/'nbs'
    write_nb(nbs/'maths'/'00_grid.ipynb', TITLE, code('#| default_exp maths.grid'), code(check.LAST))
    write_nb(nbs/'maths'/'02_flow.ipynb', TITLE, code('#| default_exp maths.flow'), code(check.LAST))
    write_nb(nbs/'index.ipynb', TITLE)
    write_nb(nbs/'tutorials'/'tour.ipynb', TITLE, code('from toy.maths.grid import *'))
    check.project.cache_clear()
    return tmp_path


@pytest.fixture
def rules(toy):
    "A function from sources of code cells to the rules that they break, in the notebook of `toy.maths.flow`."
    def _rules(*sources):
        path = toy/'nbs'/'maths'/'02_flow.ipynb'
        cells = map(code, ['#| default_exp maths.flow', *sources, check.LAST])
        write_nb(path, TITLE, *cells)
        return [rule for _, rule, _ in check.problems_of(path, toy)]
    return _rules


def run(toy, *args):
    "The script in a process of its own."
    cmd = [sys.executable, ROOT/'tools'/'check_notebooks.py', '--root', toy, *args]
    return subprocess.run(cmd, capture_output=True, text=True)


@pytest.mark.parametrize('src', [
    f'{WIDE} = 1',
    f'y = "{WIDE}"',
    f'# {WIDE}',
    f'x = 1 # {WIDE}',
    f'"""\n{WIDE}\n"""',
    f'url = "https://example.org/{WIDE}"',
    f'# see https://example.org/{WIDE}',
    f'def f(\n    a, # a\n):\n    "Doc."\n    a = 1 # {WIDE}',
    f'def f(\n    a="{WIDE}", # a\n):\n    "Doc."',
    f'def f(\n    # {WIDE}\n    a,\n):\n    "Doc."',
    f'class A:\n    x: int = 1 # {WIDE}',
    f'@dataclass\nclass A:\n    x: int = 1\n    def f(self):\n        y = 1 # {WIDE}',
    f'%%bash\necho {WIDE}',
    f'!echo {WIDE}',
    '#| export\nx = ' + '+'.join(['1'] * 60)])
def test_width_trips(rules, src): assert 'width' in rules(src)


@pytest.mark.parametrize('src', [
    'x' * 106 + ' = 1',
    'x' * 106 + ' = 1' + ' ' * 30,
    f'#| fig-cap: {WIDE}\nx = 1',
    f'urls = [\n    "https://example.org/{WIDE}",\n]',
    f'# https://example.org/{WIDE}',
    f'def f(\n    a, # {WIDE}\n    b=2, # {WIDE}\n)->int: # {WIDE}\n    "Doc."\n    return 1',
    f'def f(a)->int: return a # {WIDE}',
    f'def f(\n    a, # a\n    b): return b # {WIDE}',
    f'class A:\n    def f(\n        self,\n        a, # {WIDE}\n    ): pass',
    f'@dataclass(frozen=True)\nclass A:\n    x: int # {WIDE}\n    y: tuple = (\n        1, 2) # {WIDE}'])
def test_width_near(rules, src): assert rules(src) == []


def test_width_of_other_files(toy):
    "Scripts and tests are held to the same width; what nbdev makes is not."
    (toy/'setup.py').write_text(f'x = 1\ny = "{WIDE}"\n')
    (toy/'tests').mkdir()
    (toy/'tests'/'test_a.py').write_text(f'def f(\n    a, # {WIDE}\n): pass\n')
    (toy/'tools'/'bin').mkdir(parents=True)
    (toy/'tools'/'bin'/'script').write_text(f'#!/usr/bin/env python3\n# {WIDE}\n')
    (toy/'tools'/'bin'/'other').write_text(f'#!/bin/sh\n# {WIDE}\n')
    (toy/'toy'/'_modidx.py').write_text(f'# {WIDE}\n')
    assert [(p, r) for p, r, _ in check.check_python(toy)] == [
        ('setup.py, line 2', 'width'), ('tools/bin/script, line 2', 'width')]


@pytest.mark.parametrize('src', [
    "n = 50*(mode == 'unroll')",
    "n = (mode == 'unroll')*50",
    "s = 's'*(n > 1)",
    "s = 's'*(n > m)",
    "n = 2 + (protocol == 'all')",
    "n = 2*len(names) - ('square' in names)",
    "n = k + (x is None)",
    "n = k*(x not in names)",
    "w = (1 - alpha)*(k == 'adversarial')",
    'y = (x > 0)*z',
    'y = (x > -1)/z',
    'n = 2*(not done)',
    'n += not done',
    "n -= k == 'a'",
    'n = 3*(a > b and c > d)',
    'n = 3*(done or a > b)',
    'n = (a == 1)**2',
    'n = k % (a == 1)',
    'n = k // (a == 1)',
    'f = lambda n: "s"*(n > 1)',
    '#| export\n@cached\ndef _f(n): return n*(n > 1)'])
def test_boolean_trips(rules, src): assert rules(src) == ['boolean']


@pytest.mark.parametrize('src', [
    'y = (x > z)*w',
    'y = 2*(a[0] > b.c) - 1',
    'y = (x > 0).float()*z',
    "m = (x == 'a') & (y > 0) | z",
    'n = sum(x > 0 for x in y) + 1',
    'n = (x or 0) + 1',
    'n = (x and y)*2',
    "s = 'yes: %s' % (n > 1)",
    "s = 's' if n > 1 else ''",
    'ok = not (x + 1 > 2)',
    'n = -(x + 1)',
    '@njit\ndef f(x): return 2*(x > 0)',
    '@njit(**_fast)\ndef f(x):\n    for i in range(3):\n        x += x*(i == 0)',
    '@triton.jit\ndef f(x): return 2*(x > 0)',
    '@numba.njit(parallel=True)\ndef f(x): return 2*(x > 0)',
    '@kernel\ndef f(x): return 2*(x > 0)',
    '@entry(float)\ndef f(x): return 2*(x > 0)'])
def test_boolean_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('src', [
    'a, b, c = x, y, z',
    'a, b, c = [x, y, z]',
    '[a, b, c] = x, y, z',
    'self.a, self.b, d[0] = 1, 2, 3',
    'a = b = c = 1',
    'a = b = c = f()',
    'a, b = c, d = 1, 2',
    'a, (b, c) = x, (y, z)',
    'a, b, *c = 1, 2, 3, 4',
    'def f():\n    a, b, c = 1, 2, 3'])
def test_targets_trips(rules, src): assert rules(src) == ['targets']


@pytest.mark.parametrize('src', [
    'a, b = x, y',
    'a = b = 1',
    'a, b, c = f()',
    'a, b, c = ctx.saved_tensors',
    'a, b, c = x',
    'a, b, c = (f(t) for t in (x, y, z))',
    'a, b, c = [f(t) for t in (x, y, z)]',
    'shape = a, b, c = x.shape',
    'a, (b, c) = x, f()',
    'a, b, c = 1, *rest',
    'a, *b = 1, 2, 3',
    'x = 1, 2, 3',
    'for a, b, c in zip(x, y, z): pass',
    'x = [a for a, b, c in ((1, 2, 3),)]'])
def test_targets_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('sources', [
    ['#| export\nfrom toy.maths.grid import _step'],
    ['#| exporti\nfrom toy.maths.grid import difference, _step as step'],
    ['#| export\nfrom .grid import _step'],
    ['#| export\nfrom ..other import _step'],
    ['from toy.maths.grid import _step'],
    ['from toy._hidden import step'],
    ['#| export\nfrom toy.maths import grid', '#| export\nx = grid._step'],
    ['#| export\nfrom . import grid', '#| export\nx = grid._step'],
    ['import toy.maths.grid as g', 'x = g._step(1)'],
    ['import toy.maths.grid', 'x = toy.maths.grid._step(1)'],
    ['import toy', 'x = toy.maths.grid._step(1)'],
    ['from toy.maths import grid', 'def f(): return grid._step']])
def test_private_trips(rules, sources): assert rules(*sources) == ['private']


@pytest.mark.parametrize('sources', [
    ['#| export\nfrom toy.maths.grid import difference'],
    ['from toy.maths.flow import _own'],
    ['import toy.maths.flow as flow', 'x = flow._own'],
    ['from toy import __version__'],
    ['import toy', 'x = toy.__version__'],
    ['from numpy import _core'],
    ['import numpy as np', 'x = np._core'],
    ['#| export\nfrom toy.maths import Grid', '#| export\nx = Grid._step'],
    ['from toy.maths import grid', 'x = self._step(grid.step)']])
def test_private_near(rules, sources): assert rules(*sources) == []


@pytest.mark.parametrize('src', [
    '#| export\nLearner.to_x = f',
    '#| exporti\nLearner.to_x = f',
    '#| export\nA.x, A.y = f, g',
    '#| export\nA.n += 1',
    '#| export\nfor k in names: A.x = k',
    '#| export\nif new: A.x = f',
    "#| export\nsetattr(A, 'x', f)"])
def test_glued_trips(rules, src): assert set(rules(src)) == {'glued'}


@pytest.mark.parametrize('src', [
    'Learner.to_x = f',
    '#| export\nlearner.x = f',
    '#| export\nx = A.y',
    '#| export\nA.table["x"] = f',
    '#| export\ndef _f(): A.x = 1',
    "#| export\nsetattr(a, 'x', f)",
    '#| export\nA = f'])
def test_glued_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('src, rule', [
    ('#| export\ndef _f():\n    global n\n    n = 1', 'global'),
    ("#| exporti\ndef _f():\n    global n\n    n = 1", 'global'),
    ("#| export\nwarnings.filterwarnings('ignore')", 'warnings'),
    ("#| exporti\nif old: simplefilter('ignore')", 'warnings')])
def test_import_effects_trip(rules, src, rule): assert rules(src) == [rule]


@pytest.mark.parametrize('src', [
    'def f():\n    global n\n    n = 1',
    "warnings.filterwarnings('ignore')",
    '#| export\ndef _f():\n    def g():\n        nonlocal n',
    "#| export\ndef _f(): warnings.simplefilter('ignore')",
    "#| export\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    x = f()",
    "#| export\nwarnings.warn('x')"])
def test_import_effects_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('src', [
    'import cvxpy',
    'import cvxpy as cp, math',
    'from nbdev import nbdev_export',
    'from nbdev.showdoc import show_doc',
    '#| export\nimport ot',
    'import geomloss',
    'try: import cvxpy\nfinally: pass',
    'try: import cvxpy\nexcept ValueError: pass',
    'with timer(): import cvxpy',
    'try: import numpy\nexcept ImportError: import cvxpy'])
def test_foreign_trips(rules, src): assert rules(src) == ['foreign']


@pytest.mark.parametrize('src', [
    'import math, numpy as np, sklearn.datasets',
    'from IPython.display import Markdown',
    'import toy.maths.grid',
    '#| export\nfrom .grid import *',
    'try: import cvxpy as cp\nexcept ImportError: cp = None',
    'try: import cvxpy as cp\nexcept (OSError, ModuleNotFoundError): cp = None',
    'with suppress(ImportError): import cvxpy',
    "if find_spec('cvxpy'): import cvxpy as cp",
    'def f():\n    import cvxpy',
    "names = 'import cvxpy'"])
def test_foreign_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('src', [
    '#| exporti\ndef f(x): return x',
    '#| exporti\ndef f(x):\n    "One.\\n\\nTwo."\n    return x',
    '#| exporti\ndef f(x):\n    """One\n    two."""\n    return x',
    '#| exporti\nclass A: pass',
    '#| exporti\n@patch\ndef f(self: A): return 1',
    '#| export\ndef f(x):\n    "Doc."\n    return 1'])
def test_docstring_trips(rules, src): assert set(rules(src)) == {'docment'}


@pytest.mark.parametrize('src', [
    '#| exporti\ndef f(x):\n    "One."\n    return x',
    '#| exporti\ndef _f(x): return x',
    '#| exporti\nclass A:\n    "One."\n    def f(self, x): return x',
    '#| exporti\nclass A:\n    def __init__(self): "One."',
    'def f(x): return x'])
def test_docstring_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('folder', ['home/me', 'root/x', 'tmp/x', 'var/tmp/x', 'var/folders/x', 'opt/x'])
def test_machine_trips(rules, folder): assert rules(f"where = '/{folder}/lib'") == ['machine']


@pytest.mark.parametrize('src', ["where = 'var/tmp/x'", "where = '/variable/tmp/x'", "rate = a/var/folders"])
def test_machine_near(rules, src): assert rules(src) == []


@pytest.mark.parametrize('src', [
    'cell = 1',
    '#| hide\nnbdev_export()',
    check.LAST.replace('#| hide\n', ''),
    check.LAST + '\nx = 1'])
def test_last_trips(toy, src):
    path = toy/'nbs'/'maths'/'00_grid.ipynb'
    write_nb(path, TITLE, code('#| default_exp maths.grid'), code(src))
    assert 'last' in [rule for _, rule, _ in check.problems_of(path, toy)]


def test_last_is_last_and_once(rules, toy):
    "A second cell that exports is found, one in a notebook without a module, and text behind the last."
    assert rules('#| hide\nnbdev_export()\nassert x') == ['last']
    tour = toy/'nbs'/'tutorials'/'tour.ipynb'
    write_nb(tour, TITLE, code(check.LAST))
    assert [rule for _, rule, _ in check.problems_of(tour, toy)] == ['last']
    grid = toy/'nbs'/'maths'/'00_grid.ipynb'
    write_nb(grid, TITLE, code('#| default_exp maths.grid'), code(check.LAST), TITLE)
    assert set(rule for _, rule, _ in check.problems_of(grid, toy)) == {'last'}


def test_last_runs(toy, run_python):
    "Without a project the last cell does nothing, and in one it exports; tests and docs do not run it."
    pytest.importorskip('nbdev')
    assert 'nbdev_export()' in check.LAST # the words by which `nbdev_test` and the docs build skip a cell
    exports = f'import nbdev\nnbdev.nbdev_export = lambda: print("exported")\n{check.LAST}'
    missing = f'import sys\nsys.modules["nbdev"] = None\n{check.LAST}\nprint("ran")'
    empty = toy.parent/f'{toy.name}_empty'
    empty.mkdir()
    cases = (exports, toy/'nbs', 'exported\n'), (exports, empty, ''), (missing, toy, 'ran\n')
    for src, cwd, expected in cases:
        res = run_python(src, cwd=cwd)
        assert (res.returncode, res.stdout) == (0, expected), res.stderr


def test_mend_last(toy):
    "The old last cell is rewritten, a missing one is added, others move up; nothing else changes."
    grid, flow = toy/'nbs'/'maths'/'00_grid.ipynb', toy/'nbs'/'maths'/'02_flow.ipynb'
    index = (toy/'nbs'/'index.ipynb').read_text()
    old = code('#| hide\nnbdev_export()', id='c9', execution_count=3)
    write_nb(grid, TITLE, code('#| default_exp maths.grid'), old, code('x = "é"'), code(''))
    write_nb(flow, TITLE, code('#| default_exp maths.flow', id='e001'))
    res = run(toy, '--mend-last')
    assert res.returncode == 0, res.stdout
    assert res.stdout.count('last cell rewritten') == 2
    cells = check.read_cells(grid)
    sources = [check.text(c['source']) for c in cells[1:]]
    assert sources == ['#| default_exp maths.grid', 'x = "é"', check.LAST]
    assert cells[-1]['id'] == 'c9' and cells[-1]['execution_count'] is None
    assert check.read_cells(flow)[-1]['id'] == 'e002'
    assert (toy/'nbs'/'index.ipynb').read_text() == index
    assert 'rewritten' not in run(toy, '--mend-last').stdout


def test_cells(toy):
    "Ninety cells pass, one more does not."
    for n, expected in ((90, []), (91, ['cells'])):
        write_nb(toy/'nbs'/'index.ipynb', *[TITLE] * n)
        assert [rule for _, rule, _ in check.problems_of(toy/'nbs'/'index.ipynb', toy)] == expected


def test_good_tree(toy):
    assert [*check.check_modules(toy), *check.check_names(toy), *check.check_python(toy)] == []
    res = run(toy)
    assert res.returncode == 0 and res.stdout == '4 notebooks checked, 0 problems\n'


def test_modules(toy):
    "Long modules, private ones, and those without a notebook or with two."
    lib = toy/'toy'
    (lib/'maths'/'grid.py').write_text('x = 1\n' * 400)
    (lib/'maths'/'flow.py').write_text('x = 1\n' * 401)
    for name in ('_modidx', 'lost', '_private', '__main__'): (lib/f'{name}.py').write_text('x = 1\n')
    more = code('#| default_exp maths.grid'), code('#| export __main__\nx = 1')
    write_nb(toy/'nbs'/'03_main.ipynb', TITLE, *more)
    found = [(place, rule, message.split(',')[0]) for place, rule, message in check.check_modules(toy)]
    assert found == [
        ('toy/_private.py', 'tree', 'a private module'),
        ('toy/_private.py', 'tree', 'no notebook exports to this module'),
        ('toy/lost.py', 'tree', 'no notebook exports to this module'),
        ('toy/maths/flow.py', 'lines', '401 lines'),
        ('nbs/03_main.ipynb', 'tree', 'default_exp maths.grid is there 2 times'),
        ('nbs/maths/00_grid.ipynb', 'tree', 'default_exp maths.grid is there 2 times')]


def test_names(toy):
    "Numbers on files and not on folders."
    for name in ('10_more/00_a', 'maths/deep/1b_b', 'maths/c', 'maths/index', '7', 'tutorials/x/y', '_z'):
        write_nb(toy/'nbs'/f'{name}.ipynb', TITLE)
    assert [(place, message) for place, _, message in check.check_names(toy)] == [
        ('nbs/10_more', 'a numbered folder'), ('nbs/7.ipynb', 'no number in its name'),
        ('nbs/maths/c.ipynb', 'no number in its name'), ('nbs/maths/index.ipynb', 'no number in its name')]


@pytest.mark.parametrize('doc, noted', [
    ('Number of images', True),
    ('The value', True),
    ('number of images', False),
    ('CPU time', False),
    ('FlowNoise or a number', False),
    ('Wilson interval', False),
    ('Tensor of images', False),
    ('`Tensor` or None', False),
    ('B images', False),
    ('(N,B) weights', False),
    ('2 or more', False)])
def test_notes(toy, doc, noted):
    "A docment in upper case is a note, and no problem."
    path = toy/'nbs'/'tutorials'/'tour.ipynb'
    src = f'#| export\ndef f(\n    n: Tensor, # {doc}\n):\n    "Doc."\n    x = n # Never mind'
    write_nb(path, TITLE, code(src))
    assert bool([*check.notes_of(path)]) == noted
    res = run(toy, '--notes', path)
    assert res.returncode == 0, res.stdout
    assert (f'cell 1: line 3: docment begins in upper case: {doc}' in res.stdout) == noted


def test_report(toy):
    "Messages name the place, by notebook; the summary counts by rule; the exit code tells."
    write_nb(toy/'nbs'/'maths'/'00_grid.ipynb', TITLE, code('#| default_exp maths.grid'),
             code('a, b, c = 1, 2, 3\nn = 2*(not a)'), code('a = b = c = 1'), code(check.LAST))
    write_nb(toy/'nbs'/'tutorials'/'tour.ipynb', TITLE, code('import cvxpy'))
    res = run(toy)
    assert res.returncode == 1
    assert res.stdout.splitlines() == [
        'nbs/maths/00_grid.ipynb, cell 2: boolean: line 2: arithmetic on a boolean: 2 * (not a)',
        'nbs/maths/00_grid.ipynb, cell 2: targets: line 1: 3 targets, two at most: a, b, c = (1, 2, 3)',
        'nbs/maths/00_grid.ipynb, cell 3: targets: line 1: 3 targets, two at most: a = b = c = 1',
        'nbs/tutorials/tour.ipynb, cell 1: foreign: line 1: cvxpy is no requirement: '
        'try the import, or do it where it is used',
        '4 notebooks checked, 4 problems']
    res = run(toy, '--summary')
    assert res.returncode == 1
    assert res.stdout.split() == '2 targets 1 boolean 1 foreign 4 notebooks checked, 4 problems'.split()


def test_magics(rules):
    "Magics and shell lines do not hide the rest of a cell, and no operator is taken for one."
    assert rules('%time\n!ls\nfor i in x:\n    %time f()\nn = 2*(not a)') == ['boolean']
    assert rules('n = (a\n    % b)') == []
    assert rules('x = = 1') == ['python']
