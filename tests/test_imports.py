"Every exported module imports, and the solver modules stay free of fastai and matplotlib."
import importlib.util
from ast import literal_eval
from importlib.metadata import entry_points

import pytest

from conftest import ROOT

SOLVER = ['grid', 'beckmann', 'analytic', 'pdhg', 'kernels', 'barycenter', 'marginals', 'layer']
TORCH_ONLY = SOLVER + ['models', 'attacks', 'evaluate']  # run where fastai is missing


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


@pytest.mark.parametrize('name', modules())
def test_import(name, run_python):
    "The module imports in a fresh process, and everything in its `__all__` exists."
    res = run_python(f'import {name} as m; [getattr(m, o) for o in m.__all__]')
    assert res.returncode == 0, res.stderr


def loaded_after(name, run_python):
    "Which of the heavy packages are loaded once module `name` is imported."
    heavy = ('fastai', 'fastcore', 'matplotlib', 'sklearn', 'cvxpy', 'ot')
    res = run_python(f'import sys, {name}; print(*[o for o in {heavy} if o in sys.modules])')
    assert res.returncode == 0, res.stderr
    return set(res.stdout.split())


@pytest.mark.parametrize('name', [m for m in modules() if m.split('.')[-1] in TORCH_ONLY])
def test_light_imports(name, run_python):
    "Solver modules load neither fastai, fastcore nor matplotlib; models, attacks and evaluate do not load fastai."
    banned = {'fastai', 'fastcore', 'matplotlib', 'cvxpy', 'ot'} if name.split('.')[-1] in SOLVER else {'fastai', 'cvxpy', 'ot'}
    assert not loaded_after(name, run_python) & banned


def test_console_scripts():
    "Each installed command points at something that can be called."
    eps = [o for o in entry_points(group='console_scripts') if o.value.startswith('beckman_nb.')]
    if not eps: pytest.skip('beckman_nb is not installed in this environment')
    for ep in eps: assert callable(ep.load()), ep
