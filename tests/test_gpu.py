"The paths that CUDA tensors take, on tensors that pretend to be there: devices, launches, waits and memory."
import ast
import json

from conftest import ROOT

SETUP = """
import os, sys
os.environ['TRITON_INTERPRET'] = '1'
sys.path.insert(0, 'tests')
import torch
from pretend_cuda import CURRENT, MEMORY, PretendCuda, pretend_cuda
from beckman_nb.barycenter import beckman_barycenter
from beckman_nb.layers import BeckmanBarycenter
from beckman_nb.marginals import Compose, Rotations, Translations
from beckman_nb.program.beckman import BeckmanParams
from beckman_nb import marginals
marginals.untraced = lambda call: call()   # tensors pretend in one thread only
torch.manual_seed(0)

def close(a, b, eps):
    assert a.device.type == 'cuda'
    assert (a.inner - b).abs().max() <= eps, (a.inner, b)

def placed(layer, place):
    "A layer with its weights on `place`; `Module.to` would swap memory, which tensors that pretend lack"
    for name, t in list(layer.named_parameters()):
        setattr(layer, name, torch.nn.Parameter(t.detach().to(place)))
    return layer

def check(make, place, size=(6, 5), eps=1e-6, warm=1):
    "A layer on `place` against itself on the CPU: image, gradients; launches and waits, once it is warm"
    x, layer = torch.rand(2, 1, *size), make()
    here = x.clone().requires_grad_()
    want = layer(here)
    up = torch.rand_like(want)
    want.backward(up)
    with pretend_cuda() as count:
        other, up = placed(make(), place), up.to(place)
        for _ in range(1 + warm):
            other.zero_grad()
            there = x.to(place).requires_grad_()
            count.clear()
            got = other(there)
            forward = count.launches, count.waits
            got.backward(up)
    close(got, want, eps)
    close(there.grad, here.grad, 20*eps)
    for a, b in zip(layer.parameters(), other.parameters()): close(b.grad, a.grad, 20*eps)
    assert {got.device, there.grad.device} == {torch.device(place)}, (got.device, there.grad.device)
    print(place, *forward, count.launches, count.waits)
    return count
"""


def lines(res):
    "What a process printed, as words; its error if it failed."
    assert res.returncode == 0, res.stderr[-3000:]
    return [line.split() for line in res.stdout.splitlines()]


PRETEND = """
x = torch.rand(3, 4)
with pretend_cuda() as count:
    a = x.to('cuda:1').requires_grad_()
    (2*a).sum().backward()
    assert a.is_cuda and a.grad.device == torch.device('cuda:1') and (a.grad.inner == 2).all()
    count.clear()
    a.detach()[1:].T.clamp(min=.5).sum().item()
    assert (count.launches, count.waits) == (2, 1), count.log
    for wrong in (lambda: a + x, lambda: a + x.to('cuda:0'), lambda: a + torch.arange(4, device='cuda')):
        try: wrong()
        except RuntimeError as e: assert 'one device' in str(e)
        else: raise AssertionError('devices were mixed')
    from beckman_nb.solvers.gpu_closed_form import gpu_analytic
    import beckman_nb.solvers.gpu_closed_form as kernels
    p = torch.rand(2, 1, 1, 3, 3).to('cuda:1')
    gpu_analytic(p)
    def unguarded(kernel, grid, *args, **how): kernel[grid](*args, **how)
    kernels.launch = unguarded
    try: gpu_analytic(p)
    except RuntimeError as e: assert 'launched on cuda:0' in str(e)
    else: raise AssertionError('a launch on another device was not noticed')
"""


def test_pretending(run_python):
    "The stand-in counts, refuses mixed devices, and notices a launch on another device than its tensors."
    lines(run_python(SETUP + PRETEND))


PUBLISHED = """
for place in ('cuda:0', 'cuda:1'):
    check(BeckmanBarycenter.published, place)
    check(BeckmanBarycenter.two_sided, place)
weighed = dict(params=BeckmanParams(1., .5, .1, .05, .2))
def trained():
    weights = torch.nn.Parameter(torch.tensor([1., 2.]))
    return BeckmanBarycenter(Rotations([3., -8.], 'bilinear'), weights=weights, **weighed)
check(trained, 'cuda:1')
"""


