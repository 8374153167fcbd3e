"""An evaluation that is killed, sharded, damaged or fed nonsense: equal numbers, or a clear error.

The networks are tiny and the attacks short, so that the whole file takes about a minute on one core. What
is compared is compared bit for bit: rows, answers, flags, and the images that every protocol ended with."""
import ast, importlib, importlib.util, os, subprocess, sys, types, warnings
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')
from torch import nn

from conftest import ROOT
from beckman_nb.evaluate import autoattack
from beckman_nb.evaluate.autoattack import (
    attack_all, autoattack_package, Effort, run_attack, set_steps, Target, under_attack)
from beckman_nb.evaluate.robustness import robustness
from beckman_nb.layers import BeckmanBarycenter, Defended, RandomBarycenter
from beckman_nb.marginals import Rotations
from beckman_nb.program.beckman import BeckmanParams
from beckman_nb.runs import load_piece
from beckman_nb.solvers import choose
from beckman_nb.stats import over_seeds
from beckman_nb.threat import ThreatModel

torch.set_num_threads(1)

# What every process of this file evaluates; a string, because other processes run it too
SETUP = '''
import os, sys, time, warnings
warnings.filterwarnings('ignore')
import torch
from torch import nn
from beckman_nb.evaluate.robustness import robustness
torch.set_num_threads(1)

def toy(n=12, k=5, seed=2):
    "A small convolutional network, images it is fairly sure about, and its own answers as labels"
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8*16, k)).eval()
    x = torch.rand(n, 3, 6, 6)
    with torch.no_grad(): return net, x, net(x).argmax(1)

class Round(nn.Module):
    "A defense that hides its gradient"
    def forward(self, x): return (8*x).round()/8

net, x, y = toy()
other = toy(seed=3)[0]
def run(**kw):
    "Two networks, a defense, the controls: 48 images' worth of tiny pieces"
    kw = {**dict(eps=.06, quick=True, block_size=4, progress=False, keep_images=True), **kw}
    return robustness({'net': net, 'other': other}, (x, y), {'round': Round()}, **kw)
def essence(res): return dict(rows=res.rows, right=res.right, flags=res.flags, images=res.images)
'''
exec(SETUP)


def same(a, b):
    "Everything but times: equal bit for bit"
    a, b = (o if isinstance(o, dict) else essence(o) for o in (a, b))
    assert a['rows'] == b['rows'] and a['flags'] == b['flags']
    for part in ('right', 'images'):
        assert list(a[part]) == list(b[part])
        assert all(torch.equal(a[part][k], b[part][k]) for k in a[part]), part


def check_laws(res):
    "What must hold for every row of every table"
    assert any(p == 'adaptive' for *_,p in res.right)
    for net,defense,protocol in res.right:
        row = res.row(net, defense, protocol)
        assert row['n'] == len(res.right[net, defense, protocol])
        assert row['lo'] <= row['accuracy'] <= row['hi']
        assert row['max_perturbation'] <= ThreatModel(row['eps'], row['norm']).limit
        if protocol != 'adaptive': continue
        adaptive = res.right[net, defense, protocol]
        for p in ('oblivious', 'clean') if defense != 'none' else ('undefended', 'clean'):
            if (net, defense, p) not in res.right: continue
            assert (adaptive <= res.right[net, defense, p]).all(), (net, defense, p)


def caught(f):
    "The result of `f` and what it warned of"
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        return f(), [str(o.message) for o in w]


def kinds(res): return {(f['check'], f['status']) for f in res.flags}


@pytest.fixture(scope='module')
def whole():
    "The uninterrupted run that the others have to equal"
    res = run()
    check_laws(res)
    assert {d for _,d,_ in res.right} == {'none', 'round', 'shift 1 px', 'rotate 4°', 'darken 0.1'}
    return res


