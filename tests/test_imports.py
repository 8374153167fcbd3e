"Every exported module imports, and the solver modules stay free of fastai and matplotlib."
import ast
from ast import literal_eval
from functools import cache
from importlib.metadata import entry_points

import pytest

from conftest import ROOT

# The floors of the house, from the ground up: a module imports from its own floor and those before it only
FLOORS = [
    ['program'],
    ['solvers'],
    ['digests', 'runs', 'jobs', 'stats', 'tables', 'threat'],
    ['barycenter', 'distance', 'marginals'],
    ['layers', 'lowpass'],
    ['files', 'data', 'models', 'checkpoints'],
    ['ball'],
    ['noise'],
    ['smoothing'],
    ['train'],
    ['evaluate'],
    ['console', 'demo', 'by_name', 'cli', 'certify', 'finetune'],
    ['all'],
    ['studies'],
    ['__main__']]
SOLVER = (  # torch and what compiles, nothing else
    'program', 'solvers', 'barycenter', 'distance', 'marginals', 'layers', 'lowpass')
TORCH_ONLY = SOLVER + (  # run where fastai is missing
    'digests', 'runs', 'jobs', 'stats', 'tables', 'threat', 'files', 'models', 'checkpoints', 'ball', 'noise',
    'smoothing',
    'train.attacks', 'train.geometric', 'train.recipes',
    'evaluate.copies', 'evaluate.chance', 'evaluate.adapt', 'evaluate.autoattack', 'evaluate.backward',
    'evaluate.trust',
    'evaluate.protocols', 'evaluate.robustness', 'evaluate.sanity')
HEAVY = ('fastai', 'fastcore', 'matplotlib', 'sklearn', 'cvxpy', 'ot')


def modules():
    "The exported modules, as the index that nbdev writes lists them."
    text = (ROOT/'beckman_nb'/'_modidx.py').read_text(encoding='utf-8')
    return sorted(literal_eval(text.split('d = ', 1)[1])['syms'])


def files():
    "The modules that exist as files."
    found = [p.relative_to(ROOT) for p in (ROOT/'beckman_nb').rglob('*.py') if p.name[0] != '_']
    return sorted('.'.join(p.with_suffix('').parts) for p in found)


def inside(name, places):
    "Whether a module (by its full name) is one of `places` or lies in one of them."
    short = name.removeprefix('beckman_nb.')
    return any(short == o or short.startswith(o + '.') for o in places)


def own_imports(name):
    "The modules of this package that a module imports, anywhere in its code, by their full names."
    path = ROOT.joinpath(*name.split('.')).with_suffix('.py')
    package = name.split('.')[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (o.name for o in node.names if o.name.startswith('beckman_nb.'))
        if not isinstance(node, ast.ImportFrom): continue
        base = package[:len(package) - node.level + 1] if node.level else []
        full = '.'.join([*base, *([node.module] if node.module else [])])
        if not full.startswith('beckman_nb'): continue
        for o in node.names:
            deeper = f'{full}.{o.name}'
            yield deeper if deeper in modules() else full


def floor(name): return next(i for i, places in enumerate(FLOORS) if inside(name, places))


@pytest.mark.parametrize('name', modules())
def test_floors(name):
    "A module imports from its own floor and those before it; so the product never imports the studies."
    above = [o for o in own_imports(name) if o != 'beckman_nb' and floor(o) > floor(name)]
    assert not above, f'{name} imports from a later floor: {above}'


@pytest.mark.parametrize('name', modules())
def test_no_private_imports(name):
    "No name with a leading underscore crosses a module."
    path = ROOT.joinpath(*name.split('.')).with_suffix('.py')
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or '').startswith('beckman_nb')):
            private = [o.name for o in node.names if o.name[0] == '_' and not o.name.startswith('__')]
            assert not private, f'{name} imports {private} from {node.module}'


@pytest.mark.parametrize('name', modules())
def test_imports_are_relative(name):
    "nbdev makes imports at the top of a module relative, but not those over three lines or more."
    path = ROOT.joinpath(*name.split('.')).with_suffix('.py')
    tree = ast.parse(path.read_text(encoding='utf-8'))
    absolute = [o.module for o in tree.body if isinstance(o, ast.ImportFrom) and not o.level]
    assert not [o for o in absolute if o.startswith('beckman_nb')]


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


