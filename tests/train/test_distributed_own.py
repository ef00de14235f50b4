"""What callbacks, losses and nets of one's own change, with two gloo processes: it holds in both, or is refused."""

import os
import re

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import prune as torch_prune

from firstspike import data
from firstspike.train import evaluate, fit

from .test_distributed import CONFIG, ROOT, run_script, torchrun

CHANGES = {  # of a layer, by a callback
    "thaw": lambda layer: layer.requires_grad_(True),
    "freeze": lambda layer: layer.requires_grad_(False),
    "prune": lambda layer: layer.weight.data.mul_(layer.weight.abs() > 0.05),
    "prune at the end": lambda layer: layer.weight.data.mul_(layer.weight.abs() > 0.05),
}

CALLBACK = """
import os, sys
from pathlib import Path
import torch

sys.path.insert(0, sys.argv[1])
from tests.train.test_distributed_own import CHANGES, changed

for name in CHANGES:
    torch.save(changed(name), Path(sys.argv[2]) / f"{name}-{os.environ['RANK']}.pt")
"""

BUFFERS = """
import os, sys
from pathlib import Path
import torch

sys.path.insert(0, sys.argv[1])
from tests.train.test_distributed_own import normalised

torch.save(normalised(), Path(sys.argv[2]) / f"{os.environ['RANK']}.pt")
"""

REFUSED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tests.train.test_distributed_own import refused
try:
    refused(sys.argv[2])
except ValueError as error:
    print(error, file=sys.stderr)
    os._exit(0)
"""

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch without gloo")


def changed(name):
    """The state of a net after three epochs, of which a callback changes something after the first."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    net[1].requires_grad_(name != "thaw")

    def callback(epoch, net):
        if epoch.epoch == (3 if name == "prune at the end" else 1):
            CHANGES[name](net[1])

    fit(CONFIG.replace(spec="", steps=8, epochs=3), model=net, callbacks=[callback], progress=False)
    return net.state_dict()


@pytest.mark.slow
def test_what_callbacks_change_holds_in_every_process(tmp_path):
    """Callbacks run in the first process alone."""
    torchrun(2, CALLBACK, tmp_path, ROOT, tmp_path)
    for name in CHANGES:
        alone = changed(name)
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in range(2))
        for key, value in alone.items():
            assert torch.equal(first[key], second[key]), f"{name} {key}"
            torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4, msg=f"{name} {key}")


class Ema(nn.Module):
    """A loss with a running mean."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, scores, labels):
        """The cross-entropy, lowered by its running mean."""
        loss = nn.functional.cross_entropy(scores, labels)
        self.mean.lerp_(loss.detach(), 0.1)
        return loss - 0.1 * self.mean


def normalised():
    """What a run gives whose net and loss have buffers that each process counts for its own share."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    net, loss = nn.Sequential(*layers), Ema()
    result = fit(CONFIG.replace(spec="", steps=8), model=net, loss=loss, progress=False)
    measured = evaluate(net, data.load("digits", train=False))
    return {**net.state_dict(), "loss": loss.mean}, result.test.loss, measured.loss


@pytest.mark.slow
def test_buffers_are_those_of_the_first_process(tmp_path):
    """So that what is measured by all is the net that is saved."""
    torchrun(2, BUFFERS, tmp_path, ROOT, tmp_path)
    (first, told, measured), (second, *others) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert others == [told, measured] and told == pytest.approx(measured, rel=1e-6)


class Lines(nn.Module):
    """Flattens, but not a batch without samples."""

    def forward(self, x):
        """[B, N]."""
        return x.view(x.size(0), -1)


def refused(what):
    """Runs that two processes cannot share."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    foreign, limit = nn.Parameter(torch.zeros(10)), 210
    if what == "unused":
        net.register_parameter("unused", foreign)
    if what == "empty":
        net[0], limit = Lines(), 201
    given = {
        "setting": {"callbacks": [lambda epoch, net: setattr(net[1], "p", 0.0)]},
        "tensors": {"callbacks": [lambda epoch, net: torch_prune.l1_unstructured(net[2], "weight", 3)]},
        "unused": {},
        "empty": {},
        "run": {},
        "parameter": {"optimizer": lambda net: torch.optim.SGD([*net.parameters(), foreign], lr=0.1)},
    }[what]
    seed = int(os.environ["RANK"]) if what == "run" else CONFIG.seed
    fit(CONFIG.replace(spec="", steps=8, lr=1e-3, limit=limit, seed=seed), model=net, progress=False, **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "setting",
            "callbacks must change no more than tensors' values and requires_grad .* got another 1.p of the net",
        ),
        ("tensors", "callbacks must change no more than .* got another state_dict of the net"),
        ("unused", "every parameter of the net must get a gradient .* none reached unused: freeze it"),
        ("empty", "the net must take a batch without samples where a batch has fewer samples than there are processes"),
        ("parameter", "optimizer must have parameters of the net"),
        ("run", "every process of torchrun must be given the same run, process 1 got seed = 1, not 0"),
    ],
)
def test_what_processes_cannot_share_is_refused(tmp_path, what, message):
    done = run_script(2, REFUSED, tmp_path, ROOT, what)
    assert re.search(message, done.stderr), done.stderr