# ---------------------------------------------------------------- killed and resumed
KILL = SETUP + '''
import random, signal
folder, out, moments = sys.argv[1], sys.argv[2], random.Random(int(sys.argv[3]))
def child(f):
    "Run `f` in a child process; its process id"
    pid = os.fork()
    if pid: return pid
    try: f(); os._exit(0)
    except BaseException: os._exit(1)

run() # once for everything that is loaded on first use
start = time.time(); run(folder=folder + '.timed'); full = time.time() - start
def count(folder):
    if not os.path.isdir(folder): return 0
    return sum(o.endswith('.piece') for o in os.listdir(folder))
total, pieces = count(folder + '.timed'), [0]
for _ in range(10): # at random moments, each within the first part of what is left
    pid = child(lambda: run(folder=folder))
    time.sleep(moments.uniform(.02, .4)*full*(1 - pieces[-1]/total))
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), 'it was done before it was killed'
    pieces.append(count(folder))
for name in ('fsync', 'replace'): # and in the middle of writing a piece
    def dying(kill=[3]):
        real = getattr(os, name)
        def f(*a):
            kill[0] -= 1
            if not kill[0]: os.kill(os.getpid(), signal.SIGKILL)
            return real(*a)
        setattr(os, name, f)
        run(folder=folder)
    assert os.WIFSIGNALED(os.waitpid(child(dying), 0)[1])
res = run(folder=folder)
read, seconds = (res.settings[k] for k in ('pieces_read_back', 'seconds_by_stage'))
torch.save([res.rows, res.right, res.flags, res.images, pieces, read, seconds], out)
'''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork to start many runs quickly')
def test_killed_at_ten_random_moments(run_python, tmp_path, whole):
    "Killed ten times at random moments and twice in writing, a run ends with what an uninterrupted one does."
    res = run_python(KILL, tmp_path/'run', tmp_path/'out.pt', 7)
    assert res.returncode == 0, res.stderr
    rows, right, flags, images, pieces, read, seconds = torch.load(tmp_path/'out.pt', weights_only=True)
    same(dict(rows=rows, right=right, flags=flags, images=images), whole)
    print(f'pieces after each of the ten kills: {pieces[1:]}')
    assert pieces == sorted(pieces) and 0 < pieces[-1] <= read, pieces  # nothing that was computed was lost
    assert seconds.keys() == whole.settings['seconds_by_stage'].keys()


# ---------------------------------------------------------------- two processes
TWO = SETUP + '''
from beckman_nb.runs import processes
with processes() as (rank, world):
    res = run(folder=sys.argv[1])
    torch.save([world, res.rows, res.right, res.flags, res.images], f'{sys.argv[2]}.{rank}')
'''


LAUNCHERS = {
    'torchrun': ('torch.distributed.run', '--nproc_per_node=2', '--standalone'),
    # the flag asks for a process per rank; what they compute on is the script's own affair, here the CPU
    'accelerate': ('accelerate.commands.launch', '--multi_gpu', '--num_processes=2', '--num_machines=1',
                   '--mixed_precision=no', '--dynamo_backend=no')}


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_two_processes_give_the_result_of_one(tmp_path, whole, launcher):
    "torchrun and Accelerate with two processes: each returns what a single process does."
    if not torch.distributed.is_available(): pytest.skip('torch without distributed')
    if launcher == 'accelerate': pytest.importorskip('accelerate')
    script = tmp_path/'two.py'
    script.write_text(TWO)
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    command = [sys.executable, '-m', *LAUNCHERS[launcher], script, tmp_path/'run', tmp_path/'out']
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        world, rows, right, flags, images = torch.load(f"{tmp_path/'out'}.{rank}", weights_only=True)
        assert world == 2
        same(dict(rows=rows, right=right, flags=flags, images=images), whole)
    alone = run(folder=tmp_path/'run', max_minutes=0)  # one process finds every piece that the two wrote
    same(alone, whole)
    assert alone.complete and alone.settings['processes'] == 1


