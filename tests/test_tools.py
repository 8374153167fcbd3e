"The docs tools: what the pandoc stand-in makes of a small project, and that each check finds what it is for."
import html, importlib.util, json, re, shutil, subprocess, sys
from types import ModuleType

import pytest

from conftest import ROOT

pytest.importorskip('pypandoc')
DOT = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


def load(name):
    "Import a script of tools/."
    return run_file(name, ROOT/'tools'/f'{name}.py')


def run_file(name, path):
    "Import the Python file `path` as the module `name`."
    spec = importlib.util.spec_from_file_location(name, path)
    mod = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mod)
    return mod


def md(src): return dict(cell_type='markdown', metadata={}, source=src)
def raw(src): return dict(cell_type='raw', metadata={}, source=src)
def stdout(s): return dict(output_type='stream', name='stdout', text=s)


def code(src, *outs):
    "A code cell with these outputs."
    return dict(cell_type='code', metadata={}, execution_count=None, source=src, outputs=list(outs))


def shown(**data):
    "A displayed output; `image_png` stands for the type `image/png`."
    types = {k.replace('_', '/'): v for k, v in data.items()}
    return dict(output_type='display_data', metadata={}, data=types)


def failed(name):
    "A stored error."
    return dict(output_type='error', ename=name, evalue='', traceback=[])


def head(file, title):
    "The first cell of a page, as nbdev writes it."
    return raw(f'---\noutput-file: {file}\ntitle: {title}\n---')


def write_nb(path, *cells):
    "Write a notebook of these cells."
    path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))


PAGE = (
    raw('---\noutput-file: page.html\ntitle: A page\ndescription: A promise\n---'),
    md('See @fig-a, @tbl-t, @eq-e and @sec-s. '
       'Link [other](02_other.ipynb#two), [deep](deep/03_below.ipynb), [`g`](/deep/below.html#g).'),
    md('## A section {#sec-s}\n\n$$ a = \\|b\\| $$ {#eq-e}'),
    md('::: {.callout-tip title="A tip"}\nUse it.\n:::'),
    code('#| label: fig-a\n#| fig-cap: "A caption"\n#| fig-alt: "A dot"\nplot()', shown(image_png=DOT)),
    code('#| label: tbl-t\n#| tbl-cap: "A table"\nshow()', shown(text_markdown='| a |\n|---|\n| 1 |')),
    code('print(1)', stdout('printed\n')))


SOURCE = '[source](/blob/main/a/g.py#L3){target="_blank" style="float:right"}'
ENTRY = f'---\n\n{SOURCE}\n\n### g\n\nWhat g does.'
BELOW = (
    head('below.html', 'Below'),
    code('#| output: asis\n#| echo: false\nshow_doc(g)', shown(text_markdown=ENTRY)),
    md('The number in [`f`](/page.html#sec-s), in [`g`](/deep/below.html#g), '
       'in [`g.send`](/deep/below.html#g.send), in [`_h`](/page.html#_h). [Up](../01_page.ipynb#fig-a).'))
CONFIG = """
project: {type: website, output-dir: _docs}
format: {html: {toc: true}}
execute: {warning: false}
filters: [entries.lua, cells.lua, links.lua]
website:
  title: T
  site-url: ""
  repo-url: ""
  sidebar:
    contents:
      - index.ipynb
      - section: S
        contents: [01_page.ipynb, 02_other.ipynb, deep/03_below.ipynb]
"""


@pytest.fixture
def project(tmp_path):
    "A small project: two pages, one below, an index, a configuration; links as without an address."
    for name in ('entries.lua', 'cells.lua', 'links.lua'): shutil.copyfile(ROOT/'nbs'/name, tmp_path/name)
    (tmp_path/'deep').mkdir()
    write_nb(tmp_path/'deep'/'03_below.ipynb', *BELOW)
    write_nb(tmp_path/'01_page.ipynb', *PAGE)
    write_nb(tmp_path/'02_other.ipynb', head('other.html', 'Other'), md('## Two\n\n[back](01_page.ipynb)'))
    write_nb(tmp_path/'index.ipynb', head('index.html', 'Index'), md('Hello'))
    (tmp_path/'_quarto.yml').write_text(CONFIG)
    return tmp_path


