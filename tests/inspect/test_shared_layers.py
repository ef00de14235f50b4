"""Nets that call a layer several times, or not at all: every run counts, and every sample once."""

import pandas as pd
import pytest
import torch
from torch import nn

from firstspike import inspect, profile
from firstspike import nn as fs

STEPS = 6


class Shared(nn.Module):
    """Calls one layer twice, and has an unused one in front; with `unrolled` it has a copy for each call."""

    def __init__(self, unrolled=False):
        super().__init__()
        torch.manual_seed(0)
        self.unused = fs.TTFSLinear(3, 3, steps=STEPS)
        self.first = fs.DirectLinear(16, 8, steps=STEPS)
        self.hidden = fs.TTFSLinear(8, 8, steps=STEPS)
        self.last = fs.Integrate(8, 3, steps=STEPS)
        self.again = fs.TTFSLinear(8, 8, steps=STEPS) if unrolled else self.hidden
        self.again.load_state_dict(self.hidden.state_dict())
        self.readout = fs.MembraneReadout()

    def forward(self, x):
        return self.readout(self.last(self.again(self.hidden(self.first(x)))))


def test_every_run_is_in_the_profile():
    x = torch.rand(50, 16)
    shared, unrolled = profile(Shared(), x, batch=20), profile(Shared(unrolled=True), x, batch=20)
    assert shared["layer"].tolist() == ["first", "hidden", "hidden#2", "last", "total"]
    pd.testing.assert_frame_equal(shared.drop(columns="layer"), unrolled.drop(columns="layer"))


def test_a_monitor_keeps_every_run():
    x = torch.rand(5, 16)
    net, unrolled = Shared(), Shared(unrolled=True)
    for _ in range(2):
        with (
            inspect.Monitor(net, with_currents=True) as seen,
            inspect.Monitor(unrolled, with_currents=True) as expected,
        ):
            for _ in range(2):  # the last pass counts
                net(x), unrolled(x)
        assert list(seen.layers) == ["first", "hidden", "hidden#2", "last"] == list(seen.currents)
        assert torch.equal(seen.times["hidden#2"].times, expected.times["again"].times)
        assert torch.equal(seen.currents["hidden#2"], expected.currents["again"])
        assert seen.layers["hidden#2"].received.times.equal(seen.times["hidden"].times)


def test_layers_called_one_by_one_are_kept_once():
    net, x = Shared(), torch.rand(5, 16)
    with inspect.Monitor(net) as seen:
        for _ in range(3):
            net.last(net.hidden(net.first(x)))
    assert list(seen.layers) == ["first", "hidden", "last"]


@pytest.mark.parametrize("passes", [1, 3])
def test_every_sample_counts_once(passes):
    x = torch.rand(50, 16)
    counts = []
    for net in (Shared(), Shared(unrolled=True)):
        with inspect.OperationCounter(net) as count:
            for _ in range(passes):
                net(x)
        assert count.samples == 50 * passes
        counts.append(count.means())
    assert counts[0] == counts[1] and counts[0]["macs"] == 16 * 8


def test_a_pass_that_fails_ends():
    net, x = Shared(), torch.rand(5, 16)
    with inspect.Monitor(net) as seen:
        with pytest.raises(ValueError, match="x must"):
            net(torch.rand(5, 15))
        for _ in range(2):
            net.hidden(net.first(x))
    assert list(seen.layers) == ["first", "hidden"]
