"Layers leave the package by torch.compile, torch.export, torch.jit.trace and ONNX, or say why not."
import json
from importlib.util import find_spec
from shutil import which

import pytest

# What every process begins with: layers by name, images to record, and others to compare on, in batches
# of other sizes: black and white ones, grey levels that tie, and random ones.
START = """
import json, sys, warnings
import torch
from torch import nn
from beckman_nb.layers import (
    Averaged, BeckmanBarycenter, Defended, RandomBarycenter, control_defenses)
from beckman_nb.marginals import Compose, Rotations, Translations
from beckman_nb.program.beckman import BeckmanParams

torch.manual_seed(0)
side, moves = 20, BeckmanParams.with_transport(20)

def net():
    "A small network with a convolution"
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5))

makers = {
    'published': BeckmanBarycenter.published,
    'two_sided': BeckmanBarycenter.two_sided,
    'defended': lambda: Defended(BeckmanBarycenter.two_sided(), net()),
    'averaged': lambda: Averaged([BeckmanBarycenter.published(), BeckmanBarycenter.two_sided()], net()),
    'one view': lambda: BeckmanBarycenter(Rotations(4), BeckmanParams(1., .5, .1, .05)),
    'five views': lambda: BeckmanBarycenter(Rotations([4, -4, 0, 9, -9], 'bilinear', .2)),
    'composed': lambda: BeckmanBarycenter(
        Compose(Rotations([9, -9]), Translations([(0, 0), (1, 2)], 'edge'))),
    'weighted': lambda: BeckmanBarycenter.two_sided(weights=[1., 2.]),
    'kappa': lambda: BeckmanBarycenter(Rotations([9, -9, 0]), BeckmanParams(1., .5, .1, .1, .1)),
    'analytic': lambda: BeckmanBarycenter(Rotations.two_sided(), moves, method='analytic'),
    'identity': lambda: BeckmanBarycenter.two_sided(backward='identity'),
    'transport': lambda: BeckmanBarycenter.with_transport(side),
    'defended transport': lambda: Defended(BeckmanBarycenter.with_transport(side), net()),
    'iterates': lambda: BeckmanBarycenter.two_sided(method='pdhg'),
    'random': RandomBarycenter,
    **{name: lambda control=control: control for name, control in control_defenses().items()}}

def images(dtype):
    "A batch to record, and batches to compare on"
    x = torch.rand(3, 3, side, side, dtype=dtype)
    hard = torch.rand(5, 3, side, side, dtype=dtype)
    hard[0], hard[1] = 0, 1
    hard[2, :, :10] = 0
    hard[3] = (10*hard[3]).round()/10
    return x, [x, hard, hard[2:3], 1 - x[:2]]

def compiled(layer, x):
    "By torch.compile, in one graph"
    return torch.compile(layer, fullgraph=True, backend='BACKEND')

batch = torch.export.Dim('batch')

def exported(layer, x):
    "By torch.export, for batches of any size"
    return torch.export.export(layer, (x,), dynamic_shapes=[{0: batch}]).module()

def traced(layer, x):
    "By torch.jit.trace, without a warning that something is frozen"
    with warnings.catch_warnings():
        warnings.simplefilter('error', torch.jit.TracerWarning)
        return torch.jit.trace(layer, x)

def onnx(layer, x):
    "By ONNX, in ONNX Runtime"
    import onnx, onnxruntime
    program = torch.onnx.export(layer, (x,), dynamo=True, dynamic_shapes=[{0: batch}], verbose=False)
    onnx.checker.check_model(program.model_proto)
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])

route = dict(compile=compiled, export=exported, trace=traced, onnx=onnx)[sys.argv[1]]
names, precise = sys.argv[2].split(','), sys.argv[3] == 'double'
dtype = torch.float64 if precise else torch.float32
"""

COMPARE = START + """
def pulled(f, images):
    "The gradient of a fixed mix of the answers, by the images"
    z = images.clone().requires_grad_()
    answers = f(z)
    mix = torch.linspace(-1, 1, answers.numel(), dtype=dtype).view_as(answers)
    return torch.autograd.grad((mix*answers).sum(), z)[0]

def worst(pairs): return max((a - b).abs().max().item() for a, b in pairs)

found = {}
x, others = images(dtype)
for name in names:
    torch.compiler.reset()
    layer = makers[name]().to(dtype).eval()
    away = route(layer, x) # before the layer has ever been called
    with torch.no_grad(): answers = [away(o) for o in others]
    found[name] = [worst([(a, layer(o)) for a, o in zip(answers, others)])]
    if sys.argv[1] != 'onnx': found[name].append(worst([(pulled(away, o), pulled(layer, o)) for o in others]))
print(json.dumps(found))
"""