def quarto(project, *args):
    "Run the stand-in in `project`."
    command = [sys.executable, ROOT/'tools'/'bin'/'quarto', 'render', *args]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


def problems(docs): return [p for _, p in load('check_docs').check_site(docs, nbs=None)]


def has_all(text, *parts):
    "Fail for the first of `parts` that `text` does not have."
    for part in parts: assert part in text, part


def test_site(project):
    "References, captions, alternative text, numbers, callouts and links come out, and the check is content."
    res = quarto(project, '--no-cache')
    assert res.returncode == 0, res.stderr
    page = (project/'_docs'/'page.html').read_text()
    has_all(page, 'href="#fig-a" class="xref">Figure 1<', 'href="#tbl-t" class="xref">Table 1<',
            'class="xref">Equation 1<', 'class="xref">A section<')
    has_all(page, '<figcaption>Figure 1: A caption', 'alt="A dot"', 'Table 1: A table', '<math ')
    has_all(page, 'callout callout-tip', '>printed', 'aria-current="page">A page')
    has_all(page, 'href="other.html#two"', 'href="deep/below.html">deep<', 'href="deep/below.html#g"')
    has_all(page, 'This page is the notebook <code>nbs/01_page.ipynb</code>')
    assert problems(project/'_docs') == []


def test_what_may_break(project):
    "A long name breaks after a dot or an underscore, a number with its interval nowhere."
    cells = '| a | b |\n|---|---|\n| 90.0 [69.9, 97.2] | a sentence of more than a few words |'
    text = '## Some.long_name, $a.b$ and so\n\n' + cells
    write_nb(project/'02_other.ipynb', head('other.html', 'Other'), md(text))
    assert quarto(project).returncode == 0
    page = (project/'_docs'/'other.html').read_text()
    has_all(page, '>Some.<wbr>long_<wbr>name, <', '>Some.long_name, <')
    has_all(page, '<td class="short">90.0', '<td>a sentence')
    assert 'xmlns="' in page and not re.search('="[^"]*<wbr>', page) # no attribute


def test_links_without_address(project):
    "A leading slash is the site's root at every depth, and a link to a source that is nowhere is left out."
    assert quarto(project).returncode == 0
    page = (project/'_docs'/'deep'/'below.html').read_text()
    has_all(page, 'href="../page.html#sec-s"><code>f<', 'href="below.html#g"><code>g<',
            'href="below.html#g"><code>g.send<', 'href="../page.html"><code>_h<')
    has_all(page, 'href="../page.html#fig-a">Up<', 'href="../index.html"', '<h3 id="g">g</h3>')
    for part in ('blob', '>source<', 'href="/', '<p></p>'): assert part not in page, part


SIGNATURE = """### scaled

```python
def scaled(
    x:Tensor, # `(B,)`, as [`g`](/deep/below.html#g) takes it: a*b, c*d
    # finite
    a:dict[str, int], how:str=', #(', # one of two
    weights:NoneType=None, # by default 1
    **kwargs
)->Tensor: # the product
```

*Scaled by `a`*

### scaled.size

```python
def size()->int: # pixels
```

---

[source](/blob/main/a/g.py#L3){target="_blank"}

### scaled.area

```python
def area()->float: # in pixels
```

*What it covers*

### scaled.side

```python
def side()->float: # its root
```
"""


def test_signatures(project):
    "A printed signature becomes a short one and a table, a property a name; a link in a comment is a link."
    (project.parent/'a').mkdir(exist_ok=True)
    (project.parent/'a'/'g.py').write_text('class C:\n    @property\n    def area(self)->float: return 1.\n')
    cell = code('#| output: asis\nshow_doc(scaled)', shown(text_markdown=SIGNATURE))
    write_nb(project/'01_page.ipynb', *PAGE, cell)
    assert quarto(project).returncode == 0
    page = (project/'_docs'/'page.html').read_text()
    has_all(page, '<table class="parameters">', '<p>Scaled by <code>a</code></p>', '<th>Default</th>')
    plain = re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]+>', '', page)))
    has_all(plain, "scaled(x, a, how=', #(', weights=None, **kwargs) -> Tensor")
    has_all(plain, 'x Tensor (B,), as g takes it: a*b, c*d finite', 'a dict[str, int]',
            "how str ', #(' one of two", 'weights None by default 1', 'Returns Tensor the product',
            'size() -> int', 'Returns: pixels', 'area: float', 'Attribute: in pixels',
            'side() -> float', 'Returns: its root')
    has_all(page, '<a href="deep/below.html#g"><code>g</code></a>')


