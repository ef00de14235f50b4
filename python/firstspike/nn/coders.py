"""Encoders, data to spikes, and decoders, output spikes or membranes to class scores, as modules."""

from __future__ import annotations

from torch import Tensor

from .. import decode, encode
from .._base import checks
from ..ops.latency import CURVES
from ..spikes import SpikeTimes
from .settings import Settings


class LatencyEncoder(Settings):
    """Latency code: x in [0, 1] to one spike per intensity, the brightest first, zero silent.

    Parameters
    ----------
    steps : T, 1 to 254.
    curve : "linear" or "log", as in `encode.latency`.
    code_steps : steps of the code, of which the first T are given; None for T.

    Examples
    --------
    >>> LatencyEncoder(steps=8)(torch.tensor([[1.0, 0.0]])).times
    tensor([[  0, 255]], dtype=torch.uint8)
    """

    timing, unit_range = "step", True  # it takes values in [0, 1]

    def __init__(self, steps: int, curve: str = "linear", *, code_steps: int | None = None) -> None:
        super().__init__()
        self.steps, self.code_steps = checks.steps(steps), _code_steps(code_steps, steps)
        checks.one_of("curve", curve, CURVES)
        self.curve = curve

    def forward(self, x: Tensor) -> SpikeTimes:
        """Return the spike times of x, float32 [B, ...] in [0, 1], in its shape."""
        if self.code_steps is None:
            return encode.latency(x, self.steps, self.curve)
        return encode.latency(x, self.code_steps, self.curve).first(self.steps)


class SpikeInput(Settings):
    """Encoder for data that are spikes already, such as those of `encode.first_events`: it checks them and passes them on.

    Parameters
    ----------
    steps : T, 1 to 254; spikes over another number of steps are refused.
    code_steps : steps of the given spikes, of which those of the first T are passed on; None for T.

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 255]], dtype=torch.uint8), steps=4)
    >>> SpikeInput(steps=4)(spikes).count()
    tensor([1])
    """

    unit_range = False

    def __init__(self, steps: int, *, code_steps: int | None = None) -> None:
        super().__init__()
        self.steps, self.code_steps = checks.steps(steps), _code_steps(code_steps, steps)

    def forward(self, x: SpikeTimes) -> SpikeTimes:
        """Return x, SpikeTimes [B, ...] over `steps` steps; of spikes over `code_steps` the first."""
        checks.instance("x", x, SpikeTimes, "SpikeTimes, as this net has no encoder")
        expected = self.steps if self.code_steps is None else self.code_steps
        if x.steps != expected:
            raise ValueError(f"x must have steps = {expected}, got {x.steps}; x.rescale({expected}) changes them")
        return x if self.code_steps is None else x.first(self.steps)


class TemporalWeighting(Settings):
    """Temporal weighting decoder (TWD): sum_t w[t] O[t], then the mean of each class's neurons.

    Parameters
    ----------
    gamma, mode : of the weights, as in `decode.temporal_weighting`.
    classes : the number of classes, each with k neurons (`decode.population`); None for one neuron per class.
    scale : factor of the scores, the inverse temperature of a softmax after them (ours).

    Examples
    --------
    >>> spikes = SpikeTimes(torch.tensor([[0, 1, 255, 255]], dtype=torch.uint8), steps=4)
    >>> TemporalWeighting(gamma=2.0, classes=2)(spikes)
    tensor([[0.7500, 0.0000]])
    """

    timing = "step"

    def __init__(self, gamma: float = 1.2, mode: str = "exp", *, classes: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        decode.temporal_weights(1, gamma=gamma, mode=mode)
        self.gamma, self.mode = float(gamma), mode
        self.classes, self.scale = _classes(classes), checks.positive("scale", scale)

    def forward(self, spikes: SpikeTimes) -> Tensor:
        """Return scores [B, classes] of output spikes [B, classes k]."""
        scores = decode.temporal_weighting(spikes, gamma=self.gamma, mode=self.mode)
        return self.scale * _population(scores, self.classes)


class MembraneReadout(Settings):
    """Membrane readout: scores from the output membrane, then the mean of each class's neurons.

    With "last" and decay 1 in the layer, the spike times of the layer before do not count, only which neurons fired.

    Parameters
    ----------
    mode : "last", "mean" or "weighted", as in `decode.membrane`.
    classes : as in `TemporalWeighting`.

    Examples
    --------
    >>> MembraneReadout("mean")(torch.tensor([[[1.0, 4.0]], [[3.0, 0.0]]]))
    tensor([[2., 2.]])
    """

    timing = "step"

    def __init__(self, mode: str = "last", *, classes: int | None = None) -> None:
        super().__init__()
        checks.one_of("mode", mode, decode.MEMBRANE_MODES)
        self.mode, self.classes = mode, _classes(classes)

    def forward(self, v: Tensor) -> Tensor:
        """Return scores [B, classes] of the output membrane [T, B, classes k]."""
        return _population(decode.membrane(v, self.mode), self.classes)

    def running(self, v: Tensor) -> Tensor:
        """Return the scores if the run ended after each step, [T, B, classes], see `decode.running_membrane`."""
        return _population(decode.running_membrane(v, self.mode), self.classes)


class FirstSpike(Settings):
    """First-spike readout: the class of the neuron that fires first, as scores that can be trained.

    A neuron scores (T - time) / T, and 0 if silent; a class scores as its best neuron. An overshoot o (`decode.overshoot`)
    adds o / (1 + |o|) / (2 T) without a gradient, less than half a step, so that ties go to the larger overshoot. Overshoots
    that differ by less than about 1e-7 T (1 + |o|)^2 stay tied in float32.

    Parameters
    ----------
    classes, scale : as in `TemporalWeighting`.
    overshoot : whether `models.TTFSNet` passes the overshoot of its last layer. If False, ties go to the lower class. So they
        do in a Sequential, whose readout gets spikes only.

    Examples
    --------
    >>> FirstSpike()(SpikeTimes(torch.tensor([[3, 1, 255]], dtype=torch.uint8), steps=4))
    tensor([[0.2500, 0.7500, 0.0000]])
    """

    timing = "step"

    def __init__(self, *, classes: int | None = None, scale: float = 1.0, overshoot: bool = True) -> None:
        super().__init__()
        self.classes, self.scale = _classes(classes), checks.positive("scale", scale)
        self.overshoot = checks.boolean("overshoot", overshoot)

    def forward(self, spikes: SpikeTimes, overshoot: Tensor | None = None) -> Tensor:
        """Return scores [B, classes] of output spikes [B, classes k]; their argmax is the answer.

        overshoot: float32 [B, classes k], see `decode.overshoot`.
        """
        scores = decode.temporal_weighting(spikes, gamma=1.0, mode="linear")
        if overshoot is not None:
            overshoot = decode._checked_overshoot(overshoot, spikes).detach()
            checks.finite("overshoot", overshoot)
            scores = scores + overshoot / (1 + overshoot.abs()) / (2 * spikes.steps)
        if self.classes is not None:
            scores = decode.grouped(scores, self.classes).amax(-1)
        return self.scale * scores


def _code_steps(code_steps: int | None, steps: int) -> int | None:
    return None if code_steps is None else checks.integer("code_steps", code_steps, steps, checks.MAX_STEPS)


def _classes(classes: int | None) -> int | None:
    return None if classes is None else checks.integer("classes", classes, 1)


def _population(scores: Tensor, classes: int | None) -> Tensor:
    return scores if classes is None else decode.population(scores, classes)
