"""One test per notebook, run by nbdev's own test machinery in a process of its own.

CI has already run every notebook with `nbdev_test`, the README's test command. So that it does not run
them twice, it names the log of that run in `BECKMAN_NBTEST_LOG`: then each test reads the notebook's outcome
there, and still fails for a notebook that the run left out. Without that variable each test executes its
notebook."""
import os, re
from configparser import ConfigParser
from pathlib import Path

import pytest

from conftest import ROOT

NBS = ROOT/'nbs'
NOTEBOOKS = sorted(p.relative_to(NBS).as_posix() for p in NBS.rglob('*.ipynb')
                   if not any(o[0] in '_.' for o in p.relative_to(NBS).parts))
RUN = """
import sys
from pathlib import Path
from nbdev.test import test_nb
ok, secs = test_nb(Path(sys.argv[1]), skip_flags=sys.argv[3].split(), basepath=sys.argv[2])
sys.exit(0 if ok else 1)
"""


def flags():
    "The test flags that `nbdev_test` skips."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']['tst_flags']


def log_outcome(log, name):
    """Whether the `nbdev_test` run that wrote `log` started and passed notebook `name`.

    Two processes write the log. Each writes a line and its end apart, so two lines may stand on one."""
    started = re.search(rf'Starting (?:(?!Starting |Completed ).)*/nbs/{re.escape(name)}', log)
    assert started, f'nbdev_test did not run {name}'
    failed = log.partition('nbdev Tests Failed On The Following Notebooks')[2]
    if failed: return not re.search(rf'^\s+{re.escape(Path(name).name)}$', failed, flags=re.M)
    return bool(re.search(r'^Success\.$', log, flags=re.M))


LOG = """Starting /a b/nbs/12_stats.ipynbStarting /a b/nbs/index.ipynb

- Completed /a b/nbs/index.ipynb- Completed /a b/nbs/12_stats.ipynb

Starting /a b/nbs/program/00_grid.ipynb
- Completed /a b/nbs/program/00_grid.ipynb
"""


@pytest.mark.parametrize('name', ['12_stats.ipynb', 'index.ipynb', 'program/00_grid.ipynb'])
def test_log_outcome(name):
    "A notebook is found wherever its line stands, and one that failed or did not run is told apart."
    assert log_outcome(LOG + 'Success.\n', name)
    assert not log_outcome(LOG, name), 'the run did not end'
    failed = f'nbdev Tests Failed On The Following Notebooks:\n====\n\t{Path(name).name}\n'
    assert not log_outcome(LOG + failed, name)
    left_out = LOG.replace(f'Starting /a b/nbs/{name}', '')
    with pytest.raises(AssertionError, match='did not run'): log_outcome(left_out + 'Success.\n', name)


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_notebook(name, run_python):
    "The notebook runs from its first cell to its last without an error."
    log = os.environ.get('BECKMAN_NBTEST_LOG')
    if log:
        text = Path(log).read_text(encoding='utf-8', errors='replace')
        assert log_outcome(text, name), f'{name} failed in nbdev_test: see {log}'
        return
    res = run_python(RUN, NBS/name, ROOT, flags(), cwd=NBS)
    assert res.returncode == 0, f'{name} failed:\n{res.stdout[-2000:]}\n{res.stderr[-8000:]}'