# ---------------------------------------------------------------- damage, full disks, limits of time
def test_damaged_piece(tmp_path, whole):
    "A truncated and a garbled piece are named, computed again, and cost nothing else."
    run(folder=tmp_path)
    files = sorted(tmp_path.glob('*.piece'))
    files[0].write_bytes(files[0].read_bytes()[:200])
    files[1].write_bytes(b'\0'*1000)
    kept = {f: f.stat().st_mtime_ns for f in files[2:]}
    res, said = caught(lambda: run(folder=tmp_path))
    same(res, whole)
    said = [o for o in said if 'damaged' in o]
    named = {next(f.name for f in files if f.name in o) for o in said}
    assert len(said) == 2 and named == {f.name for f in files[:2]}
    assert {f: f.stat().st_mtime_ns for f in files[2:]} == kept
    assert res.settings['pieces_read_back'] == len(files) - 2


FULL = SETUP + '''
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)) # the system refuses to write larger files
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    res = run(folder=sys.argv[1])
said = [str(w.message) for w in caught if 'cannot be written' in str(w.message)]
assert len(said) == 1, said
print(sum(map(len, res.right.values())), sum(int(v.sum()) for v in res.right.values()), res.complete)
'''


@pytest.mark.skipif(sys.platform == 'win32', reason='needs resource limits')
def test_disk_that_refuses(run_python, tmp_path, whole):
    "A refused write is one warning; the run goes on in memory and nothing half-written stays."
    res = run_python(FULL, tmp_path)
    assert res.returncode == 0, res.stderr
    answers, right = (sum(int(f(v)) for v in whole.right.values()) for f in (len, torch.sum))
    assert res.stdout.split() == [str(answers), str(right), 'True']
    assert not list(tmp_path.glob('*.tmp'))
    for f in tmp_path.glob('*.piece'): load_piece(f)


def test_out_of_time_reports_complete_blocks(tmp_path, monkeypatch, whole):
    "When time is up, rows are about the blocks that are complete, and say so."
    count = [0]
    def counted(*args, real=autoattack.run_attack):
        count[0] += 1
        late = types.SimpleNamespace(time=lambda: 1e12)
        if count[0] > 24: monkeypatch.setattr('beckman_nb.runs.time', late)
        return real(*args)
    monkeypatch.setattr(autoattack, 'run_attack', counted)
    part = run(folder=tmp_path, max_minutes=60)
    check_laws(part)
    assert not part.complete and ('incomplete', 'warn') in kinds(part) and 'INCOMPLETE' in str(part)
    assert 0 < part.settings['n'] < part.settings['n_asked'] == len(x)
    for k,v in part.right.items(): assert len(v) % 4 == 0 and torch.equal(v, whole.right[k][:len(v)])
    monkeypatch.undo()
    same(run(folder=tmp_path), whole)


def test_folder_of_another_run(tmp_path):
    "Images, budget, blocks, weights and defenses are what a folder belongs to."
    run(folder=tmp_path, controls=False)
    others = [dict(eps=.05), dict(seed=1), dict(block_size=6), dict(n=8), dict(norm='L2', eps=.06),
              dict(quick=False)]
    for kw in others:
        with pytest.raises(ValueError, match='folder: .*another run'):
            run(folder=tmp_path, controls=False, **kw)
    with torch.no_grad(): net[0].weight[0, 0, 0, 0] += .01
    try:
        with pytest.raises(ValueError, match="networks 'net'"): run(folder=tmp_path, controls=False)
    finally:
        with torch.no_grad(): net[0].weight[0, 0, 0, 0] -= .01
    (tmp_path/'file').write_text('')
    with pytest.raises(ValueError, match='is not a folder'): run(folder=tmp_path/'file')


# ---------------------------------------------------------------- models and data that make no sense
ALONE = dict(eps=.06, quick=True, controls=False, progress=False)


class Probabilities(nn.Module):
    def forward(self, x): return net(x).softmax(1)


class Crashing(nn.Module):
    "Answers like the network, `left` times"
    left = 10**9
    def forward(self, x):
        Crashing.left -= 1
        if Crashing.left < 0: raise RuntimeError('the model broke down')
        return net(x)


class NaNAway(nn.Module):
    "NaN for every image that is not one of ours"
    def forward(self, o):
        known = (o.detach()[:, None] == x).flatten(2).all(2).any(1)
        return torch.where(known[:, None], net(o), net(o)*float('nan'))


