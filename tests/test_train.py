"`beckman_train` on networks from elsewhere, and with several processes."
import json, os, runpy, shlex, socket, subprocess, sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from beckman_nb.by_name import eval_networks, make_network
from beckman_nb.cli import beckman_eval
from beckman_nb.finetune import beckman_train
from conftest import ROOT

FEW = dict(small=True, train=8, valid=2, batch_size=4, steps=1, n=4, threads=1)


def images(path, side=16):
    "A data set of random photographs with ten classes."
    rng = np.random.default_rng(0)
    def some(n): return rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    labels = dict(y_train=np.arange(20) % 10, y_test=np.arange(4))
    np.savez(path, x_train=some(20), x_test=some(4), **labels)
    return str(path)


def evaluated(folder, classes=10):
    "The networks that the stored line of `beckman_eval` asks for, by name, as that command loads them."
    line = shlex.split((folder/'evaluate.sh').read_text().splitlines()[0])
    assert line[0] == 'beckman_eval'
    given = dict(zip(line[1:], line[2:]))
    norm = {k: [float(o) for o in given[f'--{k}'].split(',')] for k in ('mean', 'std') if f'--{k}' in given}
    return eval_networks(given.get('--model', 'small_cnn'), given['--checkpoint'], n_classes=classes, **norm)


def weights(net): return torch.cat([p.detach().flatten() for p in net.parameters()])


def trains(tmp_path, model, file, **options):
    "From a file of weights to networks that can be evaluated and differ from each other."
    out = tmp_path/'out'
    beckman_train(model=model, checkpoint=str(file), data=images(tmp_path/'few.npz'), output=str(out),
                  **FEW | options)
    nets = evaluated(out)
    assert list(nets) == ['base', 'beckman'] + ([] if options.get('nocontrol') else ['control'])
    found = [weights(net) for net in nets.values()]
    assert all(o.isfinite().all() for o in found)
    assert all(not torch.equal(a, b) for a, b in zip(found, found[1:]))
    return found[0], json.loads((out/'results.json').read_text())


def prefixed(o): return {'module.' + k: v for k, v in o.items()}


def of_awp(o): return dict(state_dict=prefixed(o), epoch=199, test_robust_acc=.55)


LAYOUTS = {  # architecture, what the public scripts save, and whether a control is trained as well
    'TRADES': ('preact_resnet18', lambda o: o, False),
    'AWP': ('AT-AWP, PreActResNet-18', of_awp, False),
    'LAS-AT': ('LAS-AT, PreActResNet-18', lambda o: dict(net=o, epoch=109), True)}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_preact_resnet18(tmp_path, layout):
    "A PreActResNet-18 of random weights in the layouts of TRADES, AWP and LAS-AT: two batches."
    model, saved, control = LAYOUTS[layout]
    torch.manual_seed(0)
    net = make_network(model, 10)
    bare = {k: v for k, v in net.state_dict().items() if not k.startswith('normalize.')}
    torch.save(saved(bare), tmp_path/'theirs.pth')
    start, about = trains(tmp_path, model, tmp_path/'theirs.pth', nocontrol=not control)
    assert torch.equal(start, weights(net))
    assert about['gradients_per_image'] == 2 and len(about['log']) == (2 if control else 1)
    assert about['memory'] > 3*4*len(start) and about['forecast'] > 0


def test_folder_per_class(tmp_path, monkeypatch, capsys):
    "Folders of images, trained on and evaluated by the line that the command writes."
    rng = np.random.default_rng(0)
    for split, n in (('train', 4), ('valid', 2)):
        for name in ('cat', 'dog', 'owl'):
            (tmp_path/'pets'/split/name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path/'pets'/split/name/f'{i}.png')
    torch.save(make_network('small_cnn', 3).state_dict(), tmp_path/'theirs.pth')
    monkeypatch.chdir(tmp_path)
    beckman_train(checkpoint='theirs.pth', data='pets', nocontrol=True, **FEW)
    line = shlex.split(Path('beckman_train/evaluate.sh').read_text())
    monkeypatch.setattr(sys, 'argv', line)
    beckman_eval()
    results = json.loads(Path('beckman_train/evaluation/results.json').read_text())
    assert (results['settings']['n'], results['settings']['n_classes']) == (4, 3)
    report = Path('beckman_train/evaluation/report.html').read_text()
    assert all(name in report for name in ('cat', 'dog', 'owl'))


