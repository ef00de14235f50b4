"""The base of the layers that fire."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import torch
from torch import Tensor, nn

from .._base import checks
from ..surrogate import Surrogate
from .node import NeuronSettings
from .synapse import Synapse

LEAST = 1e-3  # the smallest threshold that learning may reach


def learned_thresholds(module: nn.Module) -> list[nn.Parameter]:
    """The thresholds of all layers in `module` that are parameters, and not frozen."""
    thetas = [layer.theta for layer in module.modules() if isinstance(layer, FiringLayer)]
    return [theta for theta in thetas if isinstance(theta, nn.Parameter) and theta.requires_grad]


def learn_thresholds(module: nn.Module) -> None:
    """Give every layer in `module` that fires one threshold per output, a parameter that begins at the layer's own."""
    for layer in module.modules():
        if isinstance(layer, FiringLayer):
            start = layer.weight.new_ones(len(layer.weight)) * layer.threshold
            layer.threshold = nn.Parameter(start.detach())


@torch.no_grad()
def bound_thresholds(module: nn.Module, least: float = LEAST) -> None:
    """Raise the learned thresholds of all layers in `module` that an optimizer took below `least` to it.

    least: > 0. Thresholds that are numbers, buffers or frozen parameters stay as they are.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> layer = nn.TTFSLinear(2, 3, steps=4, threshold=torch.nn.Parameter(torch.ones(3)))
        >>> layer.threshold.data -= torch.tensor([0.0, 1.5, 1.0])
        >>> nn.bound_thresholds(layer)
        >>> [round(value, 3) for value in layer.threshold.tolist()]
        [1.0, 0.001, 0.001]
    """
    checks.positive("least", least)
    for theta in learned_thresholds(module):
        theta.clamp_(min=least)


class FiringLayer(Synapse, NeuronSettings):
    """A `Synapse` and TTFS neurons with the settings of a `TTFSNode`: threshold, decay and surrogate.

    threshold: a number for all neurons, or float32 [O], one per output: then it is the parameter (an `nn.Parameter`, which
    is learned) or buffer `theta`, and weight and bias act in units of it: X[t] / theta fires at 1, and the surrogate is
    that of V / theta - 1 (docs/model.md, section "Neuron"). It must stay positive, or the layer refuses it: in a loop of
    your own call `bound_thresholds` after each step of the optimizer; `train.fit` does.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> layer = nn.TTFSLinear(4, 3, steps=8, threshold=torch.nn.Parameter(torch.ones(3)))
        >>> isinstance(layer, nn.FiringLayer), layer.threshold is layer.theta
        (True, True)
    """

    theta: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        gain: float,
        *,
        threshold: float | Tensor,
        decay: float,
        surrogate: Surrogate | None,
        **options: Any,
    ) -> None:
        super().__init__(shape, gain, **options)
        self.register_parameter("theta", None)
        self.threshold, self.decay, self.surrogate = threshold, decay, surrogate

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "theta":  # by hand: the same as setting the threshold
            self._per_neuron = value is not None

    @property
    def threshold(self) -> float | Tensor:
        """The potential at which a neuron fires: a number, or `theta`, [O]. A tensor that is set replaces `theta`."""
        return self._threshold if self.theta is None else self.theta

    @threshold.setter
    def threshold(self, value: float | Tensor) -> None:
        theta, number = None, 1.0
        if isinstance(value, Tensor) and value.dim() > 0:
            theta = checks.thresholds(value, len(self.weight))
            if theta.requires_grad and not isinstance(theta, nn.Parameter):
                raise TypeError("threshold must be an nn.Parameter, or a tensor that requires no gradient")
        else:
            number = checks.positive("threshold", value)
        del self.theta
        if isinstance(theta, nn.Parameter):
            self.register_parameter("theta", theta)
        else:
            self.register_buffer("theta", theta if theta is None else theta.clone())
        self._threshold, self._per_neuron = number, theta is not None

    def fold(self) -> Self:
        """As `Synapse.fold`; thresholds per neuron become 1."""
        super().fold()
        if self.theta is not None:
            self.threshold = 1.0
        return self

    def settings(self) -> dict[str, Any]:
        """As `Synapse.settings`; a threshold per neuron is "parameter" or "buffer", the surrogate a dict of its fields."""
        theta = self.theta is not None
        return super().settings() | {
            "threshold": ("parameter" if isinstance(self.theta, nn.Parameter) else "buffer")
            if theta
            else self._threshold,
            "decay": self.decay,
            "surrogate": dataclasses.asdict(self.surrogate),
        }

    def effective_shortcut_scale(self, scale: float | Tensor) -> float | Tensor:
        """The scale of a shortcut, a number or [M] for its M channels, that acts beside `effective_weight_and_bias`.

        It is in units of thresholds per neuron, and rounded by a quantizer that has a method `round_shortcut`.
        """
        scale = self._per_theta(scale)
        rounded = getattr(self.quantizer, "round_shortcut", None)
        return scale if rounded is None else rounded(scale)

    def _per_theta(self, scale: float | Tensor) -> float | Tensor:
        if self.theta is None:
            return scale
        if not isinstance(scale, Tensor) or scale.numel() == 1:
            return scale / self.theta
        fits = scale.dim() == 1 and len(scale) <= len(self.theta)
        return scale / self.theta[: len(scale)] if fits else scale  # what does not fit is refused with the shortcut

    def _per_threshold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not self._per_neuron or self.theta is None:  # the flag alone would do; a look-up of theta costs more
            return weight, bias
        checks.thresholds(self.theta, len(weight))
        weight = weight / self.theta.view(-1, *[1] * (weight.dim() - 1))
        return weight, None if bias is None else bias / self.theta

    def extra_repr(self) -> str:
        """The settings, for print."""
        threshold = f"{self._threshold:g}" if self.theta is None else f"[{len(self.theta)}]"
        return f"{super().extra_repr()}, threshold={threshold}, decay={self.decay:g}, surrogate={self.surrogate}"