CHECKS = (  # a cell, and whether it is folded
    (code('test_eq(f(1), 2)'), True),
    (code('a = f(1)\nassert a == 2'), True),
    (code('for a in (1, 2):\n    b = f(a)\n    assert b'), True),
    (code('with quiet(): test_close(f(1), 2)'), True),
    (code('assert f(1)\nf(1)'), False),
    (code('def f():\n    assert False'), False),
    (code('assert f(1)', stdout('1\n')), False))


def test_folded_checks(project):
    "A cell that ends in an assertion and shows nothing is folded, and no other."
    cells = [o for k, (cell, _) in enumerate(CHECKS) for o in (md(f'Cell {k}:'), cell)]
    write_nb(project/'01_page.ipynb', *PAGE, *cells)
    assert quarto(project).returncode == 0
    parts = re.split(r'<p>Cell \d+:</p>', (project/'_docs'/'page.html').read_text())
    assert ['<details class="checks">' in o for o in parts[1:]] == [folded for _, folded in CHECKS]


def test_links_in_links(project):
    "nbdev's link inside one written by hand goes, as does one from a plain word to fastai."
    docs = 'https://docs.fast.ai/a.html'
    write_nb(project/'01_page.ipynb', *PAGE, md(
        f'[[`g`](/deep/below.html#g)](02_other.ipynb), [`params`]({docs}#p), [`Learner`]({docs}#learner), '
        '[see [`g`](/page.html) there](02_other.ipynb)'))
    assert quarto(project).returncode == 0
    page = (project/'_docs'/'page.html').read_text()
    has_all(page, '<a href="other.html"><code>g</code></a>',
            f'<a href="{docs}#learner"><code>Learner</code></a>',
            '<a href="other.html">see <code>g</code> there</a>')
    assert '#p"' not in page and '](' not in page


def test_search_index(project):
    "The index holds the prose of each section, under the address of its heading, and no code."
    assert quarto(project).returncode == 0
    text = (project/'_docs'/'search.js').read_text()
    index = dict(json.loads(text[text.index('['):text.rindex(']') + 1]))
    assert ['Two', 'two', 'back'] in index['other.html']
    first, second = index['page.html']
    assert first[0] == 'A page' and second[:2] == ['A section', 'sec-s']
    assert 'See Figure 1' in first[2] and 'plot()' not in second[2]


def test_wide_tables(project):
    "No width is given to the columns of a table, however long its source lines are."
    cells = f'| a | b |\n|---|{"-"*150}|\n| {"x "*90}| 2 |'
    write_nb(project/'01_page.ipynb', *PAGE, md(cells))
    assert quarto(project).returncode == 0
    assert 'colgroup' not in (project/'_docs'/'page.html').read_text()


def test_links_with_address(project):
    "With an address the links to the source stay, and those to the site still become pages."
    site = 'https://example.org/lib'
    config = (project/'_quarto.yml').read_text().replace('site-url: ""', f'site-url: "{site}"')
    (project/'_quarto.yml').write_text(config)
    below = json.dumps(BELOW).replace('(/blob', '(https://example.org/blob').replace('(/', f'({site}/')
    write_nb(project/'deep'/'03_below.ipynb', *json.loads(below))
    assert quarto(project).returncode == 0
    page = (project/'_docs'/'deep'/'below.html').read_text()
    has_all(page, 'href="https://example.org/blob/main/a/g.py#L3"', 'href="../page.html#sec-s"><code>f<',
            'href="below.html#g"><code>g<')
    assert problems(project/'_docs') == []


def test_warnings(project):
    "What was written to stderr is left out by one setting, unless the cell says otherwise."
    said = dict(output_type='stream', name='stderr', text='a warning\n')
    wanted = dict(said, text='meant to be seen\n')
    write_nb(project/'01_page.ipynb', *PAGE, code('f()', said), code('#| warning: true\nf()', wanted))
    assert quarto(project).returncode == 0
    page = (project/'_docs'/'page.html').read_text()
    assert 'a warning' not in page and 'meant to be seen' in page