def test_timm(tmp_path):
    "A network of timm, which expects normalised images."
    timm = pytest.importorskip('timm', reason='timm is not installed')
    torch.manual_seed(0)
    net = timm.create_model('resnet10t', num_classes=10)
    torch.save(net.state_dict(), tmp_path/'theirs.pth')
    given = dict(mean='0.485,0.456,0.406', std='0.229,0.224,0.225')
    start, _ = trains(tmp_path, 'timm:resnet10t', tmp_path/'theirs.pth', **given)
    assert torch.equal(start, weights(net))


TWO = '''
import sys, torch
from fastai.callback.core import Callback
from torch import nn
from beckman_nb.data import get_dls, load_arrays
from beckman_nb.finetune import beckman_train
from beckman_nb.runs import processes
from beckman_nb.train.attacks import pgd
from beckman_nb.train.callback import BeckmanTraining
from beckman_nb.train.extras import train_network
from beckman_nb.train.sharded import ShardedBatches

class Doubled(Callback):
    order = 9.2
    def before_batch(self): self.learn.xb = tuple(o.double() for o in self.xb)

def steady(model, x, y): return pgd(model, x, y, eps=.1, steps=2, random_start=False)

torch.set_num_threads(1)
with processes() as (rank, world):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(1800, 10)).double()
    dls = get_dls(load_arrays('digits'), bs=16, n_train=64, n_valid=8)
    cbs = [BeckmanTraining(attack=steady, alpha=.5), Doubled(), ShardedBatches()]
    trained = train_network(net, dls, cbs, 2, 1e-2)
    torch.save([world, trained.state_dict()], f'{sys.argv[1]}.{world}.{rank}')
    if world > 1: beckman_train(checkpoint='theirs.pth', data='digits', small=True, threads=1)
'''


def test_two_processes_are_one(tmp_path, monkeypatch):
    """`accelerate launch` with two processes, in float64: both end where one process does.

    The batches are the same (of 16 images, each process attacks and differentiates 8 of them), the attack has
    no random start, and the network no batch norm. The command then trains in two processes, too."""
    pytest.importorskip('accelerate')
    if not torch.distributed.is_available(): pytest.skip('torch without distributed')
    (tmp_path/'two.py').write_text(TWO)
    torch.save(make_network('small_cnn', 10, 1).state_dict(), tmp_path/'theirs.pth')
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    with socket.create_server(('127.0.0.1', 0)) as s: port = s.getsockname()[1]
    launch = ['-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes=2', '--num_machines=1',
              '--mixed_precision=no', '--dynamo_backend=no', f'--main_process_port={port}']
    command = [sys.executable, *launch, 'two.py', 'ends']
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.setattr('sys.argv', ['two.py', str(tmp_path/'ends')])
    runpy.run_path(tmp_path/'two.py') # alone
    (_, one), (_, first), (_, second) = (torch.load(tmp_path/f'ends.{o}') for o in ('1.0', '2.0', '2.1'))
    apart = max((one[k] - first[k]).abs().max().item() for k in one)
    print(f'largest difference of a weight: {apart:.0e}')
    assert apart < 1e-8 and all(torch.equal(first[k], second[k]) for k in first)
    assert done.stdout.count('beckman: BeckmanTraining') == 1
    stored = json.loads((tmp_path/'beckman_train'/'results.json').read_text())
    assert stored['settings']['processes'] == 2 and len(stored['log']) == 2
    assert 'for each of 2 processes' in done.stdout
