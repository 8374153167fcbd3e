"""What only a GPU can show, in one run: every CUDA branch against the reference, and every speed as a ratio.

    python tools/cuda_acceptance.py            # on a GPU
    TRITON_INTERPRET=1 python tools/cuda_acceptance.py --device cpu    # a rehearsal of the checks, no speeds

A check that fails is an assertion; a run that ends with `all checks passed` has passed them all."""
import argparse
import time
import warnings
from unittest.mock import patch

import torch

from beckman_nb.barycenter import beckman_barycenter
from beckman_nb.evaluate.results import tf32
from beckman_nb.layers import BeckmanBarycenter
from beckman_nb.marginals import Rotations, Translations
from beckman_nb.program.analytic import analytic_barycenter, transport_inactive
from beckman_nb.program.beckman import BeckmanParams
from beckman_nb.solvers import choose
from beckman_nb.solvers.gpu import gpu_pdhg
from beckman_nb.solvers.gpu_closed_form import gpu_analytic
from beckman_nb.solvers.memory import memory_limit
from beckman_nb.solvers.pdhg import pdhg
from beckman_nb.solvers.view_table import view_table


def check_closed_form(device, batch, side):
    "Image, gradients and certificate of the kernels against the reference on the CPU, in both precisions"
    for views, prices in ((1, BeckmanParams.published()), (2, BeckmanParams.published()),
                          (2, BeckmanParams.with_transport(side)), (3, BeckmanParams(.05, .6, .2, .05, .3))):
        for dtype, eps in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
            p, w = torch.rand(views, batch, 1, side, side, dtype=dtype), torch.rand(views, dtype=dtype) + .5
            mine = [t.clone().to(device).requires_grad_() for t in (p, w)]
            theirs = [t.clone().requires_grad_() for t in (p, w)]
            image, certified = gpu_analytic(mine[0], prices, mine[1])
            want = analytic_barycenter(theirs[0], prices, theirs[1])
            assert (image.cpu() - want).abs().max() <= eps, (views, dtype)
            if dtype == torch.float64: assert certified.equal(transport_inactive(p, prices, w))
            up = torch.rand_like(want)
            got = torch.autograd.grad(image, mine, up.to(device))
            expected = torch.autograd.grad(want, theirs, up)
            for a, b in zip(got, expected): assert ((a.cpu() - b).abs() <= 100*eps*(1 + b.abs())).all()


def check_tables(device, batch, side):
    "Views read straight from images against the views themselves"
    x = torch.rand(batch, 3, side, side)
    smooth, shifted = Rotations([3., -7.], 'bilinear', fill=.2), Translations([(1, 0)], 'edge')
    for views in (Rotations.published(), smooth, shifted):
        mine, theirs = (x.clone().to(place).requires_grad_() for place in (device, 'cpu'))
        table = view_table(views, (side, side), mine.device, mine.dtype)
        image, want = gpu_analytic(mine, table=table)[0], analytic_barycenter(views(theirs))
        (image*image).sum().backward()
        (want*want).sum().backward()
        assert (image.cpu() - want).abs().max() <= 1e-5
        assert (mine.grad.cpu() - theirs.grad).abs().max() <= 1e-4


def check_iterations(device, batch, side):
    "The solver against the reference, for planes in registers and in tiles"
    for views, dtype in ((2, torch.float32), (2, torch.float64), (3, torch.float32)):
        p, prices = torch.rand(views, batch, 1, side, side, dtype=dtype), BeckmanParams.with_transport(side)
        mine, theirs = gpu_pdhg(p.to(device), prices, tol=1e-3), pdhg(p, prices, tol=1e-3)
        assert mine.converged.all()
        assert ((mine.primal.cpu() - theirs.primal).abs() <= 2e-3*theirs.primal).all()


def peak_bytes(device, call):
    "The most that a call takes on a GPU, what it returns included; nothing is known about a CPU"
    if device.type != 'cuda': return call(), 0
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    found = call()
    return found, torch.cuda.max_memory_allocated(device) - before