def test_readme(project):
    "One notebook as GitHub's Markdown."
    res = quarto(project, '01_page.ipynb', '-o', 'README.md', '-t', 'gfm', '--no-execute')
    assert res.returncode == 0, res.stderr
    text = (project/'_docs'/'README.md').read_text()
    has_all(text, '# A page', '> A promise', 'See Figure 1, Table 1, Equation 1', '*Figure 1: A caption*')
    has_all(text, '> [!TIP]', '``` math', '    printed')
    has_all(text, '![A dot](01_page_files/figure-commonmark/fig-a-output-1.png)')
    has_all(text, '(nbs/02_other.ipynb#two)', '[deep](nbs/deep/03_below.ipynb)',
            '[`g`](nbs/deep/03_below.ipynb)')
    assert (project/'_docs'/'01_page_files'/'figure-commonmark'/'fig-a-output-1.png').exists()


TWICE = '### f\n\na\n\n### f\n\nb'


@pytest.mark.parametrize('cell, problem', [
    (md('See @fig-none.'), 'unresolved cross reference: ?@fig-none'),
    (md('[x](missing.html)'), 'link to a missing file: missing.html'),
    (md('[x](02_other.ipynb#three)'), 'link to a missing anchor: other.html#three'),
    (md('[x](deep/03_below.ipynb#three)'), 'link to a missing anchor: deep/below.html#three'),
    (md('[x](/deep/missing.html)'), 'link to a missing file: deep/missing.html'),
    (md('![dot](missing.png)'), 'picture or style to a missing file: missing.png'),
    (code('plot()', shown(image_png=DOT)), 'picture without alternative text'),
    (code('#| output: asis\nshow_doc(f)', shown(text_markdown=TWICE)), 'documented 2 times: f'),
    (md('<img src="https://example.org/a.png" alt="a">'), 'loaded from another host')])
def test_check_docs_fails(project, cell, problem):
    "Each kind of problem is found."
    write_nb(project/'01_page.ipynb', *PAGE, cell)
    res = quarto(project)
    assert res.returncode == 0, res.stderr
    found = problems(project/'_docs')
    assert any(problem in o for o in found), found


@pytest.mark.parametrize('cell, problem', [
    (code('#| label: fig-a\n#| fig-cap: "Again"\nplot()', shown(image_png=DOT)), 'label used twice'),
    (md('$\\nosuchcommand{x}$'), 'Could not convert TeX math'),
    (code('1/0', failed('ZeroDivisionError')), 'ZeroDivisionError')])
def test_render_fails(project, cell, problem):
    "What cannot come out right stops the render."
    write_nb(project/'01_page.ipynb', *PAGE, cell)
    res = quarto(project)
    assert res.returncode != 0 and problem in res.stderr, res.stderr


MODULE = """
from functools import cached_property
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastcore.basics import patch
__all__ = ['f', 'Thing', 'Net', 'Watch', 'limit']
limit = 3
def f(): pass
class Thing:
    def __init__(self): pass
    def done(self): pass
    def missing(self): pass
    @property
    def size(self): return 1
    @cached_property
    def area(self): return 1
    @classmethod
    def made(cls): return cls()
    def _own(self): pass
class Net(torch.nn.Module):
    def forward(self, x): return x
    def extra_repr(self): return ''
    def certify(self): pass
class Watch(Callback):
    def before_batch(self): pass
    def value(self): pass
@patch
def patched(self: Thing): pass
@patch
def to_net(self: Learner): pass
def helper(): pass
class Inner:
    def method(self): pass
"""


