"""An evaluation that is killed, sharded, damaged or fed nonsense: the numbers stay the same, or the error is clear.

The networks are tiny and the budgets small, so that the whole file takes about a minute on one core. What is compared is
compared bit for bit: rows, answers, flags, and the images that every protocol ended with."""
import importlib, importlib.util, os, sys, types, warnings
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')
from torch import nn

from conftest import ROOT
from beckman_nb.evaluate import robustness as evaluate
from beckman_nb.layers import RandomBarycenter
from beckman_nb.evaluate.autoattack import attack_all, autoattack_package, under_attack
from beckman_nb.evaluate.robustness import robustness
from beckman_nb.stats import over_seeds
from beckman_nb.threat import ThreatModel
from beckman_nb.runs import load_piece

torch.set_num_threads(1)
warnings.filterwarnings('ignore', message='.*torch.jit.*')

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
        assert row['n'] == len(res.right[net, defense, protocol]) and row['lo'] <= row['accuracy'] <= row['hi']
        assert row['max_perturbation'] <= row['eps']*(1 + 1e-4) + 1e-6
        if protocol != 'adaptive': continue
        adaptive = res.right[net, defense, protocol]
        for p in ('oblivious', 'clean') if defense != 'none' else ('undefended', 'clean'):
            if (net, defense, p) in res.right: assert (adaptive <= res.right[net, defense, p]).all(), (net, defense, p)


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
def count(folder): return sum(o.endswith('.piece') for o in os.listdir(folder)) if os.path.isdir(folder) else 0
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
torch.save([res.rows, res.right, res.flags, res.images, pieces, res.settings['pieces_read_back'], res.settings['seconds_by_stage']], out)
'''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork to start many runs quickly')
def test_killed_at_ten_random_moments(run_python, tmp_path, whole):
    "Killed ten times at random moments and twice while it writes, the resumed run gives what an uninterrupted one does."
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


LAUNCHERS = {'torchrun': ('torch.distributed.run', '--nproc_per_node=2', '--standalone'),
             # the flag asks for a process per rank; what they compute on is the script's own affair, here the CPU
             'accelerate': ('accelerate.commands.launch', '--multi_gpu', '--num_processes=2', '--num_machines=1', '--mixed_precision=no', '--dynamo_backend=no')}


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_two_processes_give_the_result_of_one(tmp_path, whole, launcher):
    "torchrun and Accelerate with two processes: each returns the rows, answers, flags and images of a single process."
    import subprocess
    if not torch.distributed.is_available(): pytest.skip('torch without distributed')
    if launcher == 'accelerate': pytest.importorskip('accelerate')
    script = tmp_path/'two.py'
    script.write_text(TWO)
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run([sys.executable, '-m', *LAUNCHERS[launcher], str(script), str(tmp_path/'run'), str(tmp_path/'out')], env=env, capture_output=True, text=True, timeout=300)
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
    assert len(said) == 2 and {f.name for f in files[:2]} == {next(f.name for f in files if f.name in o) for o in said}
    assert {f: f.stat().st_mtime_ns for f in files[2:]} == kept
    assert res.settings['pieces_read_back'] == len(files) - 2


FULL = SETUP + '''
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)) # the system refuses to write more than this into one file
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
    assert res.stdout.split() == [str(sum(map(len, whole.right.values()))), str(sum(int(v.sum()) for v in whole.right.values())), 'True']
    assert not list(tmp_path.glob('*.tmp'))
    for f in tmp_path.glob('*.piece'): load_piece(f)