def test_closed_form_layers(run_python):
    "Forward and backward of a layer in closed form: at most 6 launches and 1 wait (by torch 219 and 9)."
    found = lines(run_python(SETUP + PUBLISHED))
    assert len(found) == 5
    for place, *counts in found[:4]: assert counts == ['1', '1', '2', '1'], (place, counts)
    launches, waits = map(int, found[4][3:])
    assert launches <= 6 and waits == 1


OTHERS = """
def composed(): return BeckmanBarycenter(Compose(Rotations([4., -4.]), Translations([(1, 0)])))
def moving():
    return BeckmanBarycenter(Translations([(0, 0), (0, 1)]), BeckmanParams(.02, .5, .1, .05, .1), tol=1e-3)
check(composed, 'cuda:1')
count = check(moving, 'cuda:1', (4, 4), eps=2e-3, warm=0)
assert '_pair_kernel' in count.log
rounds = ' '.join(o.replace(' ', '-') for o in count.log).split('_judge_kernel')[1:-1]
assert rounds and all(o.count('cuda:1-to-cpu') == 1 and 'scalar' not in o for o in rounds), rounds
def through(): return BeckmanBarycenter.published(backward='identity')
check(through, 'cuda:1')
"""


def test_other_layers(run_python):
    "Views without a table, a layer where mass moves, a backward pass that goes through: no device is mixed."
    found = lines(run_python(SETUP + OTHERS))
    assert int(found[0][3]) <= 24 and found[0][4] == '2' and found[2][3:] == ['4', '1'], found


FUNCTION = """
p = torch.rand(2, 2, 1, 3, 3)
p[1, 0] = p[0, 0]
prices = BeckmanParams(.05, .5, .1, .05, .1)
asked = dict(tol=1e-2, return_flow=True, return_dual=True)
for n, method in ((2, 'auto'), (2, 'pdhg'), (2, 'splitting'), (3, 'auto')):
    views = p if n == 2 else torch.cat([p, p[:1]])
    want = beckman_barycenter(views, prices, method=method, **asked)
    with pretend_cuda() as count:
        got = beckman_barycenter(views.to('cuda:1'), prices, method=method, **asked)
        assert got.converged.inner.all() and got.gap.device == torch.device('cuda:1')
        for name in ('image', 'flow', 'multipliers', 'x'):
            assert getattr(got, name).device == torch.device('cuda:1')
    close(got.image, want.image, 2e-2)
    print(method, got.method)
"""


def test_function(run_python):
    "`beckman_barycenter` by every method on a GPU that is not the current one."
    found = lines(run_python(SETUP + FUNCTION))
    assert [o[0] for o in found] == ['auto', 'pdhg', 'splitting', 'auto']


SHORT = """
import gc, warnings
from contextlib import contextmanager
from unittest.mock import patch
from beckman_nb.distance import beckman_distance
from beckman_nb.solvers import choose, memory
warnings.simplefilter('ignore')
memory.SMALL = 0    # tensors as small as these are asked about, too

@contextmanager
def only(total):
    "A device that has so many bytes beside what is on it already"
    gc.collect()
    MEMORY.clear(MEMORY.live + total)
    try: yield MEMORY.live
    finally: MEMORY.clear()

def uncut(way, p, most=None, dim=1, views=1): return [slice(0, p.shape[dim])]

def short(name, call, share=.7):
    "With less memory than a call needs: the same result, within what there is; uncut it is torch's own error"
    with only(float('inf')) as before:
        want = call()
        need = MEMORY.peak - before
    with only(share*need) as before:
        got = call()
        assert MEMORY.peak - before <= share*need
    for a, b in zip(want, got): assert (a.inner - b.inner).abs().max() <= 1e-5, name
    try:
        with only(share*need), patch.object(choose, 'parts', uncut): call()
    except torch.OutOfMemoryError as e: print(name, need)
    assert not choose.MISSING
"""