@pytest.fixture
def documented(tmp_path):
    "A function of the names that have an entry: what the check says is missing for the module above."
    pytest.importorskip('fastai')
    (tmp_path/'a_lib.py').write_text(MODULE)
    mod = run_file('a_lib', tmp_path/'a_lib.py')
    names = [
        'f', 'helper', 'Inner', 'Inner.method',
        'Thing', 'Thing.__init__', 'Thing.done', 'Thing.missing', 'Thing.size', 'Thing.area',
        'Thing.made', 'Thing._own', 'Thing.patched',
        'Net', 'Net.forward', 'Net.extra_repr', 'Net.certify',
        'Watch', 'Watch.before_batch', 'Watch.value',
        'Learner.to_net']
    syms = {f'a_lib.{o}': (f'deep/below.html#{o.lower()}', 'a_lib.py') for o in names}
    index = dict(syms={'a_lib': syms})
    def _missing(*entries):
        (tmp_path/'deep').mkdir(exist_ok=True)
        page = ''.join(f'<h3 id="{o.lower()}">{o}</h3>' for o in entries)
        (tmp_path/'deep'/'below.html').write_text(page)
        found = load('check_docs').check_entries(tmp_path, index, load=lambda name: mod)
        return {p.rpartition(' ')[2] for _, p in found}
    return _missing


def test_entries(documented):
    "Every public function, class, method and property needs an entry; a class has none for its methods."
    wanted = {
        'f', 'Thing', 'Thing.done', 'Thing.missing', 'Thing.size', 'Thing.area', 'Thing.made',
        'Thing.patched', 'Net', 'Net.certify', 'Watch', 'Watch.value', 'Learner.to_net'}
    assert documented() == wanted
    assert documented(*wanted) == set()
    assert documented('f', 'Thing', 'Net', 'Watch') == wanted - {'f', 'Thing', 'Net', 'Watch'}
    assert documented(*wanted - {'Thing.missing'}) == {'Thing.missing'}


def readme_problems(folder, text):
    "What the check of the README says about `text`, with an index page beside it."
    (folder/'README.md').write_text(text)
    (folder/'page.html').write_text('<h3 id="thing">Thing</h3>')
    check = load('check_docs')
    check.settings_url = lambda: 'https://example.org/lib'
    return [p for _, p in check.check_readme(folder/'README.md', folder)]


def test_readme_links(tmp_path):
    "A link of the README leads to a file, or to an entry: the parent's is not enough."
    site = 'https://example.org/lib'
    assert readme_problems(tmp_path, f'[a](README.md) [b]({site}/page.html#thing)') == []
    for url in ('/page.html', 'nbs/none.ipynb', f'{site}/none.html', f'{site}/page.html#thing.done'):
        assert len(readme_problems(tmp_path, f'[a]({url})')) == 1, url


def test_unlisted_page(project):
    "A page that the sidebar does not name is found."
    write_nb(project/'04_more.ipynb', head('more.html', 'More'), md('x'))
    assert quarto(project).returncode == 0
    assert 'not in the sidebar' in problems(project/'_docs')


DOCUMENTED = '''#| export
def f(
    x, # a number
)->float: # its root
    "Root of x."
    return math.sqrt(x)'''
GOOD = (
    md('# Title\n> A promise'),
    code('#| default_exp a'),
    code('#| export\nimport math'),
    code(DOCUMENTED),
    code(load('check_notebooks').LAST))


def test_good_notebook(tmp_path):
    "Nothing to find."
    write_nb(tmp_path/'a.ipynb', *GOOD)
    assert [*load('check_notebooks').check_notebook(tmp_path/'a.ipynb')] == []


UNDOCUMENTED_INIT = '''#| export
class A:
    "Doc."
    def __init__(self, x): pass'''


@pytest.mark.parametrize('cell, problem', [
    (code('import os\nx = 1'), 'imports and other code'),
    (code('1/0', failed('ZeroDivisionError')), 'stored error output'),
    (code('#| export\ndef g(x):\n    "Doc."\n    pass'), 'g: no docment for x'),
    (code('#| export\ndef g(\n    x, y, # of y only\n):\n    "Doc."\n    pass'), 'g: no docment for x'),
    (code('#| export\ndef g(\n    x, # a number\n):\n    "Doc."\n    return x'), 'g: no docment for return'),
    (code('#| export\ndef g(\n    x, # a number\n):\n    pass'), 'g has no docstring'),
    (code(UNDOCUMENTED_INIT), 'A.__init__: no docment for x'),
    (code('#| export\n@dataclass\nclass A:\n    "Doc."\n    x: int'), 'A: no docment for x'),
    (code('open("/home/someone/x")'), 'machine path'),
    (code('p', stdout('/root/x\n')), 'machine path in an output'),
    (code('plot()', shown(image_png=DOT)), 'displayed picture without fig-alt'),
    (code('#| label: fig-a\n#| fig-alt: "a"\nplot()', shown(image_png=DOT)), 'figure fig-a has no fig-cap')])