def test_out_of_time_reports_complete_blocks(tmp_path, monkeypatch, whole):
    "When time is up, rows are about the blocks that are complete, and say so."
    count = [0]
    def attack_block(*args, real=evaluate.attack_block):
        count[0] += 1
        if count[0] > 24: monkeypatch.setattr('beckman_nb.state.time', types.SimpleNamespace(time=lambda: 1e12))
        return real(*args)
    monkeypatch.setattr(evaluate, 'attack_block', attack_block)
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
    for kw in (dict(eps=.05), dict(seed=1), dict(block_size=6), dict(n=8), dict(norm='L2', eps=.06), dict(quick=False)):
        with pytest.raises(ValueError, match='folder: .*another run'): run(folder=tmp_path, controls=False, **kw)
    with torch.no_grad(): net[0].weight[0, 0, 0, 0] += .01
    try:
        with pytest.raises(ValueError, match="networks 'net'"): run(folder=tmp_path, controls=False)
    finally:
        with torch.no_grad(): net[0].weight[0, 0, 0, 0] -= .01
    (tmp_path/'file').write_text('')
    with pytest.raises(ValueError, match='is not a folder'): run(folder=tmp_path/'file')


# ---------------------------------------------------------------- models and data that make no sense
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
    res = robustness(Probabilities(), (x, y), eps=.06, quick=True, controls=False, progress=False)
    check_laws(res)
    assert ('probabilities', 'warn') in kinds(res)


def test_nan_away_from_the_data_is_flagged_and_wrong():
    res = robustness(NaNAway(), (x, y), eps=.06, version='standard', quick=True, controls=False, progress=False)
    check_laws(res)
    assert kinds(res) & {('logits', 'warn'), ('rejected', 'warn')} and res.row('model')['accuracy'] < 1


@pytest.mark.parametrize('images, labels, message', [
    (2*x - .5, y, r'data: .*\[0,1\]'), (x*float('nan'), y, r'data: .*\[0,1\]'), (x, y + 5, 'data: label .* 5 classes'),
    (x, y - 5, 'data: labels'), (x, y.float(), 'data: labels'), ((255*x).byte(), y, 'data: .*255'), (x[0], y, 'data: .*images'), (x[:3], y, 'data: ')])
def test_data_out_of_range(images, labels, message, tmp_path):
    "An error names the data, before anything is computed."
    with pytest.raises(ValueError, match=message): run_model(net, images, labels, tmp_path/'run')
    assert not list(tmp_path.glob('run/*.piece'))


def run_model(model, images, labels, folder): return robustness(model, (images, labels), eps=.06, quick=True, block_size=4, controls=False, progress=False, folder=folder)


def test_nan_logits_are_an_error(tmp_path):
    class NaN(nn.Module):
        def forward(self, x): return net(x)*float('nan')
    with pytest.raises(ValueError, match='logits are not finite'): run_model(NaN(), x, y, tmp_path)


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
    def go(seed=0): return robustness(net, (x, y), {'random shift': Shift(), 'barycenter': RandomBarycenter(-20, 20), 'round': Round()},
                                      eps=.06, quick=True, controls=False, progress=False, keep_images=True, seed=seed)
    torch.manual_seed(1); one = go()
    torch.manual_seed(2); two = go()
    check_laws(one)
    same(one, two)
    assert {f['defense'] for f in one.flags if f['check'] == 'random'} == {'random shift', 'barycenter'}
    for d in ('random shift', 'barycenter'):
        row = one.row('model', d)
        assert row['version'] == 'rand' and 'EOT' in row['attack'] and 'mean logits of 20 draws' in row['attack']
    assert one.row('model', 'round')['version'] == one.row('model')['version'] == 'standard'
    rows = over_seeds([one, go(1)])
    assert {len(r['accuracies']) for r in rows} == {2} and all(r['std'] >= 0 for r in rows)


def few(aa):
    "The same attacks with few steps, for both sides of a comparison"
    for apgd in (aa.apgd, aa.apgd_targeted):
        evaluate.set_steps(apgd, 8)
        apgd.eot_iter, apgd.n_restarts = min(apgd.eot_iter, 2), min(apgd.n_restarts, 2)
    aa.fab.n_iter, aa.fab.n_restarts, aa.square.n_queries = 6, min(aa.fab.n_restarts, 2), 60
    for attack in (aa.apgd_targeted, aa.fab): attack.n_target_classes = min(attack.n_target_classes, 4)
    return aa


