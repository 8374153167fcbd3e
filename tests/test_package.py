"The package's metadata agree with each other and with what the code imports."
import ast, re, shutil, subprocess, sys
from configparser import ConfigParser
from email import message_from_string

import pytest

from conftest import ROOT

CFG = ConfigParser(delimiters=['='])
CFG.read(ROOT/'settings.ini', encoding='utf-8')
CFG = CFG['DEFAULT']
DISTS = {'sklearn': 'scikit-learn', 'ot': 'pot', 'PIL': 'pillow', 'yaml': 'pyyaml'}  # from import name


def names(key):
    "The lower-case distribution names in the setting `key`."
    lines = [o.strip() for o in CFG[key].splitlines() if o.strip()]
    return {re.match(r'[\w.-]+', o)[0].lower().replace('_', '-') for o in lines}


def within(tree, kinds):
    "The ids of the nodes in the bodies of the statements of these kinds."
    bodies = [t.body for t in ast.walk(tree) if isinstance(t, kinds)]
    return {id(o) for body in bodies for statement in body for o in ast.walk(statement)}


def imports(path):
    "The packages that the file imports outside try, as (name, whether a function does it when called)."
    tree = ast.parse(path.read_text(encoding='utf-8'))
    guarded = within(tree, ast.Try)
    lazy = within(tree, (ast.FunctionDef, ast.AsyncFunctionDef))
    for o in ast.walk(tree):
        if id(o) in guarded: continue
        if isinstance(o, ast.Import): yield from ((a.name.split('.')[0], id(o) in lazy) for a in o.names)
        elif isinstance(o, ast.ImportFrom) and o.level == 0: yield o.module.split('.')[0], id(o) in lazy


def test_requirements_cover_imports():
    "What the library imports is required; oracles, imported when called, may be for development."
    ours = ('beckman_nb', 'triton')  # triton comes with torch where there are GPUs for it
    for path in (ROOT/'beckman_nb').rglob('*.py'):
        for name, lazy in imports(path):
            if name in ours or name in sys.stdlib_module_names: continue
            dist = DISTS.get(name, name).lower().replace('_', '-')
            known = names('requirements') | (names('dev_requirements') if lazy else set())
            assert dist in known, f'{path.name} imports {name}, which is not in requirements'


def test_version():
    "The version in the package is the one in settings.ini, and the changelog has an entry for it."
    package = (ROOT/'beckman_nb'/'__init__.py').read_text(encoding='utf-8')
    changelog = (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')
    assert f'__version__ = "{CFG["version"]}"' in package
    assert f'## {CFG["version"]}' in changelog


def test_commands():
    "Every command has the name of its function, which is in its file and has a docstring of one line."
    lines = [o.strip() for o in CFG['console_scripts'].splitlines() if o.strip()]
    expected = ['beckman_demo', 'beckman_train', 'beckman_eval', 'beckman_certify', 'beckman_study',
                'beckman_bench']
    assert [line.split('=')[0] for line in lines] == expected
    for line in lines:
        name, _, target = line.partition('=')
        module, _, function = target.partition(':')
        tree = ast.parse((ROOT/(module.replace('.', '/') + '.py')).read_text(encoding='utf-8'))
        found = {o.name: o for o in tree.body if isinstance(o, ast.FunctionDef)}
        assert name == function and function in found, line
        doc = ast.get_docstring(found[function])
        decorators = [ast.unparse(o) for o in found[function].decorator_list]
        assert doc and '\n' not in doc, line
        assert decorators == ['command'], line


def test_no_duplicate_docs_configuration():
    "nbdev finds the one docs configuration through a link."
    assert (ROOT/'nbs'/'_quarto.yml').is_symlink()
    assert (ROOT/'nbs'/'_quarto.yml').resolve() == ROOT/'_quarto.yml'


def key_paths(o, path=()):
    "The keys of nested dicts, with dots between them."
    if not isinstance(o, dict): return ['.'.join(path)]
    return [q for k, v in o.items() for q in key_paths(v, (*path, k))]


def explained(text):
    "The keys in the first column of the table of `_quarto.yml`; `a.b, .c` stands for `a.b` and `a.c`."
    for row in re.findall(r'^#   ([a-z]\S+(?:, \.\S+)*)  ', text, flags=re.M):
        first, *others = row.split(', ')
        yield first
        for o in others: yield first.rpartition('.')[0] + o


def test_docs_configuration():
    "Each key of the docs configuration is explained there, none needs an address, and settings.ini agrees."
    yaml = pytest.importorskip('yaml')
    text = (ROOT/'_quarto.yml').read_text(encoding='utf-8')
    cfg = yaml.safe_load(text)
    sidebar = yaml.safe_load((ROOT/'nbs'/'sidebar.yml').read_text(encoding='utf-8'))
    assert sorted(explained(text)) == sorted(key_paths(cfg) + key_paths(sidebar))
    web = cfg['website']
    assert web['description'] == CFG['description'] and web['title'] == CFG['lib_name']
    if not CFG['git_url']: assert not {'site-url', 'repo-url', 'repo-actions', 'open-graph'} & set(web)
    files = ['favicon.png', 'llms.txt', *cfg['filters'], cfg['format']['html']['css']]
    for name in files: assert (ROOT/'nbs'/name).exists(), name


def test_citation():
    "The citation names the licence and version of settings.ini, and the paper."
    yaml = pytest.importorskip('yaml')
    cff = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))
    assert (cff['license'], cff['version']) == (CFG['license'], CFG['version'])
    assert cff['authors'] == [{'name': 'the beckman_nb authors'}]
    assert cff['references'][0]['url'].endswith('2301.01495')