REFUSED = START + """
def reasons(error):
    "An error and what it came from"
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

found = {}
x, _ = images(dtype)
for name in names:
    try: route(makers[name]().to(dtype), x)(x)
    except Exception as e:
        said = [str(o) for o in reasons(e) if isinstance(o, ValueError)]
        found[name] = [str(e), said[-1] if said else '']
print(json.dumps(found))
"""

BACKEND = 'inductor' if which('g++') else 'aot_eager'   # without a C++ compiler: the same graph, run by torch
CLOSED = ('published', 'two_sided', 'defended', 'averaged', 'one view', 'five views', 'composed', 'weighted',
          'kappa', 'analytic', 'identity', 'shift 1 px', 'rotate 4°', 'darken 0.1')
MOVING = ('transport', 'defended transport', 'iterates')
ROUTES = ('compile', 'export', 'trace', 'onnx')
NEEDED = ('onnx', 'onnxscript', 'onnxruntime')


@pytest.fixture
def away(run_python):
    "A function that runs a route on layers in a process of its own, and returns what it found."
    def _away(code, route, names, precision='single', backend='eager'):
        missing = [o for o in NEEDED if find_spec(o) is None]
        if route == 'onnx' and missing: pytest.skip(f"not installed: {', '.join(missing)}")
        res = run_python(code.replace('BACKEND', backend), route, ','.join(names), precision)
        assert res.returncode == 0, res.stderr[-2000:]
        return json.loads(res.stdout.splitlines()[-1])
    return _away


SOME = ('published', 'two_sided', 'defended', 'five views')   # where each takes seconds


@pytest.mark.parametrize('route, precision, names, backend', [
    ('compile', 'single', SOME, 'aot_eager'),
    ('compile', 'double', ('two_sided',), 'aot_eager'),
    ('compile', 'single', ('two_sided',), BACKEND),
    ('export', 'single', CLOSED, ''),
    ('export', 'double', SOME, ''),
    ('trace', 'single', CLOSED, ''),
    ('trace', 'double', SOME, ''),
    ('onnx', 'single', SOME, ''),
    ('onnx', 'double', ('two_sided',), '')])
def test_same_answers(away, route, precision, names, backend):
    "A fresh layer leaves by every route, and answers and pulls as it does here, on other batches."
    found = away(COMPARE, route, names, precision, backend)
    assert list(found) == list(names)
    wrong = {name: errors for name, errors in found.items() if not max(errors) <= 1e-6}
    assert not wrong


@pytest.mark.parametrize('route', ROUTES)
def test_refusals(away, route):
    "Where iterations depend on an image's values, every route says so in one sentence, and what to do."
    found = away(REFUSED, route, MOVING)
    assert set(found) == set(MOVING)
    for said, reason in found.values():
        assert 'method: expected a closed form' in said and "method='analytic'" in said.replace("\\'", "'")
        if route != 'compile': assert reason in said and reason.startswith('method: ') and '\n' not in reason


@pytest.mark.parametrize('route', ['export', 'trace', 'onnx'])
def test_nothing_drawn_is_recorded(away, route):
    "A layer that draws is not recorded with its first drawing."
    said, reason = away(REFUSED, route, ['random'])['random']
    assert reason.startswith('draw: expected') and reason in said


ALIKE = START + """
torch._dynamo.config.recompile_limit = 16
x, _ = images(dtype)
for angles in ((4, -4), (9, -4), (4, -4)):
    for fill in (0., .3, 'edge'):
        layer = BeckmanBarycenter(Rotations(angles, fill=fill))
        assert (compiled(layer, x)(x) - layer(x)).abs().max() < 1e-6, (angles, fill)
layer(torch.rand(2, 3, 9, 7))
assert compiled(layer, x)(torch.rand(2, 3, 9, 7)).shape == (2, 3, 9, 7)
print('{}')
"""


def test_compiled_layers_keep_apart(away):
    "Code compiled for one layer is not taken for another with other angles, borders or sizes."
    assert away(ALIKE, 'compile', ['published']) == {}