def test_probabilities_are_flagged():
    res = robustness(Probabilities(), (x, y), **ALONE)
    check_laws(res)
    assert ('probabilities', 'warn') in kinds(res)


def test_nan_away_from_the_data_is_flagged_and_wrong():
    res = robustness(NaNAway(), (x, y), version='standard', **ALONE)
    check_laws(res)
    assert kinds(res) & {('logits', 'warn'), ('rejected', 'warn')} and res.row('model')['accuracy'] < 1


@pytest.mark.parametrize('images, labels, message', [
    (2*x - .5, y, r'data: .*\[0,1\]'), (x*float('nan'), y, r'data: .*\[0,1\]'),
    (x, y + 5, 'data: .*label .* 5 classes'), (x, y - 5, 'data: .*labels'), (x, y.float(), 'data: .*labels'),
    ((255*x).byte(), y, 'data: .*255'), (x[0], y, 'data: .*images'), (x[:3], y, 'data: ')])
def test_data_out_of_range(images, labels, message, tmp_path):
    "An error names the data, before anything is computed."
    with pytest.raises(ValueError, match=message): run_model(net, images, labels, tmp_path/'run')
    assert not list(tmp_path.glob('run/*.piece'))


def run_model(model, images, labels, folder):
    return robustness(model, (images, labels), block_size=4, folder=folder, **ALONE)


def test_nan_logits_are_an_error(tmp_path):
    class NaN(nn.Module):
        def forward(self, x): return net(x)*float('nan')
    with pytest.raises(ValueError, match='logits, got some that are not finite'):
        run_model(NaN(), x, y, tmp_path)


def test_a_model_that_breaks_down_loses_nothing(tmp_path):
    "An exception in the middle of a run leaves its pieces on the disk, and the next run starts from them."
    want = run_model(Crashing(), x, y, None)
    Crashing.left = 60
    with pytest.raises(RuntimeError, match='broke down'): run_model(Crashing(), x, y, tmp_path)
    stored = len(list(tmp_path.glob('*.piece')))
    Crashing.left = 10**9
    res = run_model(Crashing(), x, y, tmp_path)
    assert 0 < stored == res.settings['pieces_read_back']
    assert res.rows == want.rows


# ---------------------------------------------------------------- random defenses, versions, norms, seeds
def test_random_defense_is_attacked_with_eot():
    "It is flagged, its rows say how it was attacked and judged, and a seed makes it repeatable."
    class Shift(nn.Module):
        def forward(self, x): return x.roll(int(torch.randint(-1, 2, ())), -1)
    defenses = {'random shift': Shift(), 'barycenter': RandomBarycenter(-20, 20), 'round': Round()}
    def go(seed=0): return robustness(net, (x, y), defenses, keep_images=True, seed=seed, **ALONE)
    torch.manual_seed(1); one = go()
    torch.manual_seed(2); two = go()
    check_laws(one)
    same(one, two)
    assert {f['defense'] for f in one.flags if f['check'] == 'random'} == {'random shift', 'barycenter'}
    for d in ('random shift', 'barycenter'):
        row = one.row('model', d)
        assert row['version'] == 'rand' and 'EOT' in row['attack']
        assert 'mean logits of 20 draws' in row['attack']
    assert one.row('model', 'round')['version'] == one.row('model')['version'] == 'standard'
    rows = over_seeds([one, go(1)])
    assert {len(r['accuracies']) for r in rows} == {2} and all(r['std'] >= 0 for r in rows)


def few(aa):
    "The same attacks with few steps, for both sides of a comparison"
    for apgd in (aa.apgd, aa.apgd_targeted):
        set_steps(apgd, 8)
        apgd.eot_iter, apgd.n_restarts = min(apgd.eot_iter, 2), min(apgd.n_restarts, 2)
    aa.fab.n_iter, aa.fab.n_restarts = 6, min(aa.fab.n_restarts, 2)
    aa.square.n_queries = 60
    for attack in (aa.apgd_targeted, aa.fab): attack.n_target_classes = min(attack.n_target_classes, 4)
    return aa


