"Training steps inside other people's loops: Accelerate and Lightning, as they are installed."
import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from beckman_nb.all import AdversarialRecipe, Attack, train_step


def parts(seed=0):
    "A small network and 16 images, the same each time."
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 3))
    return model, torch.rand(16, 3, 4, 4), torch.arange(16) % 3


def recipe(): return AdversarialRecipe(Attack('fgsm', eps=.05, random_start=False))


def by_hand(model, batches, every=1, lr=.1):
    "What the loop should do: one step of SGD per `every` batches, on the mean of their gradients."
    opt = torch.optim.SGD(model.parameters(), lr)
    for i, (x, y) in enumerate(batches):
        def backward(loss): (loss/every).backward()
        train_step(model, x, y, recipe(), backward=backward)
        if (i + 1) % every == 0:
            opt.step()
            opt.zero_grad()
    return list(model.parameters())


def test_accelerate_accumulates():
    "Two half batches under `accumulate` are one whole batch: gradients are not doubled."
    accelerate = pytest.importorskip('accelerate')
    model, x, y = parts()
    ours = copy.deepcopy(model)
    batches = list(zip(x.split(4), y.split(4)))
    want = by_hand(model, batches, every=2)
    whole = by_hand(copy.deepcopy(ours), list(zip(x.split(8), y.split(8))))
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    net, opt = accelerator.prepare(ours, torch.optim.SGD(ours.parameters(), .1))
    for xb, yb in batches:
        with accelerator.accumulate(net):
            train_step(net, xb, yb, recipe(), backward=accelerator.backward)
            opt.step()
            opt.zero_grad()
    for a, b, c in zip(ours.parameters(), want, whole):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c)


def test_lightning_manual_optimization(tmp_path):
    "A `LightningModule` that calls `train_step` with its `manual_backward` trains as the loop by hand."
    lightning = pytest.importorskip('lightning')
    model, x, y = parts()
    ours = copy.deepcopy(model)
    want = by_hand(model, zip(x.split(4), y.split(4)))

    class Adversarial(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.automatic_optimization = ours, False

        def training_step(self, batch, _):
            opt = self.optimizers()
            opt.zero_grad()
            loss = train_step(self.net, *batch, recipe(), backward=self.manual_backward)
            opt.step()
            self.log('loss', loss)

        def configure_optimizers(self): return torch.optim.SGD(self.net.parameters(), .1)

    trainer = lightning.Trainer(max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False,
                                default_root_dir=tmp_path)
    trainer.fit(Adversarial(), DataLoader(TensorDataset(x, y), batch_size=4))
    for a, b in zip(ours.parameters(), want): torch.testing.assert_close(a, b)
    assert 'loss' in trainer.callback_metrics
