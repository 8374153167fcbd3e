"The sanity checks: silent on honest networks in every norm, loud on masked ones, resumable from a folder."
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from beckman_nb.data import load_arrays
from beckman_nb.evaluate.report import make_report, write_report
from beckman_nb.evaluate.robustness import robustness
from beckman_nb.evaluate.rules import eps_grid, within
from beckman_nb.evaluate.sanity import Checks, sanity_checks
from beckman_nb.evaluate.chance import added
from beckman_nb.layers import BeckmanBarycenter
from beckman_nb.models import small_cnn
from beckman_nb.runs import Units
from beckman_nb.threat import ThreatModel
from beckman_nb.train.attacks import fgsm


class Round(nn.Module):
    "Nine gray values, and a gradient of zero"
    def forward(self, x): return (8*x).round()/8


class Noise(nn.Module):
    "Another image every time"
    def forward(self, x): return (x + .3*torch.randn_like(x)).clamp(0, 1)


class Saturated(nn.Module):
    "Probabilities that have rounded to zero and one"
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x): return (1e4*self.net(x)).softmax(1)


@pytest.fixture(scope='module')
def digits():
    "Test images of the embedded digits."
    torch.set_num_threads(1)
    return load_arrays('digits').tensors('test')


@pytest.fixture(scope='module')
def net(digits):
    "A small network after a few seconds of adversarial training."
    x, y = load_arrays('digits').tensors('train')
    torch.manual_seed(0)
    net, gen = small_cnn(10, in_channels=1, width=8), torch.Generator().manual_seed(0)
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(7):
        for i in torch.randperm(len(x), generator=gen).split(64):
            loss = F.cross_entropy(net(fgsm(net, x[i], y[i], eps=.1, generator=gen)), y[i])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return net.eval()


def alarms(found): return {o['check'] for o in found.alarms}


def test_rule():
    "Noise on few images does not fire; it is monotone in what the challenger adds, strict on many images."
    assert added(1, 0, 20) == 'pass' and added(0, 0, 1) == 'pass'
    for n in (20, 100, 1000):
        seen = [added(k, n//2, n) for k in range(n//2)]
        assert seen == sorted(seen, key=['pass', 'warn', 'fail'].index), n
    assert added(40, 500, 1000) == 'warn' and added(20, 500, 1000) == 'pass'


def test_grid():
    "Radii start at zero, rise, contain the one in question, and end where every image can turn gray."
    cases = (('Linf', 8/255, .5), ('L2', .5, .5*3072**.5), ('L1', 12., 1536.),
             ('Linf', .5, .5), ('Linf', .4, .5))
    for norm, eps, top in cases:
        grid = eps_grid(eps, norm)
        assert grid[0] == 0 and grid[-1] == top and grid == sorted(set(grid)), (norm, eps, grid)
        assert eps in grid


@pytest.mark.parametrize('norm,eps', [('L2', 1.), ('L1', 8.)])
def test_silent_in_other_norms(net, digits, norm, eps):
    "An honest network, bare and behind the published barycenter, gives no alarm in L2 and L1."
    found = sanity_checks(net, digits, BeckmanBarycenter(), eps=eps, norm=norm, quick=True, n=40)
    assert isinstance(found, Checks) and not found.alarms, found.alarms
    assert len({(o['network'], o['defense']) for o in found}) == 2


def test_masked(net, digits):
    """Rounding, noise and saturation fire, each the checks that are for it (noise, attacked by EOT, only the
    one for randomness), and the bare network beside them stays silent."""
    found = sanity_checks(net, digits, {'round': Round(), 'noise': Noise()}, eps=.1, quick=True, n=60)
    by = {d: alarms(Checks(o for o in found if o['defense'] == d)) for d in ('none', 'round', 'noise')}
    assert not by['none']
    assert by['round'] >= {'black-box', 'straight-through', 'end to end', 'zero gradients', 'down to chance',
                           'AutoAttack: zero gradients'}
    assert by['noise'] == {'batch size'}
    saturated = sanity_checks(Saturated(net), digits, eps=.1, quick=True, n=60)
    assert alarms(saturated) >= {'zero gradients', 'AutoAttack: probabilities'}


def test_resumes_from_a_folder(net, digits, tmp_path):
    "A second run reads every piece from the folder and says the same; a run that was stopped goes on."
    def pieces(): return len(list((tmp_path/'state').glob('*.piece')))
    def checks(units=None):
        return sanity_checks(net, digits, BeckmanBarycenter(), eps=.1, quick=True, n=24, units=units)
    def run(stop=None):
        units = Units(folder=tmp_path/'state', settings=dict(test=1))
        def limited(key, f, *args):
            if stop is not None and pieces() >= stop: raise InterruptedError
            return units(key, f, *args)
        return checks(limited), units
    for stop in (3, 8):
        with pytest.raises(InterruptedError): run(stop)
    (one, first), (two, second) = run(), run()
    assert json.dumps(one) == json.dumps(two) == json.dumps(checks())
    assert first.resumed == 8 and second.resumed == pieces() > 8


def test_report_shows_the_checks(net, digits, tmp_path):
    "Checks travel into JSON, CSV, HTML and the verdict; alarms are said, passes are counted."
    how = dict(quick=True, name='net')
    res = robustness(net, digits, {'round': Round()}, eps=.1, n=30, controls=False, progress=False, **how)
    found = sanity_checks(net, digits, {'round': Round()}, res, n=60, **how)
    files = write_report(res, tmp_path/'out', checks=found)
    assert {'checks.csv', 'eps.png'} <= files.keys()
    stored, page = json.loads(files['results.json'].read_text()), files['report.html'].read_text()
    assert [o for o in stored['flags'] if 'values' in o] == list(found)
    assert '<td class="fail">' in page and '<td class="pass">' in page
    said = make_report(res, checks=found).verdict
    assert 'zero gradients (FAILED, net/round)' in said and 'net/none' not in said
    assert f"{found.count('pass')} passed" in said


def test_other_images(net, digits):
    "A result of other images, or images outside [0,1], is refused by name."
    x, y = digits
    res = robustness(net, (x, y), eps=.1, quick=True, n=12, controls=False, progress=False)
    with pytest.raises(ValueError, match='result: belongs to other images'):
        sanity_checks(net, (x.flip(0), y.flip(0)), result=res)
    with pytest.raises(ValueError, match='0,1'): sanity_checks(net, (2*x, y))


def test_within():
    "Counts of images that are too far, outside [0,1] and not finite, in every norm."
    x = torch.full((3, 1, 4, 4), .5)
    for norm, eps in (('Linf', .1), ('L2', .4), ('L1', 1.6)):
        assert within(x + .1, x, ThreatModel(eps, norm))['far'] == 0
        assert within(x + .11, x, ThreatModel(eps, norm))['far'] == 3
    bad = x.clone()
    bad[0, 0, 0, 0] = float('inf')
    bad[1] = 1.2
    found = within(bad, x, ThreatModel(1.))
    assert (found['range'], found['not_finite']) == (1, 1)
