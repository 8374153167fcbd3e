"""The site as a browser shows it, on a phone and on a screen.

Skipped where there is no site (`nbdev_docs` makes it), no node, or no browser. A browser comes from npm,
in any folder outside the checkout, which BECKMAN_BROWSER then names:

    npm install --prefix FOLDER playwright-core @sparticuz/chromium axe-core

An installed `chromium` is used instead of the packed one. BECKMAN_REPORTS names reports to look at, too,
as paths with a colon between them."""
import json, os, shutil, subprocess
from pathlib import Path

import pytest

from conftest import ROOT

DOCS = ROOT/'_docs'
READ = (
    'index.html', 'all.html', 'program/beckman.html', 'program/analytic.html', 'barycenter.html',
    'layers.html', 'train/callback.html', 'evaluate/robustness.html', 'tutorials/certificate.html',
    'tutorials/case_study.html')
LARGEST = 400_000  # bytes of a page


FAULTY = """<!DOCTYPE html><html lang="en"><head><title>x</title></head><body><main>
<p style="margin-top:500px"></p><h1>T</h1><p style="color:#bbb">pale</p>
<div style="width:900px">[wide](http://example.org)</div>
<img alt="a" src="http://example.org/a.png"></main><script>throw new Error('no')</script></body></html>"""


def missing():
    "What there is not to look with, or an empty string."
    folder = Path(os.environ.get('BECKMAN_BROWSER', ''))
    if not shutil.which('node'): return 'no node'
    if not os.environ.get('BECKMAN_BROWSER'): return 'BECKMAN_BROWSER names no folder with a browser'
    if not (folder/'node_modules'/'playwright-core').is_dir(): return f'no playwright-core in {folder}'
    packed = (folder/'node_modules'/'@sparticuz'/'chromium').is_dir()
    return '' if packed or shutil.which('chromium') else 'no chromium'


def look(pages, read):
    "What the browser finds on `pages`, and axe-core, where it is installed, on those to `read`."
    why = missing()
    if why: pytest.skip(why)
    folder = Path(os.environ['BECKMAN_BROWSER'])
    axe = ['--axe', *read] if (folder/'node_modules'/'axe-core').is_dir() else []
    command = ['node', ROOT/'tests'/'browser.mjs', folder, shutil.which('chromium') or '-', *pages, *axe]
    res = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=1800)
    if res.returncode == 3: pytest.skip(res.stderr.strip().splitlines()[0])
    assert res.returncode == 0, res.stderr
    return json.loads(res.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def seen():
    "What the browser finds on all pages: findings as (page, kind, what), and the hits of one search."
    if not DOCS.is_dir(): pytest.skip('no site: run nbdev_docs')
    reports = [o for o in os.environ.get('BECKMAN_REPORTS', '').split(os.pathsep) if o]
    return look([*sorted(DOCS.rglob('*.html')), *reports], [*(DOCS/o for o in READ), *reports])


def test_faults(tmp_path):
    "A page with every fault is found out."
    (tmp_path/'a.html').write_text(FAULTY)
    found = {o['kind'] for o in look([tmp_path/'a.html'], [tmp_path/'a.html'])['found']}
    assert found - {'axe'} == {'wide', 'title', 'markdown', 'console', 'outside'}


@pytest.mark.parametrize('kind', ['wide', 'title', 'markdown', 'console', 'outside', 'axe', 'search'])
def test_pages(seen, kind):
    """No page is wider than a phone, no title is below 400 pixels, no link is shown as Markdown, nothing goes
    wrong or is asked from outside, axe-core has no serious complaint (contrast too), and the search opens."""
    bad = [f'{o["page"]}: {o["what"]}' for o in seen['found'] if o['kind'] == kind]
    assert not bad, '\n'.join([f'{len(bad)} findings', *bad[:20]])


def test_search(seen):
    "The first hit for a function is its entry."
    assert seen['hits'] and seen['hits'][0].endswith('barycenter.html#beckman_barycenter'), seen['hits']


def test_sizes():
    "No page is so large that a phone waits for it."
    if not DOCS.is_dir(): pytest.skip('no site: run nbdev_docs')
    large = {p.name: p.stat().st_size for p in DOCS.rglob('*.html') if p.stat().st_size > LARGEST}
    assert not large
