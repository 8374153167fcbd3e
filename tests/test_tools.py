"The docs tools: what the pandoc stand-in makes of a small project, and that each check fails on what it is for."
import importlib.util, json, subprocess, sys

import pytest

from conftest import ROOT

pytest.importorskip('pypandoc')
DOT = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


def load(name):
    "Import a script of tools/."
    spec = importlib.util.spec_from_file_location(name, ROOT/'tools'/f'{name}.py')
    mod = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mod)
    return mod


def md(src): return dict(cell_type='markdown', metadata={}, source=src)
def raw(src): return dict(cell_type='raw', metadata={}, source=src)
def code(src, *outs): return dict(cell_type='code', metadata={}, execution_count=None, source=src, outputs=list(outs))
def shown(**data): return dict(output_type='display_data', metadata={}, data={k.replace('_', '/'): v for k, v in data.items()})
def stdout(s): return dict(output_type='stream', name='stdout', text=s)
def write_nb(path, *cells): path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))


PAGE = (
    raw('---\noutput-file: page.html\ntitle: A page\ndescription: A promise\n---'),
    md('See @fig-a, @tbl-t, @eq-e and @sec-s. Link [other](02_other.ipynb#two).'),
    md('## A section {#sec-s}\n\n$$ a = \\|b\\| $$ {#eq-e}'),
    md('::: {.callout-tip title="A tip"}\nUse it.\n:::'),
    code('#| label: fig-a\n#| fig-cap: "A caption"\n#| fig-alt: "A dot"\nplot()', shown(image_png=DOT)),
    code('#| label: tbl-t\n#| tbl-cap: "A table"\nshow()', shown(text_markdown='| a |\n|---|\n| 1 |')),
    code('print(1)', stdout('printed\n')))


@pytest.fixture
def project(tmp_path):
    "A small project: two pages, an index and a configuration."
    write_nb(tmp_path/'01_page.ipynb', *PAGE)
    write_nb(tmp_path/'02_other.ipynb', raw('---\noutput-file: other.html\ntitle: Other\n---'), md('## Two\n\n[back](01_page.ipynb)'))
    write_nb(tmp_path/'index.ipynb', raw('---\noutput-file: index.html\ntitle: Index\n---'), md('Hello'))
    (tmp_path/'_quarto.yml').write_text('project: {type: website, output-dir: _docs}\nformat: {html: {toc: true}}\n'
        'website: {title: T, sidebar: {contents: [index.ipynb, {section: S, contents: [01_page.ipynb, 02_other.ipynb]}]}}\n')
    return tmp_path


def quarto(project, *args):
    "Run the stand-in in `project`."
    return subprocess.run([sys.executable, ROOT/'tools'/'bin'/'quarto', 'render', *args], cwd=project, capture_output=True, text=True)


def problems(docs): return [p for _, p in load('check_docs').check_site(docs, nbs=None)]


def test_site(project):
    "References, captions, alternative text, numbers, callouts and links come out, and the check is content."
    res = quarto(project, '--no-cache')
    assert res.returncode == 0, res.stderr
    page = (project/'_docs'/'page.html').read_text()
    for part in ('href="#fig-a" class="xref">Figure 1<', 'href="#tbl-t" class="xref">Table 1<', 'class="xref">Equation 1<',
                 'class="xref">A section<', '<figcaption>Figure 1: A caption', 'alt="A dot"', 'Table 1: A table', '<math ',
                 'callout callout-tip', 'href="other.html#two"', '>printed', 'aria-current="page">A page'): assert part in page, part
    assert problems(project/'_docs') == []


def test_readme(project):
    "One notebook as GitHub's Markdown."
    res = quarto(project, '01_page.ipynb', '-o', 'README.md', '-t', 'gfm', '--no-execute')
    assert res.returncode == 0, res.stderr
    text = (project/'_docs'/'README.md').read_text()
    for part in ('# A page', '> A promise', 'See Figure 1, Table 1, Equation 1', '*Figure 1: A caption*', '> [!TIP]', '``` math',
                 '![A dot](01_page_files/figure-commonmark/fig-a-output-1.png)', '(nbs/02_other.ipynb#two)', '    printed'):
        assert part in text, part
    assert (project/'_docs'/'01_page_files'/'figure-commonmark'/'fig-a-output-1.png').exists()


@pytest.mark.parametrize('cell, problem', [
    (md('See @fig-none.'), 'unresolved cross reference: ?@fig-none'),
    (md('[x](missing.html)'), 'link to a missing file: missing.html'),
    (md('[x](02_other.ipynb#three)'), 'link to a missing anchor: other.html#three'),
    (md('![dot](missing.png)'), 'picture or style to a missing file: missing.png'),
    (code('plot()', shown(image_png=DOT)), 'picture without alternative text'),
    (code('#| output: asis\nshow_doc(f)', shown(text_markdown='### f\n\na\n\n### f\n\nb')), 'documented 2 times: f'),
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
    (code('1/0', dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=[])), 'ZeroDivisionError')])
def test_render_fails(project, cell, problem):
    "What cannot come out right stops the render."
    write_nb(project/'01_page.ipynb', *PAGE, cell)
    res = quarto(project)
    assert res.returncode != 0 and problem in res.stderr, res.stderr


def test_unlisted_page(project):
    "A page that the sidebar does not name is found."
    write_nb(project/'03_more.ipynb', raw('---\noutput-file: more.html\ntitle: More\n---'), md('x'))
    assert quarto(project).returncode == 0
    assert 'not in the sidebar' in problems(project/'_docs')


GOOD = (md('# Title\n> A promise'), code('#| default_exp a'), code('#| export\nimport math'),
        code('#| export\ndef f(\n    x, # a number\n)->float: # its root\n    "Root of x."\n    return math.sqrt(x)'),
        code(load('check_notebooks').LAST))


def test_good_notebook(tmp_path):
    "Nothing to find."
    write_nb(tmp_path/'a.ipynb', *GOOD)
    assert [*load('check_notebooks').check_notebook(tmp_path/'a.ipynb')] == []


@pytest.mark.parametrize('cell, problem', [
    (code('import os\nx = 1'), 'imports and other code'),
    (code('1/0', dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=[])), 'stored error output'),
    (code('#| export\ndef g(x):\n    "Doc."\n    pass'), 'g: no docment for x'),
    (code('#| export\ndef g(\n    x, y, # of y only\n):\n    "Doc."\n    pass'), 'g: no docment for x'),
    (code('#| export\ndef g(\n    x, # a number\n):\n    "Doc."\n    return x'), 'g: no docment for return'),
    (code('#| export\ndef g(\n    x, # a number\n):\n    pass'), 'g has no docstring'),
    (code('#| export\nclass A:\n    "Doc."\n    def __init__(self, x): pass'), 'A.__init__: no docment for x'),
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
