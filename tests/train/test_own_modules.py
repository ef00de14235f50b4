"""Nets of one's own with modules of torch: what else tells a run from another one, and what its file leaves out."""

import pytest
import torch
from torch import nn

from firstspike import models
from firstspike.train import BadCheckpoint

from .test_own_nets import STEPS, Wrapped, parts
from .test_own_parts import curves, run


class Stem(nn.Module):
    def __init__(self, activation, dropout=0.1):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), activation, nn.Dropout(dropout))
        self.net = models.build("4C3-4", input_shape=(4, 6, 6), steps=STEPS)

    def forward(self, x):
        return self.net(self.stem(x))


@pytest.mark.parametrize("epochs", [1, 2])
def test_other_modules_of_torch_do_not_go_on(config, sets, tmp_path, epochs):
    config = config.replace(spec="", epochs=1)
    run(config, sets, model=Stem(nn.ReLU()), directory=tmp_path)
    later = config.replace(epochs=epochs)
    with pytest.raises(BadCheckpoint, match=r"net\.stem\.1: 'Tanh\(\)', not 'ReLU\(\)\'"):
        run(later, sets, model=Stem(nn.Tanh()), directory=tmp_path)
    with pytest.raises(BadCheckpoint, match=r"net\.stem\.2: 'Dropout\(p=0\.9, inplace=False\)', not 'Dropout\(p=0\.1"):
        run(later, sets, model=Stem(nn.ReLU(), 0.9), directory=tmp_path)
    with pytest.raises(BadCheckpoint, match=r"net\.modules: "):
        run(later, sets, model=Stem(nn.Sequential(nn.ReLU())), directory=tmp_path)
    assert run(later, sets, model=Stem(nn.ReLU()), directory=tmp_path).history[-1].epoch == epochs


def test_a_lazy_module_goes_on(config, sets, tmp_path):
    config = config.replace(spec="", epochs=1)
    net = lambda: Wrapped(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)))  # noqa: E731
    expected = run(config, sets, model=net(), directory=tmp_path)
    assert curves(run(config, sets, model=net(), directory=tmp_path)) == curves(expected)
    assert run(config.replace(epochs=2), sets, model=net(), directory=tmp_path).history[-1].epoch == 2


def test_a_file_of_a_net_with_hooks_is_warned_of(config, sets, tmp_path):
    net = models.TTFSNet(parts(), encoder="direct", readout="membrane", input_shape=(1, 6, 6))
    net.register_forward_hook(lambda module, args, scores: scores.flip(1))
    with pytest.warns(UserWarning, match="net has forward hooks, which the file leaves out"):
        run(config.replace(spec="", epochs=1), sets, model=net, directory=tmp_path)
