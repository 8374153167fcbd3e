"Every exported module imports, and the solver modules stay free of fastai and matplotlib."
from ast import literal_eval
from functools import cache
from importlib.metadata import entry_points

import pytest

from conftest import ROOT

SOLVER = ['grid', 'beckmann', 'analytic', 'pdhg', 'kernels', 'barycenter', 'marginals', 'layer']
TORCH_ONLY = SOLVER + ['models', 'attacks', 'state', 'evaluate']  # run where fastai is missing
HEAVY = ('fastai', 'fastcore', 'matplotlib', 'sklearn', 'cvxpy', 'ot')


def modules():
    "The exported modules, as the index that nbdev writes lists them."
    text = (ROOT/'beckman_nb'/'_modidx.py').read_text(encoding='utf-8')
    return sorted(literal_eval(text.split('d = ', 1)[1])['syms'])


def files():
    "The modules that exist as files."
    return sorted('.'.join(p.relative_to(ROOT).with_suffix('').parts) for p in (ROOT/'beckman_nb').rglob('*.py')
                  if p.name[0] != '_')


def test_index_is_complete():
    "Every module file is in the index, and the other way round: no stale file, no missing export."
    assert modules() == files()


IMPORT = f"""
import sys, importlib
m = importlib.import_module(sys.argv[1])
for o in m.__all__: getattr(m, o)
print(*[o for o in {HEAVY} if o in sys.modules])
"""


@pytest.fixture(scope='session')
def imported(run_python):
    "A function that imports a module in a process of its own, once, and says how that ended."
    return cache(lambda name: run_python(IMPORT, name))


@pytest.mark.parametrize('name', modules())
def test_import(name, imported):
    "The module imports in a fresh process, and everything in its `__all__` exists."
    res = imported(name)
    assert res.returncode == 0, res.stderr


@pytest.mark.parametrize('name', [m for m in modules() if m.split('.')[-1] in TORCH_ONLY])
def test_light_import(name, imported):
    "Solver modules load neither fastai, fastcore nor matplotlib; models, attacks and evaluate do not load fastai."
    res = imported(name)
    assert res.returncode == 0, res.stderr
    banned = set(HEAVY) if name.split('.')[-1] in SOLVER else {'fastai', 'cvxpy', 'ot'}
    assert not set(res.stdout.split()) & banned


def test_console_scripts():
    "Each installed command points at something that can be called."
    eps = [o for o in entry_points(group='console_scripts') if o.value.startswith('beckman_nb.')]
    if not eps: pytest.skip('beckman_nb is not installed in this environment')
    for ep in eps: assert callable(ep.load()), ep