PIECES = SHORT + """
prices = BeckmanParams(.02, .5, .1, .05, .1)
p = torch.rand(2, 8, 1, 3, 3)
p[0, ..., :1] *= .2
shift = torch.rand(8, 1, 4, 4)
with pretend_cuda() as count:
    there = p.to('cuda:1')
    def solved(method):
        limits = dict(tol=0., max_iters=20)
        found = beckman_barycenter(there, prices, method=method, return_flow=True, **limits)
        return found.image, found.flow, found.gap, found.primal
    for method in ('fused', 'pdhg', 'splitting'): short(method, lambda: solved(method))
    short('gap', lambda: choose.still_gap(there, prices, torch.ones(2, 8).to('cuda:1'), there[0]))
    asked = there.clone().requires_grad_()
    start = beckman_barycenter(asked, prices, method='pdhg', tol=0., max_iters=20).image
    def slope(): return torch.autograd.grad(start.sum(), asked, retain_graph=True)
    short('gradient', slope)
    a, b = shift.to('cuda:1'), shift.flip(0).to('cuda:1')
    def distance():
        found = beckman_distance(a, b, mu=2., tol=0., max_iters=10, return_flow=True)
        return found.value, found.gap, found.flow
    short('distance', distance, .9)
    images, layer = torch.rand(8, 1, 4, 4).to('cuda:1'), BeckmanBarycenter.published()
    layer(images)
    whole = layer(images)
    with only(5*images.numel()*4):
        count.clear()
        several = layer(images)
        print('launches', count.launches)
    assert (whole.inner == several.inner).all()
"""


def test_pieces(run_python):
    "A batch that does not fit is solved in pieces; running out of memory is torch's error, and stays one."
    found = lines(run_python(SETUP + PIECES))
    assert [o[0] for o in found] == [
        'fused', 'pdhg', 'splitting', 'gap', 'gradient', 'distance', 'launches'], found
    assert int(found[-1][1]) > 2    # one a piece, and one that puts them together


USED = SHORT + """
from beckman_nb.solvers.gpu import gpu_pdhg
from beckman_nb.solvers.gpu_closed_form import gpu_analytic
from beckman_nb.solvers.view_table import view_table
prices = BeckmanParams(.02, .5, .1, .05, .1)

def used(call, p):
    "At the peak and for good, in bytes of the marginals"
    with only(float('inf')) as before:
        kept = call()
        return [(o - before)/(p.numel()*p.element_size()) for o in (MEMORY.peak, MEMORY.live)]

with pretend_cuda():
    p = torch.rand(1, 6, 1, 16, 16).to('cuda:1')
    w = torch.ones(1, 6).to('cuda:1')
    asked = p.clone().requires_grad_()
    def closed():
        image = gpu_analytic(asked, prices, w)[0]
        return image, torch.autograd.grad(image.sum(), asked)
    def iterated(): return gpu_pdhg(p, prices, w, tol=0., max_iters=2, levels=1)
    for name, call in dict(closed_gpu=closed, gpu=iterated).items():
        print(name, *used(call, p), *choose.NEEDS[name])
"""


def test_needs(run_python):
    "What the kernels' callers take is what the table of needs says, and not much less."
    for name, peak, kept, most, left in lines(run_python(SETUP + USED)):
        assert .5*float(most) < float(peak) <= float(most) and float(kept) <= float(left), name


