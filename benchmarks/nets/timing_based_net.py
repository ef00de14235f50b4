"""SpikingJelly 2.0's `timing_based` layers: continuous time, at most one spike per neuron, exact gradients of spike times.

Another model than ours: a spike is a smooth response in time, and there are no time steps and no surrogate.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from spikingjelly.timing_based import neuron
from torch import Tensor, nn

from firstspike import SpikeTimes

#: Of the observation window, as in SpikingJelly's own MNIST example.
DURATION = 4.0

Events = tuple[Tensor, Tensor, Tensor]


class TimingBasedNet(nn.Module):
    """Fully connected `CubicSRM` layers. forward: events (times, indices, offsets) to scores [B, classes], the earlier
    the higher. A weight row is the softmax of its parameter times a gain, as in SpikingJelly's own example.
    """

    def __init__(self, sizes: tuple[int, ...], *, gain: float = 8.0, seed: int = 0) -> None:
        super().__init__()
        layers = [neuron.CubicSRM(a, b, DURATION) for a, b in pairwise(sizes)]
        self.layers = nn.ModuleList(layers)
        self.classes = sizes[-1]
        generator = torch.Generator().manual_seed(seed)
        for layer in layers:
            with torch.no_grad():
                layer.weight.normal_(0.0, 0.5, generator=generator)
            nn.utils.parametrize.register_parametrization(layer, "weight", _RowWeights(gain))

    def forward(self, events: Events) -> Tensor:
        """Scores of events."""
        for layer in self.layers:
            events = layer(*events)
        times, indices, offsets = events
        count, classes = len(offsets) - 1, self.classes
        batches = torch.repeat_interleave(torch.arange(count), offsets.diff(), output_size=times.numel())
        scores = times.new_zeros(count * classes).index_add(0, batches * classes + indices, DURATION - times)
        return scores.reshape(count, classes)


class _RowWeights(nn.Module):
    """Positive weights whose rows sum to `gain`."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, weight: Tensor) -> Tensor:
        return self.gain * weight.softmax(1)


def events_of(spikes: SpikeTimes) -> Events:
    """The spikes [B, N] as events: times in [0, 1), input indices int64, and where each sample's events begin."""
    fired = ~spikes.silent
    _, indices = fired.nonzero(as_tuple=True)
    times = spikes.times[fired].float() / spikes.steps
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), fired.sum(1).cumsum(0)])
    return times, indices, offsets
