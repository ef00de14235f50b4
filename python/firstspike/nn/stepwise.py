"""Synapses of layers that run step by step: normalisation, the learnable affine on the current, initialisation, decays."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from .. import init as _init
from .._base import checks
from .settings import Settings
from .synapses import Affine, Normalization, Synapses
from .weight_normalization import WeightNormalization

_INITS = ("ettfs", "kaiming", "torch")


class Leaky(Settings):
    """A module whose potential and current decay from step to step, by factors that may be read and set."""

    timing = "step"
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


class StepSynapses(Synapses, Leaky):
    """The current X[t] = gamma (W s[t]) + beta of a layer (arXiv 2410.23619, Eq. 17); see `TTFSLinear` for the parameters.

    Attributes
    ----------
    weight, gamma, bias : parameters: W, float32 [O, ...]; gamma and the paper's beta, [O] or [1], or None. With a synaptic
        current beta counts `init.bias_scale` times.
    fan_in : N, the number of weights per output.
    """

    normalization: nn.Module | None

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        steps: int,
        decay: float = 1.0,
        synaptic_decay: float = 0.0,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        gain: float | None = None,
        normalization: Normalization = False,
        generator: Generator | None = None,
        **options: Any,  # of `Synapses`
    ) -> None:
        super().__init__(shape, **options)
        self.steps = checks.steps(steps)
        self.decay, self.synaptic_decay = decay, synaptic_decay
        self.gain = self._usual_gain() if gain is None else checks.positive("gain", gain)
        checks.one_of("affine", affine, ("channel", "layer", None))
        self.affine = affine
        size = 1 if affine == "layer" else shape[0]
        self.gamma = nn.Parameter(torch.empty(size, dtype=torch.float32)) if affine is not None else None
        self.bias = nn.Parameter(torch.empty(size, dtype=torch.float32)) if checks.boolean("bias", bias) else None
        if not isinstance(normalization, nn.Module):
            checks.one_of("normalization", normalization, (True, False, "channel"))
            granularity = "channel" if normalization == "channel" else "layer"
            standard = WeightNormalization(steps, self.fan_in, self.gain, granularity=granularity) if normalization else None
        self.normalization = normalization if isinstance(normalization, nn.Module) else standard
        self.reset_parameters(init, generator=generator)

    def _usual_gain(self) -> float:
        return (
            _init.synaptic_gain(self.steps, self.decay, self.synaptic_decay) if self.synaptic_decay else float(self.steps**-0.5)
        )

    def reset_parameters(self, init: str = "ettfs", *, generator: Generator | None = None) -> None:
        """Draw the weight anew, and set gamma to 1 and beta to 0.

        init: "ettfs" (with the layer's `gain`), "kaiming" (true He) or "torch" (torch's default), see `firstspike.init`.
        """
        checks.one_of("init", init, _INITS)
        if init == "ettfs":
            _init.ettfs_(self.weight, self.steps, gain=self.gain, generator=generator)
        else:
            {"kaiming": _init.kaiming_, "torch": _init.torch_default_}[init](self.weight, generator=generator)
        with torch.no_grad():
            if self.gamma is not None:
                self.gamma.fill_(1)
            if self.bias is not None:
                self.bias.zero_()

    @property
    def bias_scale(self) -> float:
        """By what beta is multiplied, see `init.bias_scale`."""
        return _init.bias_scale(self.steps, self.decay, self.synaptic_decay) if self.synaptic_decay else 1.0

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Return (weight, bias [O]) that act on the spikes: normalisation and affine folded in; differentiable.

        A weight that a parametrization of torch gives in another precision under autocast is raised to float32.
        """
        weight = self._tied_weight()
        if self.normalization is not None:
            weight = self.normalization(weight, self.gamma)
        elif self.gamma is not None:
            weight = weight * self.gamma.view(-1, *[1] * (weight.dim() - 1))
        weight = checks.float32("weight", weight)
        bias: Tensor | None = self.bias
        if bias is not None:
            bias = checks.float32("bias", bias)
            bias = bias if len(bias) == len(weight) else bias.expand(len(weight))
            bias = bias if (scale := self.bias_scale) == 1 else scale * bias
        return self._rounded(*self._per_threshold(weight, bias))

    def fold(self) -> Self:
        """As `Synapses.fold`, equal to the bit."""
        super().fold()
        if self.bias is not None:
            self.bias.data /= self.bias_scale
        self.affine = self.gamma = self.normalization = None
        return self

    def settings(self) -> dict[str, Any]:
        """As `Settings.settings`; a `normalization` of another class counts as True."""
        granularity = getattr(self.normalization, "granularity", "layer")
        normalization = "channel" if granularity == "channel" else self.normalization is not None
        return super().settings() | {"bias": self.bias is not None, "normalization": normalization}

    def _per_threshold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in units of the thresholds, where a layer has one per neuron."""
        return weight, bias
