"""Decoders as modules: output spikes or membranes to class scores."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .. import decode
from .._base import checks
from ..spikes import SpikeTimes


class TemporalWeighting(nn.Module):
    """Temporal weighting decoder (TWD): sum_t w[t] O[t], then the mean of each class's neurons.

    gamma and mode as in `decode.temporal_weighting`. classes: the number of classes, each with its k neurons
    (`decode.population`); None: one neuron per class. scale multiplies the scores: it changes no answer, but it is the
    inverse temperature of a softmax after them (ours). Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.tensor([[0, 1, 255, 255]], dtype=torch.uint8), steps=4)
        >>> TemporalWeighting(gamma=2.0, classes=2)(spikes)
        tensor([[0.7500, 0.0000]])
    """

    def __init__(
        self, gamma: float = 1.2, mode: str = "exp", *, classes: int | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        decode.temporal_weights(1, gamma=gamma, mode=mode)
        self.gamma, self.mode = float(gamma), mode
        self.classes, self.scale = _classes(classes), checks.positive("scale", scale)

    def forward(self, spikes: SpikeTimes) -> Tensor:
        """Scores [B, classes] of output spikes [B, classes k]."""
        scores = decode.temporal_weighting(spikes, gamma=self.gamma, mode=self.mode)
        return self.scale * _population(scores, self.classes)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"gamma": self.gamma, "mode": self.mode, "classes": self.classes, "scale": self.scale}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"gamma={self.gamma:g}, mode={self.mode!r}, classes={self.classes}, scale={self.scale:g}"


class MembraneReadout(nn.Module):
    """Membrane readout: "last", "mean" or "weighted" (`decode.membrane`), then the mean of each class's neurons.

    With "last" and a layer without a leak (decay 1) the spike times of the layer before do not count, only who fired.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> MembraneReadout("mean")(torch.tensor([[[1.0, 4.0]], [[3.0, 0.0]]]))
        tensor([[2., 2.]])
    """

    def __init__(self, mode: str = "last", *, classes: int | None = None) -> None:
        super().__init__()
        checks.one_of("mode", mode, decode.MEMBRANE_MODES)
        self.mode, self.classes = mode, _classes(classes)

    def forward(self, v: Tensor) -> Tensor:
        """Scores [B, classes] of the output membrane [T, B, classes k]."""
        return _population(decode.membrane(v, self.mode), self.classes)

    def running(self, v: Tensor) -> Tensor:
        """The scores if the run ended after each step, [T, B, classes], see `decode.running_membrane`."""
        return _population(decode.running_membrane(v, self.mode), self.classes)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"mode": self.mode, "classes": self.classes}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"mode={self.mode!r}, classes={self.classes}"


class FirstSpike(nn.Module):
    """First-spike readout: the class of the neuron that fires first, as scores that can be trained.

    A neuron scores (T - time) / T, and 0 where silent: its spike's gradient is that of linear temporal weighting. With
    an `overshoot` o (`decode.overshoot`) it gets o / (1 + |o|) / (2 T) on top, less than half a step and without
    gradient, so that ties go to the larger overshoot, as in `decode.first_spike` (but where overshoots differ by less than
    about 1e-7 T (1 + |o|)^2, which float32 does not keep beside the time). A class scores as its best neuron.
    scale as in `TemporalWeighting`.

    overshoot: whether a `models.TTFSNet` gives it that of its last layer. False: all ties go to the lower class, as in a
    Sequential, whose readout sees spikes only, and in what is made of a Sequential.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> FirstSpike()(SpikeTimes(torch.tensor([[3, 1, 255]], dtype=torch.uint8), steps=4))
        tensor([[0.2500, 0.7500, 0.0000]])
    """

    def __init__(self, *, classes: int | None = None, scale: float = 1.0, overshoot: bool = True) -> None:
        super().__init__()
        self.classes, self.scale = _classes(classes), checks.positive("scale", scale)
        self.overshoot = checks.boolean("overshoot", overshoot)

    def forward(self, spikes: SpikeTimes, overshoot: Tensor | None = None) -> Tensor:
        """Scores [B, classes] of output spikes [B, classes k]; their argmax is the answer.

        overshoot: float32 [B, classes k], see `decode.overshoot`; TypeError or ValueError for another type or
        shape, and on the CPU for NaN or infinity.
        """
        scores = decode.temporal_weighting(spikes, gamma=1.0, mode="linear")
        if overshoot is not None:
            overshoot = decode._checked_overshoot(overshoot, spikes).detach()
            checks.finite("overshoot", overshoot)
            scores = scores + overshoot / (1 + overshoot.abs()) / (2 * spikes.steps)
        if self.classes is not None:
            scores = decode.grouped(scores, self.classes).amax(-1)
        return self.scale * scores

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the module can be built again."""
        return {"classes": self.classes, "scale": self.scale, "overshoot": self.overshoot}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"classes={self.classes}, scale={self.scale:g}, overshoot={self.overshoot}"


def _classes(classes: int | None) -> int | None:
    return None if classes is None else checks.integer("classes", classes, 1)


def _population(scores: Tensor, classes: int | None) -> Tensor:
    return scores if classes is None else decode.population(scores, classes)
