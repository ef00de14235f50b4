"""The neuron's settings, the neuron alone as a module, and the base of the layers that fire."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from .. import functional
from .._base import checks
from ..surrogate import Surrogate, triangle
from .synapse import Synapse, SynapseOptions

LEAST = 1e-3  # the smallest threshold that learning may reach


class Neuron(TypedDict):
    """The settings of a TTFS neuron, as the functions of `firstspike.functional` take them."""

    threshold: float
    decay: float
    surrogate: Surrogate
    synaptic_decay: float


class FiringOptions(SynapseOptions, total=False):
    """Keyword arguments of every `FiringLayer`."""

    threshold: float | Tensor
    decay: float
    surrogate: Surrogate | None
    synaptic_decay: float


class Leaky(nn.Module):
    """A module whose potential and current decay from step to step, by factors that may be read and set."""

    _decay: float
    _synaptic_decay: float

    @property
    def decay(self) -> float:
        """The factor of the potential from step to step, in (0, 2]; 1 for IF, below it leaks, above it grows."""
        return self._decay

    @decay.setter
    def decay(self, value: float) -> None:
        self._decay = checks.decay(value, getattr(self, "steps", 1))

    @property
    def synaptic_decay(self) -> float:
        """The factor of the current from step to step, in [0, 1]; 0 for one that lasts a step, 1 for one that stays on."""
        return self._synaptic_decay

    @synaptic_decay.setter
    def synaptic_decay(self, value: float) -> None:
        self._synaptic_decay = checks.synaptic_decay(value)

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module would register a module or a parameter before it looks for a property
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


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
        """The surrogate derivative of the firing step; set to None it is `triangle()`."""
        return self._surrogate

    @surrogate.setter
    def surrogate(self, value: Surrogate | None) -> None:
        value = triangle() if value is None else value
        checks.instance("surrogate", value, Surrogate, "one of firstspike.surrogate, such as triangle(1.0)")
        self._surrogate = value

    @property
    def neuron(self) -> Neuron:
        """A copy of the settings as the functions take them."""
        return {
            "threshold": self._threshold,
            "decay": self._decay,
            "surrogate": self._surrogate,
            "synaptic_decay": self._synaptic_decay,
        }


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
        return functional.fire(current, **self.neuron)

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments with which the module can be built again; the surrogate as a dict of its fields."""
        return {**self.neuron, "surrogate": dataclasses.asdict(self.surrogate)}

    def extra_repr(self) -> str:
        """Return the settings, for print."""
        return ", ".join(f"{name}={value}" for name, value in self.neuron.items())


class FiringLayer(Synapse, NeuronSettings):
    """A `Synapse` and TTFS neurons with the settings of a `TTFSNode`.

    With one threshold per output, weight and bias act in units of it: X[t] / theta fires at 1, and the surrogate is evaluated at
    V / theta - 1 (docs/model.md, section "Neuron"). Thresholds must stay positive: call `bound_thresholds` after each step of the
    optimizer; `train.fit` does.

    Parameters
    ----------
    threshold : a number for all neurons, or float32 [O], one per output. An `nn.Parameter` is learned. A tensor is held as
        parameter or buffer `theta`.
    decay : in (0, 2]; 1 is IF.
    surrogate : from `firstspike.surrogate`, by default `triangle()`.
    synaptic_decay : in [0, 1], see `TTFSNode`.
    shape, gain, steps, bias, affine, init, normalization, generator : as in `Synapse`.

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
        gain: float,
        *,
        steps: int,
        threshold: float | Tensor = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        synaptic_decay: float = 0.0,
        **options: Unpack[SynapseOptions],
    ) -> None:
        super().__init__(shape, gain, steps=steps, **options)
        self.register_parameter("theta", None)
        self.threshold, self.decay, self.surrogate, self.synaptic_decay = threshold, decay, surrogate, synaptic_decay

    @property
    def threshold(self) -> float | Tensor:
        """The potential at which a neuron fires: a number, or `theta`, [O]. A tensor that is set replaces `theta`."""
        return self._threshold if self.theta is None else self.theta

    @threshold.setter
    def threshold(self, value: float | Tensor) -> None:
        theta, number = None, 1.0
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
        """As `Synapse.fold`; thresholds per neuron become 1."""
        super().fold()
        if self.theta is not None:
            self.threshold = 1.0
        return self

    def settings(self) -> dict[str, Any]:
        """As `Synapse.settings`; a threshold per neuron is "parameter" or "buffer", the surrogate a dict of its fields."""
        kind = "parameter" if isinstance(self.theta, nn.Parameter) else "buffer"
        return super().settings() | {
            "threshold": self._threshold if self.theta is None else kind,
            "decay": self.decay,
            "synaptic_decay": self.synaptic_decay,
            "surrogate": dataclasses.asdict(self.surrogate),
        }

    def effective_shortcut_scale(self, scale: float | Tensor) -> float | Tensor:
        """Return the scale of a shortcut, a number or [M] for its M channels, that goes with `effective_weight_and_bias`.

        It is in units of thresholds per neuron, and rounded by a quantizer that has a method `round_shortcut`.
        """
        if self.theta is not None:
            channels = scale.numel() if isinstance(scale, Tensor) else 1
            if channels <= len(self.theta):  # else the shortcut refuses it
                scale = scale / (self.theta[:channels] if channels > 1 else self.theta)
        rounded = getattr(self.quantizer, "round_shortcut", None)
        return scale if rounded is None else rounded(scale)

    def _per_threshold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        theta = self.theta
        if theta is None:
            return weight, bias
        checks.thresholds(theta, len(weight))
        weight = weight / theta.view(-1, *[1] * (weight.dim() - 1))
        return weight, None if bias is None else bias / theta

    def extra_repr(self) -> str:
        """Return the settings, for print."""
        threshold = f"{self._threshold:g}" if self.theta is None else f"[{len(self.theta)}]"
        decays = f"decay={self.decay:g}" + (f", synaptic_decay={self.synaptic_decay:g}" if self.synaptic_decay else "")
        return f"{super().extra_repr()}, threshold={threshold}, {decays}, surrogate={self.surrogate}"


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
