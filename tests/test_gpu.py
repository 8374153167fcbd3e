"The paths that CUDA tensors take, on tensors that pretend to be there: devices, launches and waits."
SETUP = """
import os, sys
os.environ['TRITON_INTERPRET'] = '1'
sys.path.insert(0, 'tests')
import torch
from pretend_cuda import CURRENT, PretendCuda, pretend_cuda
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
