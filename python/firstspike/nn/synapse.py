"""Base of all layers: a weight, its normalisation, the learnable affine on its current, and their initialisation."""

from __future__ import annotations

from typing import Any, Literal, Self, TypedDict

import torch
from torch import Generator, Tensor, nn

from .. import functional
from .. import init as _init
from .._base import checks
from .._base.modules import make_permanent
from ..spikes import SpikeTimes
from .pool import PooledSpikes
from .settings import NamedOptions
from .weight_normalization import WeightNormalization

Affine = Literal["channel", "layer"] | None
Normalization = bool | Literal["channel"] | nn.Module
#: What a layer takes: single-spike trains, those after max pooling, or a dense train [T, B, ...].
Spikes = SpikeTimes | PooledSpikes | Tensor
_INITS = ("ettfs", "kaiming", "torch")


class SynapseOptions(TypedDict, total=False):
    """Keyword arguments of every `Synapse`."""

    bias: bool
    affine: Affine
    init: str
    normalization: Normalization
    generator: Generator | None


class Synapse(nn.Module, NamedOptions):
    """The current X[t] = gamma (W s[t]) + beta of a layer (arXiv 2410.23619, Eq. 17).

    Parameters
    ----------
    shape : of the weight, (O, ...).
    steps : T, 1 to 254.
    bias : whether the layer has beta, a current that is added in every step.
    affine : "channel" for one gamma and beta per output, "layer" for one each, None for no gamma.
    init, generator : as in `reset_parameters`.
    normalization : True for `WeightNormalization` of the whole weight, "channel" for one of each output's weights, False for
        none, or a custom module with forward(weight, gamma) -> gamma times the weight that acts; gamma is [O], [1] or None.
        It is the submodule `normalization`, and may be replaced or removed later.
    dropout : of layers that take spikes: in training each neuron that sends spikes is silent with this probability, 0 to 0.99,
        drawn from torch's generator, and W is scaled by 1 / (1 - dropout).

    Attributes
    ----------
    weight, gamma, bias : parameters: W, float32 [O, ...]; gamma and the paper's beta, [O] or [1], or None. With a synaptic
        current beta counts `init.bias_scale` times.
    fan_in : N, the number of weights per output.
    gain : the factor of the first weights where the paper's derivation does not hold (ours, see `init.ettfs_`), else 1.
    quantizer : None, or a module with forward(weight, bias) -> (weight, bias) that is applied to the effective weight and bias.

    Examples
    --------
    >>> layer = nn.TTFSLinear(4, 3, steps=8, normalization=True)
    >>> isinstance(layer, nn.Synapse), {name: tuple(p.shape) for name, p in layer.named_parameters()}
    (True, {'weight': (3, 4), 'gamma': (3,), 'bias': (3,)})
    """

    timing, fires = "step", False
    weight: Tensor
    normalization: nn.Module | None
    quantizer: nn.Module | None
    _sizes: tuple[str, ...] = ()  # names of attributes that are keyword arguments of the class

    def __init__(
        self,
        shape: tuple[int, ...],
        gain: float,
        *,
        steps: int,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: Normalization = False,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        checks.one_of("affine", affine, ("channel", "layer", None))
        checks.boolean("bias", bias)
        self.steps = checks.steps(steps)
        self.gain = gain
        self.dropout = 0.0
        self.affine = affine
        self.weight = nn.Parameter(torch.empty(shape, dtype=torch.float32))
        size = 1 if affine == "layer" else shape[0]
        self.gamma = nn.Parameter(torch.empty(size, dtype=torch.float32)) if affine is not None else None
        self.bias = nn.Parameter(torch.empty(size, dtype=torch.float32)) if bias else None
        if not isinstance(normalization, nn.Module):
            checks.one_of("normalization", normalization, (True, False, "channel"))
            granularity = "channel" if normalization == "channel" else "layer"
            made = WeightNormalization(steps, self.fan_in, gain, granularity=granularity) if normalization else None
        self.normalization = normalization if isinstance(normalization, nn.Module) else made
        self.quantizer = None
        self.reset_parameters(init, generator=generator)

    @property
    def fan_in(self) -> int:
        """The number of weights per output."""
        return self.weight[0].numel()

    @property
    def dropout(self) -> float:
        """The probability with which, in training, a neuron that sends spikes is silent; may be set."""
        return self._dropout

    @dropout.setter
    def dropout(self, p: float) -> None:
        self._dropout = checks.real("dropout", p, 0.0, 0.99)

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
    def _bias_scale(self) -> float:
        synaptic_decay = getattr(self, "synaptic_decay", 0.0)
        return _init.bias_scale(self.steps, getattr(self, "decay", 1.0), synaptic_decay) if synaptic_decay else 1.0

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Return (weight, bias [O]) that act on the spikes: normalisation and affine folded in; differentiable.

        A weight that a parametrization of torch gives in another precision under autocast is raised to float32.
        """
        if self.normalization is not None:
            weight = self.normalization(self.weight, self.gamma)
        elif self.gamma is not None:
            weight = self.weight * self.gamma.view(-1, *[1] * (self.weight.dim() - 1))
        else:
            weight = self.weight
        weight = checks.float32("weight", weight)
        bias: Tensor | None = self.bias
        if bias is not None:
            bias = checks.float32("bias", bias)
            bias = bias if len(bias) == len(weight) else bias.expand(len(weight))
            bias = bias if (scale := self._bias_scale) == 1 else scale * bias
        weight, bias = self._per_threshold(weight, bias)
        return (weight, bias) if self.quantizer is None else self.quantizer(weight, bias)

    def prepare_input(self, spikes: Spikes) -> tuple[Spikes, Tensor, Tensor | None]:
        """Return (spikes, weight, bias) of this pass: in training with dropout, the spikes that are left and a larger weight."""
        weight, bias = self.effective_weight_and_bias()
        p = self.dropout
        if not self.training or p == 0:
            return spikes, weight, bias
        if isinstance(spikes, Tensor):
            left = torch.empty(spikes.shape[1:], dtype=torch.float32, device=spikes.device).bernoulli_(1 - p)
            spikes = spikes * left
        elif isinstance(spikes, PooledSpikes):
            spikes = spikes._with(functional.dropout(spikes.distinct, p))
        else:
            spikes = functional.dropout(spikes, p)
        return spikes, weight / (1 - p), bias

    def fold(self) -> Self:
        """Put everything that acts on weight and bias into them, in place; the layer computes the same to the bit.

        Afterwards `weight` and `bias` are new parameters, frozen if all of the layer's were. Normalisation, affine, quantizer,
        pruning and parametrizations are gone. Returns self.
        """
        trained = any(parameter.requires_grad for parameter in self.parameters())
        make_permanent(self)
        with torch.no_grad():
            weight, bias = self.effective_weight_and_bias()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=trained)
        self.bias = None if bias is None else nn.Parameter(bias.detach() / self._bias_scale, requires_grad=trained)
        self.affine = self.gamma = self.normalization = self.quantizer = None
        return self

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them, by the names of the keyword arguments, except the parameters' values."""
        granularity = getattr(self.normalization, "granularity", "layer")
        return {
            **{name: getattr(self, name) for name in self._sizes},
            "steps": self.steps,
            "bias": self.bias is not None,
            "affine": self.affine,
            "normalization": "channel" if granularity == "channel" else self.normalization is not None,
            "dropout": self.dropout,
        }

    def _per_threshold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in units of the thresholds, where a layer has one per neuron."""
        return weight, bias

    def extra_repr(self) -> str:
        """Return the settings, for print."""
        sizes = ", ".join(f"{name}={getattr(self, name)}" for name in self._sizes)
        dropout = f", dropout={self.dropout:g}" if self.dropout else ""
        return f"{sizes}, steps={self.steps}, bias={self.bias is not None}, affine={self.affine!r}{dropout}"