def test_check_notebooks_fails(tmp_path, cell, problem):
    "Each kind of problem is found."
    write_nb(tmp_path/'a.ipynb', *GOOD[:-1], cell, GOOD[-1])
    found = [p for _, p in load('check_notebooks').check_notebook(tmp_path/'a.ipynb')]
    assert any(problem in o for o in found), found


def plain(s): return s.replace('·', '')  # a dot keeps the check from finding these here


FOREIGN = {
    'address': 'see ht·tps://somewhere.org/x',
    'an insecure one': 'ht·tp://somewhere.org',
    'a made-up one': 'ht·tps://%(user)s/x',
    'site': 'someone.git·hub.io',
    'repository': 'git·@git·hub.com:someone/lib',
    'repository without https': 'git·hub.com/someone/lib',
    'pip': 'pip install git·+ssh:somewhere',
    'mail': 'someone@users.no·reply.example',
    'mail to a person': 'someone·@somewhere.org',
    'index': 'pip install ·beckman_nb',
    'index, one extra': "pip install -U '·beckman-nb[dev]>=1' fastai",
    'index, by uv': 'uv add ·beckman_nb'}
FINE = [
    'https://arxiv.org/abs/2301.01495',
    'see https://arxiv.org.',
    'pip install .',
    "pip install -e '.[dev]'",
    'pip install dist/beckman_nb-0.0.1-py3-none-any.whl',
    'pip install numba && beckman_demo',
    'cd beckman_nb && pip install .',
    'beckman_nb.program',
    'a @ b.T',
    '@patch']


@pytest.mark.parametrize('text', FINE)
def test_own_addresses(tmp_path, text):
    "Citations, and installing the checkout or the built wheel."
    (tmp_path/'a.md').write_text(text)
    check = load('check_addresses')
    assert [*check.check_file(tmp_path/'a.md', check.ACCEPTED)] == []


@pytest.mark.parametrize('kind', FOREIGN)
def test_foreign_addresses(tmp_path, kind):
    "Each kind is found: in a text, in the source of a cell and in an output."
    text, check = plain(FOREIGN[kind]), load('check_addresses')
    (tmp_path/'a.md').write_text(f'one\n{text}\n')
    write_nb(tmp_path/'a.ipynb', md(text), code('x', stdout(text), shown(text_html=[text])))
    found = [*check.check_file(tmp_path/'a.md', check.ACCEPTED)]
    assert found and {place for place, _ in found} == {'line 2'}
    places = {place for place, _ in check.check_file(tmp_path/'a.ipynb', check.ACCEPTED)}
    assert places == {'cell 0', 'output of cell 1'}


def test_addresses_of_settings(tmp_path):
    "What settings.ini names is the project's own, with what lies below it; a name that begins alike is not."
    lib, mail = plain('git·hub.com/us/lib'), plain('us·@lib.org')
    settings = f'[DEFAULT]\ngit_url = ht·tps://{lib}\ndoc_host =\nauthor_email = {mail}\n'
    (tmp_path/'settings.ini').write_text(plain(settings))
    check = load('check_addresses')
    known = check.own(tmp_path/'settings.ini')
    assert known == [lib, mail]
    found = lambda place: [*check.find(plain(f'ht·tps://{place}'), known)]
    for place in (lib, f'{lib}/blob/main', mail): assert found(place) == [], place
    for place in (f'{lib}2', f'{lib}.other', lib.rpartition('/')[0]): assert found(place), place


def test_pictures_hold_no_address(tmp_path):
    "What a picture's code looks like is chance, and a binary file has no text."
    check, chance = load('check_addresses'), plain('git·+abc')
    write_nb(tmp_path/'a.ipynb', code('plot()', shown(image_png=chance)))
    (tmp_path/'a.bin').write_bytes(chance.encode() + b'\xff')
    for name in ('a.ipynb', 'a.bin'): assert [*check.check_file(tmp_path/name, [])] == [], name
