"Every kernel compiles for two generations of GPUs where there is none, and fits into their registers."
import sys

import pytest

TABLE = """
import os
os.environ['TRITON_INTERPRET'] = '0'
import torch
from beckman_nb.solvers.gpu_compile import kernel_table
for views, dtype in ((2, torch.float32), (2, torch.float64), (3, torch.float32)):
    for o in kernel_table(views, 32, dtype):
        print(o.kernel, views, str(dtype)[6:], o.arch, o.warps, o.registers, o.stack, o.shared)
        assert 'ld.global.nc' not in o.ptx, f'{o.kernel}: what other threads wrote may be missed'
"""


@pytest.fixture(scope='module')
def table(run_python):
    "A row per kernel, views, dtype and generation: warps, registers, bytes of stack and of shared memory."
    pytest.importorskip('triton')
    if sys.platform != 'linux': pytest.skip('Triton compiles on Linux')
    res = run_python(TABLE)
    assert res.returncode == 0, res.stderr[-3000:]
    return [(*row[:3], *map(int, row[3:])) for row in map(str.split, res.stdout.splitlines())]


def test_all_kernels(table):
    "The table holds every kernel that is launched, on both generations."
    closed = {'_forward_kernel', '_backward_kernel'}
    tiled = {'_image_kernel', '_flow_kernel', '_price_kernel'}
    for arch in (80, 90):
        found = {views: {row[0] for row in table if row[1] == views and row[3] == arch} for views in '23'}
        judge = {'_judge_kernel'}
        assert found == {'2': closed | judge | {'_pair_kernel'}, '3': closed | judge | tiled}


def test_registers(table):
    "In float32: room for half the warps at memory's pace, for two programs where much stays in registers."
    for kernel, views, dtype, arch, warps, registers, stack, shared in table:
        assert registers <= 255 and registers*warps*32 <= 65_536 and shared <= 48*1024
        if dtype != 'float32': continue
        assert stack <= 16, (kernel, arch, stack)
        heavy = kernel in ('_pair_kernel', '_judge_kernel')    # the latter computes in float64
        assert registers <= (128 if heavy else 64), (kernel, arch, registers)
