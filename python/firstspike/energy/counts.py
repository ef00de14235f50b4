"""What a layer does for one sample: the counts from which every energy is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LayerCounts:
    """Counts of a layer, means over samples: `inspect.counts` takes them from a float net, `emulator.counts` from a run.

    Parameters
    ----------
    name : the layer's name in its net.
    timing : "step" or "windowed".
    kind : "linear", "convolution", "pool" (a max pool of windows) or "shortcut" (its neurons are those of the layer that it
        leads to, so that it has none).
    neurons : its neurons.
    inputs : numbers that a ReLU layer in its place reads, after average pooling.
    sources : places from which spikes arrive, before average pooling.
    outputs : output channels, or outputs of a fully connected layer.
    taps : places of the kernel, 1 of a fully connected layer.
    reached : output places that an input reaches: the kernel over its stride, rounded up per axis.
    groups : of a convolution; an input reaches the output channels of one group.
    weights : stored weights.
    macs : multiply-adds of the same layer with ReLU; taps in the padding do not count.
    nonzero_macs : those of them whose input is not 0 in this net.
    events, shortcut_events : spikes that arrive at its input, before pooling, and by a shortcut; 0 of real numbers.
    additions, shortcut_additions : weights that are added for all of them, and those of a shortcut's.
    direct_macs : multiply-adds of a layer that gets real numbers, once per sample.
    spikes : spikes that the layer sends.
    active : updates of potentials that an event or a current changes before the neuron fires, per neuron and step.
    idle : the other updates, which only a clocked core makes.
    in_steps, steps : steps of the windows of its input, and of its own window; step by step there are `steps` alone.
    levels : of a number that it reads: T + 1 of spikes in T steps, 256 of pixels.
    biased : True if a bias is added.
    leaks : True if potentials decay from step to step.
    host : True where a host makes the multiply-adds in float32.
    on_cores : False where the neurons are not on the chip: their updates are not counted.

    Examples
    --------
    >>> net, x = models.mlp("64-32-10", steps=8), torch.rand(20, 64)
    >>> first, last = inspect.counts(net, x)
    >>> first.direct_macs, last.macs, last.neurons
    (2048.0, 320.0, 10)
    """

    name: str
    timing: Literal["step", "windowed"] = "step"
    kind: Literal["linear", "convolution", "pool", "shortcut"] = "linear"
    neurons: int = 0
    inputs: int = 0
    sources: int = 0
    outputs: int = 1
    taps: int = 1
    reached: int = 1
    groups: int = 1
    weights: int = 0
    macs: float = 0.0
    nonzero_macs: float = 0.0
    events: float = 0.0
    shortcut_events: float = 0.0
    additions: float = 0.0
    shortcut_additions: float = 0.0
    direct_macs: float = 0.0
    spikes: float = 0.0
    active: float = 0.0
    idle: float = 0.0
    in_steps: float = 0.0
    steps: float = 0.0
    levels: int = 256
    biased: bool = True
    leaks: bool = False
    host: bool = False
    on_cores: bool = True