@pytest.mark.parametrize('norm, eps', [('Linf', .04), ('L2', .3), ('L1', 2.)])
@pytest.mark.parametrize('version', ['standard', 'plus', 'rand'])
def test_equals_autoattack(norm, eps, version, monkeypatch):
    "On each block, the images of `run_standard_evaluation` with the same seed, bit for bit."
    make, package = autoattack.auto_attack, autoattack_package()
    monkeypatch.setattr(autoattack, 'auto_attack', lambda *a, **k: few(make(*a, **k)))
    threat = ThreatModel(eps, norm, version, seed=3)
    with under_attack(net):
        for block in (slice(0, 6), slice(6, 12)):
            theirs = few(package.AutoAttack(net, norm=norm, eps=eps, seed=3, version=version))
            want = theirs.run_standard_evaluation(x[block], y[block], batch_size=6)[0]
            ours = attack_all(Target(net, 5), x[block], y[block], torch.ones(6).bool(), threat)
            assert list(ours['left']) == theirs.attacks_to_run
            assert torch.equal(ours['adv'], want)
            assert torch.equal(ours['alive'], net(want).argmax(1) == y[block])


@pytest.mark.parametrize('norm, eps, version', [
    ('L2', .3, 'standard'), ('L1', 2., 'standard'), ('L2', .3, 'plus'), ('Linf', .04, 'rand')])
def test_versions_and_norms_end_to_end(norm, eps, version, monkeypatch):
    "All protocols in other norms and versions; the undefended numbers are AutoAttack's own, block by block."
    make, package = autoattack.auto_attack, autoattack_package()
    monkeypatch.setattr(autoattack, 'auto_attack', lambda *a, **k: few(make(*a, **k)))
    res = robustness(net, (x, y), Round(), eps=eps, norm=norm, version=version, block_size=6, controls=False,
                     progress=False, keep_images=True)
    check_laws(res)
    assert f'AutoAttack {version}' in res.row('model')['attack'] and res.row('model')['norm'] == norm
    def theirs(block):
        aa = few(package.AutoAttack(net, norm=norm, eps=eps, seed=0, version=version))
        return aa.run_standard_evaluation(x[block], y[block], batch_size=6)[0]
    with under_attack(net): want = torch.cat([theirs(slice(0, 6)), theirs(slice(6, 12))])
    assert torch.equal(res.images['model', 'none', 'undefended'], want)


@pytest.mark.parametrize('attack', ['apgd-ce', 'apgd-t', 'square'])
def test_effort_with_authors_numbers_equals_autoattack(attack):
    "An `Effort` that asks for what the authors set gives the images of their attack, of the same seed."
    def go(effort): return run_attack(Target(net, 5), x, y, attack, ThreatModel(.04, seed=3), effort)
    with under_attack(net): ours, theirs = go(Effort(steps=100, targets=4, queries=5000)), go(None)
    assert torch.equal(ours['adv'], theirs['adv']) and torch.equal(ours['right'], theirs['right'])


# ---------------------------------------------------------------- AutoAttack's check for dynamic defenses
class Descends(nn.Module):
    "A layer that really optimizes in its forward pass"
    def forward(self, x):
        with torch.enable_grad():
            z = x.detach().requires_grad_()
            return (x - .01*torch.autograd.grad(z.square().sum(), z)[0]).clamp(0, 1)


def dynamic(model):
    "What stock pyautoattack says of a model, its counters at zero"
    checks = autoattack_package().checks
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))
    return [o for o in caught(lambda: checks.check_dynamic(model, x))[1] if 'dynamic' in o]


PRICES = dict(published=BeckmanParams.published(), transport=BeckmanParams.with_transport(6))