@pytest.mark.parametrize('name', [m for m in modules() if inside(m, TORCH_ONLY)])
def test_light_import(name, imported):
    "Solver modules load no fastai, fastcore or matplotlib; models, attacks and evaluate load no fastai."
    res = imported(name)
    assert res.returncode == 0, res.stderr
    banned = set(HEAVY) if inside(name, SOLVER) else {'fastai', 'cvxpy', 'ot'}
    assert not set(res.stdout.split()) & banned


def commands():
    "The commands of the package that are installed."
    found = [o for o in entry_points(group='console_scripts') if o.value.startswith('beckman_nb.')]
    if not found: pytest.skip('beckman_nb is not installed in this environment')
    return found


def test_console_scripts():
    "Each installed command points at something that can be called."
    for ep in commands(): assert callable(ep.load()), ep


SILENT = """
import sys, warnings, importlib
importlib.import_module(sys.argv[1])
print([f for f in map(str, warnings.filters) if 'torch.jit.script' in f])
"""
UNCHANGED = """
import sys, warnings, importlib
import fastai.vision.all, matplotlib.pyplot, numba, scipy.stats, sklearn, torchvision.models
before = list(warnings.filters)
importlib.import_module(sys.argv[1])
print(warnings.filters == before)
"""


def test_commands_are_silent(run_python):
    "Importing the module of a command prints nothing, and leaves no warning filter behind."
    for module in sorted({ep.module for ep in commands()} | {'beckman_nb.all'}):
        res = run_python(SILENT, module)
        assert (res.returncode, res.stdout, res.stderr) == (0, '[]\n', ''), module
        res = run_python(UNCHANGED, module)
        assert (res.returncode, res.stdout) == (0, 'True\n'), f'{module}: {res.stderr}'


ASK_VERSION = """
import sys
from {module} import {function}
sys.argv = {argv}
{function}()
"""


def test_commands_say_their_version(run_python):
    "Every command has `--version`, `python -m beckman_nb` as well, which lists them with what they do."
    version = run_python('import beckman_nb; print(beckman_nb.__version__)').stdout.strip()
    for ep in commands():
        res = run_python(ASK_VERSION.format(module=ep.module, function=ep.attr, argv=[ep.name, '--version']))
        assert (res.returncode, res.stdout) == (0, f'{ep.name} {version}\n'), res.stderr
    run = 'import sys, runpy; sys.argv[0] = "beckman_nb"; runpy.run_module("beckman_nb", run_name="__main__")'
    assert run_python(run, '--version').stdout == f'beckman_nb {version}\n'
    paragraph = run_python(run).stdout.split('\n\n')[0]
    listed = dict(line.split(None, 1) for line in paragraph.splitlines())
    assert listed == {ep.name: ep.load().__doc__ for ep in commands()}


STUDIES = """
import sys, importlib
for name in sys.argv[1:]: importlib.import_module(name)
print(*[o for o in sys.modules if o.startswith('beckman_nb.studies')])
"""


def test_product_without_studies(run_python):
    "No module of the product imports the laboratory."
    product = [m for m in modules() if not m.startswith('beckman_nb.studies')]
    res = run_python(STUDIES, *product)
    assert (res.returncode, res.stdout) == (0, '\n'), res.stderr


def test_main_does_nothing_when_imported(run_python):
    "Importing `beckman_nb.__main__` runs no command, and imports neither torch nor fastai."
    heavy = '[o for o in ("torch", "fastai") if o in sys.modules]'
    res = run_python(f'import sys, beckman_nb.__main__; print({heavy})')
    assert (res.returncode, res.stdout, res.stderr) == (0, '[]\n', '')


WITHOUT_NUMBA = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'numba': raise ImportError('no Numba here')
sys.meta_path.insert(0, Blocked())
import beckman_nb.solvers.gpu, beckman_nb.solvers.gpu_closed_form, beckman_nb.barycenter
print('numba' in sys.modules)
"""


def test_gpu_needs_no_numba(run_python):
    "The solver for CUDA, and the function that chooses it, import where Numba is missing."
    pytest.importorskip('triton')
    res = run_python(WITHOUT_NUMBA)
    assert (res.returncode, res.stdout) == (0, 'False\n'), res.stderr
