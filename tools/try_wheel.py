#!/usr/bin/env python3
"""Use the installed package as its users do: import every module, and train one epoch through the callbacks.

Run outside the checkout, in an environment that holds the wheel and what it requires, and nothing else."""
import importlib, sys, tempfile
from importlib.metadata import distribution
from pathlib import Path

import fastai, fastcore, numpy as np, torch
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, IntToFloatTensor, Learner,
                               RandomSplitter, accuracy, get_image_files, parent_label)
from PIL import Image

import beckman_nb
from beckman_nb._modidx import d as index
from beckman_nb.train.callback import AdversarialTraining, BeckmanTraining, RobustAccuracy
from beckman_nb.data import get_dls
from beckman_nb.models import small_cnn

where = Path(beckman_nb.__file__).resolve()
assert 'site-packages' in where.parts, f'imported from {where}, not from the installed wheel'
assert int(fastcore.__version__.split('.')[0]) >= 2, f'fastcore {fastcore.__version__} is not the newest'
versions = ', '.join(f'{o.__name__} {o.__version__}' for o in (torch, fastai, fastcore))
print(f'Python {sys.version.split()[0]}, {versions}')

modules = sorted(index['syms'])
for name in modules: importlib.import_module(name)
print(f'{len(modules)} modules imported')

wheel = distribution('beckman_nb')
commands = [o for o in wheel.entry_points if o.group == 'console_scripts']
for o in commands: assert callable(o.load()), o
print('commands:', *sorted(o.name for o in commands))

stored = [o for o in wheel.files if o.suffix in ('.json', '.safetensors')]
data = [o.as_posix() for o in stored]
assert any(o.startswith('beckman_nb/weights/') for o in data), data
assert not any('/studies/weights/' in o for o in data), data
size = sum(o.locate().stat().st_size for o in stored)
print(f'{len(data)} files of data, {size/1e6:.1f} MB')

for field in ('Home-page', 'Author-email', 'Project-URL'):
    addresses = wheel.metadata.get_all(field)
    assert addresses is None or all(addresses), f'{field}: {addresses}'


def image_files(folder, n=32, size=16):
    "Two classes of small PNG files: bright on the left, or on the right."
    rng = np.random.default_rng(0)
    for k in range(n):
        im = rng.integers(0, 80, (size, size, 3), dtype=np.uint8)
        side = k % 2
        im[:, side*size//2:(side+1)*size//2] += 120
        path = Path(folder)/('left', 'right')[side]
        path.mkdir(exist_ok=True)
        Image.fromarray(im).save(path/f'{k}.png')


def one_epoch(dls, name, **kwargs):
    "Train one epoch on barycenters of adversarial images and say what it reports."
    torch.manual_seed(0)
    learn = Learner(dls, small_cnn(dls.c, **kwargs), metrics=accuracy)
    before = [p.detach().clone() for p in learn.model.parameters()]
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3, cbs=[BeckmanTraining(images='adversarial')])
        learn.fit(1, 1e-3, cbs=[AdversarialTraining('fgsm')])
    values = learn.recorder.values[-1]
    assert all(torch.isfinite(p).all() for p in learn.model.parameters()), 'weights are not finite'
    assert any((a != b).any() for a, b in zip(before, learn.model.parameters())), 'training changed nothing'
    print(f'{name}: train loss {values[0]:.3f}, valid loss {values[1]:.3f}, accuracy {values[2]:.3f}')


torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:
    image_files(folder)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
                      splitter=RandomSplitter(seed=0), batch_tfms=IntToFloatTensor())
    one_epoch(block.dataloaders(folder, bs=8, num_workers=0), 'image files')
one_epoch(get_dls('digits', bs=64, n_train=256, n_valid=128), 'digits', in_channels=1)