@pytest.mark.parametrize('missing', [False, True], ids=['compiled', 'without compiled solvers'])
@pytest.mark.parametrize('prices', PRICES)
@pytest.mark.parametrize('method', ['auto', 'analytic', 'pdhg', 'fused', 'splitting'])
def test_layer_is_no_dynamic_defense(method, prices, missing, monkeypatch):
    "AutoAttack, as it comes, does not accuse our layer, whatever solves it."
    if missing:
        monkeypatch.setattr(choose, 'MISSING', {'numba', 'triton'})
    layer = BeckmanBarycenter(Rotations((-30, 30)), PRICES[prices], method=method, tol=1e-2)
    assert prices == 'published' or method == 'analytic' or set(layer.certify(x).method) != {'analytic'}
    assert dynamic(Defended(layer, net)) == []


def test_layer_that_descends_is_a_dynamic_defense():
    assert len(dynamic(Defended(Descends(), net))) == 1
    res = robustness(net, (x, y), {'descends': Descends(), 'barycenter': BeckmanBarycenter()}, n=4, **ALONE)
    found = {(f['defense'], f['status']) for f in res.flags if f['check'] == 'dynamic'}
    assert found == {('descends', 'warn')}


def test_no_function_has_a_name_that_autoattack_reacts_to():
    "Only the backward passes of autograd functions are called as those that the check counts."
    names, found = set(autoattack_package().checks.funcs), []
    assert {'grad', 'backward'} <= names
    for path in sorted((ROOT/'beckman_nb').rglob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        autograd = [c for c in ast.walk(tree) if isinstance(c, ast.ClassDef)
                    and any(ast.unparse(b).endswith('autograd.Function') for b in c.bases)]
        allowed = {f for c in autograd for f in c.body if getattr(f, 'name', '') == 'backward'}
        functions = [f for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))]
        found += [f'{path.name}: {f.name}' for f in functions if f.name in names and f not in allowed]
    assert found == []


# ---------------------------------------------------------------- RobustBench
def robustbench():
    "RobustBench's `benchmark` on pyautoattack, whose arguments have other names; skips where it is missing"
    if importlib.util.find_spec('robustbench') is None: pytest.skip('robustbench is not installed')
    package = autoattack_package()

    class AutoAttack(package.AutoAttack):
        def __init__(self, model, *, log_path=None, **kw): super().__init__(model, seed=0, **kw)
        def run_standard_evaluation(self, x, y, bs=250, state_path=None):
            return super().run_standard_evaluation(x, y, batch_size=bs)[0]
    alias = types.ModuleType('autoattack')
    alias.AutoAttack, alias.__path__ = AutoAttack, package.__path__
    state = importlib.import_module(package.__name__ + '.state')
    sys.modules |= {'autoattack': alias, 'autoattack.state': state}
    return importlib.import_module('robustbench.eval').benchmark


@pytest.mark.parametrize('norm, eps', [('Linf', 8/255), ('L2', .5)])
def test_equals_robustbench(norm, eps):
    "Clean and robust accuracy of RobustBench's `benchmark` on CIFAR-10, on the same images and blocks."
    benchmark = robustbench()
    data = Path(os.environ.get('BECKMAN_DATA', '.'))
    if not (data/'cifar-10-batches-py').is_dir(): pytest.skip('no CIFAR-10 below BECKMAN_DATA')
    from beckman_nb.data import load_arrays
    from beckman_nb.models import small_cnn
    images, labels = load_arrays('cifar10', data).tensors('test', 10)
    torch.manual_seed(0)
    model = small_cnn(width=8)
    opt = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(25):  # knows its 10 images by heart; otherwise there would be nothing to attack
        loss = nn.functional.cross_entropy(model((images + .05*torch.randn_like(images)).clamp(0, 1)), labels)
        opt.zero_grad(); loss.backward(); opt.step()
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        theirs = benchmark(model, n_examples=10, dataset='cifar10', threat_model=norm, eps=eps, batch_size=5,
                           data_dir=str(data))
    ours = robustness(model, (images, labels), eps=eps, norm=norm, protocols='undefended', block_size=5,
                      progress=False)
    numbers = [ours.row('model', protocol=p)['accuracy'] for p in ('clean', 'undefended')]
    print(f'{norm}: RobustBench {theirs}, beckman_nb {numbers}')
    assert numbers == pytest.approx(theirs, abs=1e-6)
