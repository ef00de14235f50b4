"""The neuron's settings, the neuron alone as a module, and the base of the layers that fire."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from .. import functional
from .._base import checks
from ..surrogate import Surrogate, triangle
from .stepwise import Leaky, StepSynapses

LEAST = 1e-3  # the smallest threshold that learning may reach


class StepNeuron(NamedTuple):
    """I[t] = synaptic_decay I[t - 1] + X[t], V[t] = decay V[t - 1] + I[t]; one spike, at the first t with V[t] >= threshold.

    Parameters
    ----------
    threshold, decay, synaptic_decay : numbers, as in `TTFSNode`.
    surrogate : the derivative of the firing step with respect to V - threshold.

    Examples
    --------
    >>> nn.TTFSLinear(4, 3, steps=8, threshold=0.5).neuron.threshold
    0.5
    """

    threshold: float
    decay: float
    surrogate: Surrogate
    synaptic_decay: float


class NeuronSettings(Leaky):
    """A module with the settings of a neuron; each may be read and set."""

    _threshold: float
    _surrogate: Surrogate

    @property
    def threshold(self) -> float | Tensor:
        """The potential at which a neuron fires, > 0."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = checks.positive("threshold", value)

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate derivative of the firing step; set to None it is `triangle()`, to a dict one of its fields."""
        return self._surrogate

    @surrogate.setter
    def surrogate(self, value: Surrogate | dict[str, Any] | None) -> None:
        value = triangle() if value is None else Surrogate(**value) if isinstance(value, dict) else value
        checks.instance("surrogate", value, Surrogate, "one of firstspike.surrogate, such as triangle(1.0)")
        self._surrogate = value

    @property
    def neuron(self) -> StepNeuron:
        """The neuron; with one threshold per neuron, in units of it."""
        return StepNeuron(self._threshold, self._decay, self._surrogate, self._synaptic_decay)

    def settings(self) -> dict[str, Any]:
        """As `Settings.settings`; the surrogate as a dict of its fields."""
        return super().settings() | {"surrogate": dataclasses.asdict(self._surrogate)}


class TTFSNode(NeuronSettings):
    """The TTFS neuron alone: dense currents [T, B, ...] to dense spikes of the same shape, at most one per neuron.

    I[t] = synaptic_decay I[t - 1] + X[t], V[t] = decay V[t - 1] + I[t]; it fires once, at the first V >= threshold. A drop-in for
    the neurons of time-stepped libraries, after any layer; it has no state to reset.

    Parameters
    ----------
    threshold : > 0.
    decay : in (0, 2]; 1 is IF.
    surrogate : from `firstspike.surrogate`, by default `triangle()`.
    synaptic_decay : in [0, 1]; 0 is a current that lasts one step, 1 one that stays on. Above 0 on the CPU alone.

    Examples
    --------
    >>> TTFSNode(threshold=2.0)(torch.ones(3, 1, 1)).flatten()
    tensor([0., 1., 0.])
    """

    def __init__(
        self,
        *,
        threshold: float = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        synaptic_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.threshold, self.decay, self.surrogate, self.synaptic_decay = threshold, decay, surrogate, synaptic_decay

    def forward(self, current: Tensor) -> Tensor:
        """Return dense spikes of `current`, float32 [T, B, ...]."""
        return functional.fire(current, **self.neuron._asdict())


class FiringLayer(StepSynapses, NeuronSettings):
    """`Synapses` and TTFS neurons with the settings of a `TTFSNode`.

    With one threshold per output, weight and bias act in units of it: X[t] / theta fires at 1, and the surrogate is evaluated at
    V / theta - 1 (docs/model.md, section "Neuron"). Thresholds must stay positive: call `bound_thresholds` after each step of the
    optimizer; `train.fit` does.

    Parameters
    ----------
    threshold : a number for all neurons, or float32 [O], one per output. An `nn.Parameter` is learned. A tensor is held as
        parameter or buffer `theta`; "parameter" and "buffer" stand for a tensor of ones of either kind.
    surrogate : from `firstspike.surrogate`, by default `triangle()`.
    shape : of the weight, (O, ...).
    steps, avg_pool, dropout, decay, synaptic_decay : as in `TTFSLinear`.
    bias, affine, gain, init, normalization, generator : as in `TTFSLinear`.

    Examples
    --------
    >>> layer = nn.TTFSLinear(4, 3, steps=8, threshold=torch.nn.Parameter(torch.ones(3)))
    >>> isinstance(layer, nn.FiringLayer), layer.threshold is layer.theta
    (True, True)
    """

    fires = True
    theta: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        threshold: float | Tensor | str = 1.0,
        surrogate: Surrogate | dict[str, Any] | None = None,
        **options: Any,  # of `StepSynapses`
    ) -> None:
        super().__init__(shape, **options)
        self.register_parameter("theta", None)
        self.threshold, self.surrogate = threshold, surrogate

    @property
    def threshold(self) -> float | Tensor:
        """The potential at which a neuron fires: a number, or `theta`, [O]. A tensor that is set replaces `theta`."""
        return self._threshold if self.theta is None else self.theta

    @threshold.setter
    def threshold(self, value: float | Tensor | str) -> None:
        theta, number = None, 1.0
        if isinstance(value, str) and value in ("parameter", "buffer"):
            ones = self.weight.new_ones(len(self.weight))
            value = nn.Parameter(ones) if value == "parameter" else ones
        if isinstance(value, Tensor) and value.dim() > 0:
            theta = checks.thresholds(value, len(self.weight), wait=True)
            if theta.requires_grad and not isinstance(theta, nn.Parameter):
                raise TypeError("threshold must be an nn.Parameter, or a tensor that requires no gradient")
        else:
            number = checks.positive("threshold", value)
        del self.theta
        if isinstance(theta, nn.Parameter):
            self.register_parameter("theta", theta)
        else:
            self.register_buffer("theta", theta if theta is None else theta.clone())
        self._threshold = number

    def fold(self) -> Self:
        """As `Synapses.fold`, equal to the bit; thresholds per neuron become 1."""
        super().fold()
        if self.theta is not None:
            self.threshold = 1.0
        return self

    def settings(self) -> dict[str, Any]:
        """As `NeuronSettings.settings`; a threshold per neuron is "parameter" or "buffer"."""
        kind = "parameter" if isinstance(self.theta, nn.Parameter) else "buffer"
        return super().settings() | {"threshold": self._threshold if self.theta is None else kind}

    def effective_shortcut_scale(self, scale: float | Tensor) -> float | Tensor:
        """Return the scale of a shortcut, a number or [M] for its M channels, that goes with `effective_weight_and_bias`.

        It is in units of thresholds per neuron, and rounded by a quantizer that has a method `round_shortcut`.
        """
        if self.theta is not None:
            channels = scale.numel() if isinstance(scale, Tensor) else 1
            if channels <= len(self.theta):  # else the shortcut refuses it
                scale = scale / (self.theta[:channels] if channels > 1 else self.theta)
        return self.round_shortcut(scale)  # type: ignore[arg-type]  # a number where nothing rounds

    def _per_threshold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        theta = self.theta
        if theta is None:
            return weight, bias
        checks.thresholds(theta, len(weight))
        weight = weight / theta.view(-1, *[1] * (weight.dim() - 1))
        return weight, None if bias is None else bias / theta


def learned_thresholds(module: nn.Module) -> list[nn.Parameter]:
    """Return the thresholds of all layers in `module` that are parameters, and not frozen."""
    thetas = [layer.theta for layer in module.modules() if isinstance(layer, FiringLayer)]
    return [theta for theta in thetas if isinstance(theta, nn.Parameter) and theta.requires_grad]


def learn_thresholds(module: nn.Module) -> None:
    """Give every layer in `module` that fires one learned threshold per output, which begins at the layer's number."""
    for layer in module.modules():
        if isinstance(layer, FiringLayer):
            start = layer.weight.new_ones(len(layer.weight)) * layer.threshold
            layer.threshold = nn.Parameter(start.detach())


@torch.no_grad()
def bound_thresholds(module: nn.Module, least: float = LEAST) -> None:
    """Raise the learned thresholds of all layers in `module` that an optimizer took below `least` to it.

    Parameters
    ----------
    module : a layer, or a net with layers.
    least : > 0. Thresholds that are numbers, buffers or frozen parameters stay as they are.

    Examples
    --------
    >>> layer = nn.TTFSLinear(2, 3, steps=4, threshold=torch.nn.Parameter(torch.ones(3)))
    >>> layer.threshold.data -= torch.tensor([0.0, 1.5, 1.0])
    >>> nn.bound_thresholds(layer)
    >>> [round(value, 3) for value in layer.threshold.tolist()]
    [1.0, 0.001, 0.001]
    """
    checks.positive("least", least)
    for theta in learned_thresholds(module):
        theta.clamp_(min=least)