@pytest.mark.parametrize('norm, eps', [('Linf', .04), ('L2', .3), ('L1', 2.)])
@pytest.mark.parametrize('version', ['standard', 'plus', 'rand'])
def test_equals_autoattack(norm, eps, version, monkeypatch):
    "On each block, the images of `run_standard_evaluation` with the same seed, bit for bit."
    make, package = evaluate.auto_attack, autoattack_package()
    monkeypatch.setattr(evaluate, 'auto_attack', lambda *a, **k: few(make(*a, **k)))
    budget = ThreatModel(eps, norm, version, seed=3)
    with under_attack(net):
        for block in (slice(0, 6), slice(6, 12)):
            theirs = few(package.AutoAttack(net, norm=norm, eps=eps, seed=3, version=version))
            want = theirs.run_standard_evaluation(x[block], y[block], batch_size=6)[0]
            ours = attack_all(net, x[block], y[block], torch.ones(6).bool(), budget, 5)
            assert list(ours['left']) == theirs.attacks_to_run
            assert torch.equal(ours['adv'], want)
            assert torch.equal(ours['alive'], net(want).argmax(1) == y[block])


@pytest.mark.parametrize('norm, eps, version', [('L2', .3, 'standard'), ('L1', 2., 'standard'), ('L2', .3, 'plus'), ('Linf', .04, 'rand')])
def test_versions_and_norms_end_to_end(norm, eps, version, monkeypatch):
    "All three protocols in other norms and versions; the undefended numbers are AutoAttack's own, block by block."
    make, package = evaluate.auto_attack, autoattack_package()
    monkeypatch.setattr(evaluate, 'auto_attack', lambda *a, **k: few(make(*a, **k)))
    res = robustness(net, (x, y), Round(), eps=eps, norm=norm, version=version, block_size=6, controls=False, progress=False, keep_images=True)
    check_laws(res)
    assert f'AutoAttack {version}' in res.row('model')['attack'] and res.row('model')['norm'] == norm
    with under_attack(net):
        want = torch.cat([few(package.AutoAttack(net, norm=norm, eps=eps, seed=0, version=version)).run_standard_evaluation(
            x[b:b + 6], y[b:b + 6], batch_size=6)[0] for b in (0, 6)])
    assert torch.equal(res.images['model', 'none', 'undefended'], want)


# ---------------------------------------------------------------- RobustBench
def robustbench():
    "RobustBench's `benchmark` on pyautoattack, which has other argument names than the package it imports; skips where it is not installed"
    if importlib.util.find_spec('robustbench') is None: pytest.skip('robustbench is not installed')
    package = autoattack_package()

    class AutoAttack(package.AutoAttack):
        def __init__(self, model, *, log_path=None, **kw): super().__init__(model, seed=0, **kw)
        def run_standard_evaluation(self, x, y, bs=250, state_path=None): return super().run_standard_evaluation(x, y, batch_size=bs)[0]
    alias = types.ModuleType('autoattack')
    alias.AutoAttack, alias.__path__ = AutoAttack, package.__path__
    sys.modules |= {'autoattack': alias, 'autoattack.state': importlib.import_module(package.__name__ + '.state')}
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
        theirs = benchmark(model, n_examples=10, dataset='cifar10', threat_model=norm, eps=eps, batch_size=5, data_dir=str(data))
    ours = robustness(model, (images, labels), eps=eps, norm=norm, protocols='undefended', block_size=5, progress=False)
    numbers = [ours.row('model', protocol=p)['accuracy'] for p in ('clean', 'undefended')]
    print(f'{norm}: RobustBench {theirs}, beckman_nb {numbers}')
    assert numbers == pytest.approx(theirs, abs=1e-6)
