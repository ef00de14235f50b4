"""What every layer has: a weight, its normalisation, the learnable affine on its current, and their initialisation."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from .. import init as _init
from .._base import checks
from .._base.modules import make_permanent
from ._inputs import Spikes, drop_spikes
from .normalization import WeightNormalization

Affine = Literal["channel", "layer"] | None
Normalization = bool | Literal["channel"] | nn.Module
INITS = ("ettfs", "kaiming", "torch")
#: Keys of state_dicts of version 0.1, in which a normalised weight was a parametrization of torch.
_OLD_KEYS = {"parametrizations.weight.original": "weight", "parametrizations.bias.original": "bias"}


class Synapse(nn.Module):
    """The current X[t] = gamma (W s[t]) + beta of a layer (arXiv 2410.23619, Eq. 17).

    Parameters: `weight` W, float32 [O, ...]; `gamma`, [O] with affine "channel" (default), [1] with "layer", absent
    with None; `bias`, the paper's beta, of gamma's size ([O] without an affine), absent with bias=False. beta is a
    current, added in every step. init and generator as in `reset_parameters`.

    normalization: True for `WeightNormalization` of the whole weight, "channel" for that of each output's weights, False for
    none, or a module of one's own with forward(weight, gamma) -> gamma times the weight that acts, gamma [O], [1] or None.
    It is the submodule `normalization` (or None), and may be replaced or removed later.

    dropout: in training each neuron that sends spikes is silent with probability p in [0, 0.99], drawn from torch's
    generator, and W is scaled by 1 / (1 - p).

    `steps` is T, `fan_in` N the weight's elements per output. `gain` is the factor that keeps the variance of the current
    (PSC) at 1 where the paper's derivation does not hold (ours, see `init.ettfs_`), else 1. `quantizer` is None, or a module
    with forward(weight, bias) -> (weight, bias) that is applied to the effective weight and bias, as in quantisation-aware
    training.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> layer = nn.TTFSLinear(4, 3, steps=8, normalization=True)
        >>> isinstance(layer, nn.Synapse), {name: tuple(p.shape) for name, p in layer.named_parameters()}
        (True, {'weight': (3, 4), 'gamma': (3,), 'bias': (3,)})
    """

    weight: Tensor
    normalization: nn.Module | None
    quantizer: nn.Module | None

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
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        checks.one_of("affine", affine, ("channel", "layer", None))
        checks.boolean("bias", bias)
        self.steps = checks.steps(steps)
        self.gain = gain
        self.dropout = dropout
        self.affine = affine
        self.weight = nn.Parameter(torch.empty(shape, dtype=torch.float32))
        size = 1 if affine == "layer" else shape[0]
        self.gamma = nn.Parameter(torch.empty(size, dtype=torch.float32)) if affine is not None else None
        self.bias = nn.Parameter(torch.empty(size, dtype=torch.float32)) if bias else None
        self.normalization = self._made_normalization(normalization)
        self.quantizer = None
        self.reset_parameters(init, generator=generator)

    def _made_normalization(self, asked: Normalization) -> nn.Module | None:
        if isinstance(asked, nn.Module):
            return asked
        if asked is False:
            return None
        if asked is True:
            return WeightNormalization(self.steps, self.fan_in, self.gain)
        if not isinstance(asked, str):
            raise TypeError(f'normalization must be True, False, "channel" or a module, got {checks.shown(asked)}')
        checks.one_of("normalization", asked, (True, False, "channel"))
        return WeightNormalization(self.steps, self.fan_in, self.gain, granularity="channel")

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

        init: "ettfs" (with the layer's `gain`), "kaiming" (true He) or "torch" (torch's default), see
        `firstspike.init`.
        """
        checks.one_of("init", init, INITS)
        if init == "ettfs":
            _init.ettfs_(self.weight, self.steps, gain=self.gain, generator=generator)
        else:
            {"kaiming": _init.kaiming_, "torch": _init.torch_default_}[init](self.weight, generator=generator)
        with torch.no_grad():
            if self.gamma is not None:
                self.gamma.fill_(1)
            if self.bias is not None:
                self.bias.zero_()

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """(weight, bias [O]) that act on the spikes: normalisation and affine folded in; differentiable.

        What a parametrization of torch makes in another precision under autocast is raised to float32.
        """
        weight = checks.float32("weight", self._scaled_weight())
        bias: Tensor | None = self.bias
        if bias is not None:
            bias = checks.float32("bias", bias)
            bias = bias if len(bias) == len(weight) else bias.expand(len(weight))
        weight, bias = self._per_threshold(weight, bias)
        return (weight, bias) if self.quantizer is None else self.quantizer(weight, bias)

    def prepare_input(self, spikes: Spikes) -> tuple[Spikes, Tensor, Tensor | None]:
        """(spikes, weight, bias) of this pass: in training with dropout, the spikes that are left and a larger weight."""
        weight, bias = self.effective_weight_and_bias()
        if not self.training or self.dropout == 0:
            return spikes, weight, bias
        return drop_spikes(spikes, self.dropout), weight / (1 - self.dropout), bias

    def fold(self) -> Self:
        """Put all that acts on weight and bias into them, in place: what the layer computes stays the same to the bit.

        Afterwards `weight` and `bias` are new parameters, frozen if all of the layer's were; there is no normalisation, affine or
        quantiser, and no pruning or parametrization of torch. Returns self.
        """
        trained = any(parameter.requires_grad for parameter in self.parameters())
        make_permanent(self)
        with torch.no_grad():
            weight, bias = self.effective_weight_and_bias()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=trained)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=trained)
        self.affine = self.gamma = self.normalization = self.quantizer = None
        return self

    def settings(self) -> dict[str, Any]:
        """The settings as JSON can hold them, by the names of the keyword arguments, except what the parameters hold."""
        return {
            "steps": self.steps,
            "bias": self.bias is not None,
            "affine": self.affine,
            "normalization": self._normalization_setting(),
            "dropout": self.dropout,
        }

    def _normalization_setting(self) -> bool | str:
        granularity = getattr(self.normalization, "granularity", "layer")
        return "channel" if granularity == "channel" else self.normalization is not None

    def _per_threshold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in units of the thresholds, where a layer has one per neuron."""
        return weight, bias

    def _scaled_weight(self) -> Tensor:
        if self.normalization is not None:
            normal: Tensor = self.normalization(self.weight, self.gamma)
            return normal
        if self.gamma is None:
            return self.weight
        return self.weight * self.gamma.view(-1, *[1] * (self.weight.dim() - 1))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for old, new in _OLD_KEYS.items():
            if prefix + old in state_dict and not parametrize.is_parametrized(self, new):
                state_dict[prefix + new] = state_dict.pop(prefix + old)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """The settings, for print."""
        shape = ", ".join(map(str, reversed(self.weight.shape[:2])))
        dropout = f", dropout={self.dropout:g}" if self.dropout else ""
        return f"{shape}, steps={self.steps}, bias={self.bias is not None}, affine={self.affine!r}{dropout}"