def check_memory(device, batch, side):
    "A batch in parts is the batch, and takes no more than it may"
    p = torch.rand(2, batch, 1, side, side)
    p[0, ..., :side//2] *= .2
    there, size = p.to(device), p.numel()*p.element_size()
    for method in ('fused', 'pdhg', 'splitting'):
        def solve():
            how = dict(method=method, tol=1e-3, return_flow=True)
            return beckman_barycenter(there, BeckmanParams.with_transport(side), **how)
        whole, need = peak_bytes(device, solve)
        with memory_limit(15*size): several, held = peak_bytes(device, solve)
        assert held <= 15*size, (method, held/size)
        for name in ('image', 'flow', 'gap', 'primal'):
            assert (getattr(whole, name) - getattr(several, name)).abs().max() <= 1e-4, (method, name)
        if device.type != 'cuda': continue
        print(f'{method}: {need/size:.1f} times the marginals, in parts {held/size:.1f}')


def waits_of(call):
    "How often torch says that the host waited for the device"
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            call()
    finally: torch.cuda.set_sync_debug_mode('default')
    return sum('synchroniz' in str(o.message) for o in caught)


def launches_of(call):
    "How many kernels a call launches, by torch's profiler"
    kinds, names = torch.profiler.ProfilerActivity, ('cudaLaunchKernel', 'cuLaunchKernel')
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as profile: call()
    return sum(o.count for o in profile.key_averages() if o.key.startswith(names))


def seconds(call, repeats=10):
    "The least time of a call, with the device idle before and after"
    found = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)


def report(device, batch):
    "Launches, waits and ratios of the layer in closed form and of the solver, with TF32 as it is set"
    print(torch.cuda.get_device_name(device), 'torch', torch.__version__,
          'TF32', tf32())
    layer = BeckmanBarycenter.published()
    x = torch.rand(batch, 3, 32, 32, device=device, requires_grad=True)
    def step(): layer(x).sum().backward()
    def by_torch():
        with patch.object(choose, 'MISSING', {'triton'}): step()
    for _ in range(3): step(), by_torch()
    print('published layer, forward and backward:')
    for name, call in dict(kernels=step, torch=by_torch).items():
        print(f'{name}: {launches_of(call)} launches, {waits_of(call)} waits')
    print(f'by kernels {seconds(by_torch)/seconds(step):.1f}× less time')
    p, prices = torch.rand(2, batch, 3, 32, 32, device=device), BeckmanParams.with_transport(32)
    def fused(): gpu_pdhg(p, prices)
    def reference(): pdhg(p, prices)
    fused()
    gain = seconds(reference, 1)/seconds(fused, 3)
    print(f"solver with transport: {gain:.1f}× less time than the reference")


def check_streams(device):
    "A caller's stream, and `torch.autocast`, change nothing"
    x, layer = torch.rand(8, 3, 32, 32, device=device), BeckmanBarycenter.two_sided()
    want, stream = layer(x), torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream), torch.autocast('cuda'): got = layer(x)
    torch.cuda.current_stream(device).wait_stream(stream)
    assert got.equal(want)


def main():
    "Check, and where there is a GPU, measure"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda', help='cuda, or cpu for a rehearsal in the interpreter')
    device = torch.device(parser.parse_args().device)
    if device.type == 'cuda' and not torch.cuda.is_available():
        parser.error('device: expected a GPU, got none')
    torch.manual_seed(0)
    batch, side = (2, 6) if device.type == 'cpu' else (64, 32)
    places = [device]
    if device.type == 'cuda': places = [torch.device('cuda', i) for i in range(torch.cuda.device_count())]
    for place in places:
        for check in (check_closed_form, check_tables, check_iterations, check_memory):
            check(place, batch, side)
            print(place, check.__doc__, '- passed', flush=True)
    if device.type == 'cuda':
        check_streams(places[0])
        report(places[0], 512)
    print('all checks passed')


if __name__ == '__main__': main()