SEEDS = """
from pretend_cuda import PretendGenerator, pretend_dice
from beckman_nb.layers import RandomBarycenter, RandomPose
from beckman_nb.noise import FlowNoise
from beckman_nb.train.attacks import pgd, seeded
from beckman_nb.train.recipes import coin, same_class
from beckman_nb.train.resume import random_states, set_random_states

def same(a, b): return all(x.equal(y) for x, y in zip(a, b))
def everything(dice): return [torch.get_rng_state(), *dice.states()]

for place in ('cpu', 'cuda:0', 'cuda:1', 'cuda'):
    with pretend_dice() as dice:
        found = []
        for _ in range(2):
            torch.rand(2), dice.draw(0), dice.draw(1)    # so that nothing is the same but the seed
            before = everything(dice)
            with seeded(7, torch.device(place)):
                found.append([torch.rand(3).tolist(), place != 'cpu' and dice.draw(place)])
                others = [i for i in range(2) if place == 'cpu' or dice.at(i) is not dice.at(place)]
                assert all(dice.at(i).get_state().equal(before[1 + i]) for i in others), place
                torch.manual_seed(99)    # as AutoAttack does: of all devices
                assert 99 in dice.asked
            assert same(everything(dice), before), place
        assert found[0] == found[1], place
with pretend_dice(used=False) as dice:
    with seeded(7, torch.device('cpu')): pass
    assert not dice.asked    # a seed that would wait for the first use of CUDA
with pretend_dice(2) as dice:
    kept = random_states()
    first = dice.draw(0), dice.draw(1)
    set_random_states(kept)
    assert (dice.draw(0), dice.draw(1)) == first
with pretend_dice(1) as dice:    # goes on where there are fewer
    set_random_states(kept)
    assert dice.draw(0) == first[0]
set_random_states(kept)          # and where there is none

x, y, noise = torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]), FlowNoise(4, 1., create=.1)
def net(x): return x.flatten(1)[:, :2]
for generator in (torch.Generator(), PretendGenerator()):
    with pretend_cuda():
        there, labels = x.to('cuda:0'), y.to('cuda:0')
        for source in (x, there):    # whose device need not be the generator's
            pgd(net, source, y.to(source.device), steps=1, generator=generator)
        same_class(labels, generator), coin(generator)
        RandomPose().draw(generator), RandomBarycenter().draw(generator)
        noise.sample(x, generator)
        elsewhere = 'cuda' if type(generator) is torch.Generator else 'cpu'
        try: torch.rand(3, generator=generator, device=elsewhere)
        except RuntimeError as e: assert 'device type' in str(e)
        else: raise AssertionError('a generator of another device was not noticed')
"""


def test_seeds(run_python):
    "Random numbers are those of the device in use, and every generator is put back, whoever seeded it."
    lines(run_python(SETUP + SEEDS))


def trees():
    "The syntax tree of every module of the package, by its file."
    return {path: ast.parse(path.read_text(encoding='utf-8')) for path in (ROOT/'beckman_nb').rglob('*.py')}


def calls(tree): return [o for o in ast.walk(tree) if isinstance(o, ast.Call)]


def test_launches():
    "A kernel is launched in one place, which makes the device of its tensors the current one."
    found = []
    for path, tree in trees().items():
        imported = {o.name for node in ast.walk(tree) if isinstance(node, ast.Import) for o in node.names}
        if 'triton' not in imported: continue
        found += [(path.name, ast.unparse(o.func)) for o in calls(tree) if isinstance(o.func, ast.Subscript)]
    assert found == [('gpu.py', 'kernel[grid]')], found


def test_streams():
    "The package has no stream of its own and captures no graph; what tries them waits both ways."
    for path, tree in trees().items():
        used = {o.attr for o in ast.walk(tree) if isinstance(o, ast.Attribute)}
        assert not used & {'Stream', 'stream', 'CUDAGraph', 'make_graphed_callables'}, path
    texts = [ROOT.joinpath('tools', 'cuda_acceptance.py').read_text(encoding='utf-8')]
    for path in (ROOT/'nbs').rglob('*.ipynb'):
        texts += [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]
    using = [o for o in texts if 'torch.cuda.Stream(' in o]
    assert len(using) >= 2
    for text in using: assert text.count('.wait_stream(') >= 2*text.count('torch.cuda.Stream('), text


def test_precision():
    "Whoever records versions says on what device, so that TF32 is recorded where it acts."
    found = {}
    for path, tree in trees().items():
        for o in calls(tree):
            if getattr(o.func, 'id', '') == 'versions': found.setdefault(path.stem, []).append(len(o.args))
    assert set(found) >= {'robustness', 'certify', 'finetune', 'layers', 'paper'}
    assert all(count == 1 for counts in found.values() for count in counts), found
