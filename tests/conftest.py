"What the tests share: where the repository is, and running Python in a process of its own."
import os, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def run_python():
    "A function that runs `code` in a fresh Python, from `cwd`, and returns the finished process."
    def _run(code, *args, cwd=ROOT, timeout=600):
        folders = [str(ROOT), os.environ.get('PYTHONPATH')]
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, folders)))
        command = [sys.executable, '-c', code, *map(str, args)]
        return subprocess.run(command, cwd=cwd, env=env, timeout=timeout,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return _run
