"""Every number of the pages on results, computed again from the stored answers, is what the page says."""
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ['tutorials/truth', 'tutorials/paper', 'tutorials/search', 'tutorials/layer', 'tutorials/certificate',
         'studies/65_truth']


def shown(cell):
    "The tables and sentences of a cell, as they are stored with it"
    outputs = [o.get('data', {}).get('text/markdown', '') for o in cell.get('outputs', [])]
    return [''.join(o) for o in outputs if o]


@pytest.mark.parametrize('page', PAGES)
def test_page_says_what_the_answers_say(page, monkeypatch):
    "A page that is run again ends in the same tables and sentences"
    shell = pytest.importorskip('execnb.shell').CaptureShell()
    path = ROOT/'nbs'/f'{page}.ipynb'
    monkeypatch.chdir(path.parent)
    checked = 0
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or '#| slow' in source or '#| default_exp' in source: continue
        if 'nbdev_export()' in source: continue
        found = shell.run(source)
        assert not shell.exc, f'{cell["id"]}: {shell.exc}'
        for said in shown(cell):
            assert said in shown(dict(outputs=found)), f'{page}, cell {cell["id"]} says something else now'
            checked += 1
    assert checked, f'{page} holds no number'


def test_readme_says_what_the_answers_say():
    "The sentences on results of the front page are those that the answers give"
    from beckman_nb.studies.truth import front_lines
    plain = str.maketrans('', '', '\\*\n ')
    readme = (ROOT/'README.md').read_text(encoding='utf-8').translate(plain)
    for line in front_lines(): assert line.translate(plain) in readme, line