def test_metadata():
    "The installed metadata carry the SPDX licence and the requirements of settings.ini."
    from importlib.metadata import PackageNotFoundError, distribution
    try: meta = distribution('beckman_nb').metadata
    except PackageNotFoundError: pytest.skip('beckman_nb is not installed in this environment')
    assert meta['License-Expression'] == CFG['license'] == 'Apache-2.0'
    assert meta['Requires-Python'] == f'>={CFG["min_python"]}'


def test_addresses():
    "Every address is there, be it empty: nbdev makes up a missing one, and takes a user as their root."
    assert 'user' not in CFG
    for key in ('git_url', 'doc_host', 'doc_baseurl', 'author_email'): assert key in CFG, key


FILES = {  # whether the wheel and the source hold them
    'beckman_nb/__init__.py': True,
    'beckman_nb/studies/__init__.py': True,
    'beckman_nb/weights/a.safetensors': True,
    'beckman_nb/studies/results/a.json': True,
    'beckman_nb/studies/weights/a.safetensors': False,
    'nbs/a.ipynb': False}
COPIED = ('settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE')


def test_package_data(tmp_path):
    "Wheel and source hold weights and results, not the networks of the studies; no address is empty."
    pytest.importorskip('setuptools', '77')
    for name in COPIED: shutil.copy(ROOT/name, tmp_path)
    for name in FILES:
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).write_text('')
    def run(*args):
        command = [sys.executable, 'setup.py', '--quiet', *args]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    run('build_py', '--build-lib', 'built')
    assert {name: (tmp_path/'built'/name).exists() for name in FILES} == FILES
    run('sdist', '--formats', 'tar', '--dist-dir', 'source')
    shutil.unpack_archive(next((tmp_path/'source').iterdir()), tmp_path/'unpacked')
    inside = next((tmp_path/'unpacked').iterdir())
    assert {name: (inside/name).exists() for name in FILES} == FILES
    meta = message_from_string((inside/'PKG-INFO').read_text(encoding='utf-8'))
    assert meta['License-Expression'] == CFG['license']
    addresses = {'Home-page': 'git_url', 'Author-email': 'author_email', 'Project-URL': 'doc_host'}
    for field, key in addresses.items(): assert (field in meta) == bool(CFG[key]), f'{field}: {meta[field]}'


@pytest.mark.parametrize('network', ['control', 'adversarial', 'pose'])
def test_research_networks(network):
    "The networks of the studies lie in the repository, each small (they stay out of the wheel)."
    path = ROOT/'beckman_nb'/'studies'/'weights'/f'small_cnn_cifar10_{network}.safetensors'
    assert path.stat().st_size < 2e6
