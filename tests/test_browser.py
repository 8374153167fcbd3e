"""The site as a browser shows it, on a phone and on a screen.

Skipped where there is no site (`nbdev_docs` makes it), no node, or no browser. A browser comes from npm, in any
folder outside the checkout, which BECKMAN_BROWSER then names:

    npm install --prefix FOLDER playwright-core @sparticuz/chromium axe-core

An installed `chromium` is used instead of the packed one. BECKMAN_REPORTS names reports to look at, too, as paths with
a colon between them."""
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


def missing():
    "Why there is nothing to look at or to look with, or an empty string."
    folder = Path(os.environ.get('BECKMAN_BROWSER', ''))
    if not DOCS.is_dir(): return 'no site: run nbdev_docs'
    if not shutil.which('node'): return 'no node'
    if not os.environ.get('BECKMAN_BROWSER'): return 'BECKMAN_BROWSER names no folder with a browser'
    if not (folder/'node_modules'/'playwright-core').is_dir(): return f'no playwright-core in {folder}'
    packed = (folder/'node_modules'/'@sparticuz'/'chromium').is_dir()
    return '' if packed or shutil.which('chromium') else 'no chromium'


@pytest.fixture(scope='module')
def seen():
    "What the browser finds on all pages: findings as (page, kind, what), and the hits of one search."
    why = missing()
    if why: pytest.skip(why)
    folder = Path(os.environ['BECKMAN_BROWSER'])
    reports = [o for o in os.environ.get('BECKMAN_REPORTS', '').split(os.pathsep) if o]
    pages = [*map(str, sorted(DOCS.rglob('*.html'))), *reports]
    read = [*(str(DOCS/o) for o in READ), *reports]
    has_axe = (folder/'node_modules'/'axe-core').is_dir()
    command = ['node', str(ROOT/'tests'/'browser.mjs'), str(folder), shutil.which('chromium') or '-', *pages]
    res = subprocess.run([*command, *(['--axe', *read] if has_axe else [])], capture_output=True, text=True, timeout=1800)
    assert res.returncode == 0, res.stderr
    return json.loads(res.stdout.splitlines()[-1])


@pytest.mark.parametrize('kind', ['wide', 'title', 'markdown', 'console', 'outside', 'axe', 'search'])
def test_pages(seen, kind):
    """No page is wider than a phone, no title is below 400 pixels, no link is shown as Markdown, nothing goes wrong or
    is asked from outside, axe-core has no serious complaint (contrast among them), and the search opens."""
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
