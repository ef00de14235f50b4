"""What every layer has: a weight, the learnable affine on its current, and their initialisation."""

from __future__ import annotations

from typing import Literal, Required, TypedDict, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from .. import _checks
from .. import init as _init
from ._inputs import Train, drop_spikes
from .normalization import WeightNormalization

Affine = Literal["channel", "layer"] | None
INITS = ("ettfs", "kaiming", "torch")


class SynapseOptions(TypedDict, total=False):
    """Arguments that all layers take: steps is T, 1 to 254; the others as in `Synapse`."""

    steps: Required[int]
    bias: bool
    affine: Affine
    init: str
    generator: Generator | None
    dropout: float


class Synapse(nn.Module):
    """The current X[t] = gamma (W s[t]) + beta of a layer (arXiv 2410.23619, Eq. 17).

    Parameters: `weight` W, float32 [O, ...]; `gamma`, [O] with affine "channel" (default), [1] with "layer", absent
    with None; `bias`, the paper's beta, of gamma's size ([O] without an affine), absent with bias=False. beta is a
    current, added in every step. init and generator as in `reset_parameters`.

    dropout: in training each neuron that sends spikes is silent with probability p in [0, 0.99], drawn from torch's
    generator, and W counts 1 / (1 - p) times.

    `steps` is T, `fan_in` N the weight's elements an output. `gain` is the factor that keeps Var(PSC) = 1 where the
    paper's derivation does not hold (ours, see `init.ettfs_`), else 1.
    """

    weight: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        gain: float,
        *,
        steps: int,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        generator: Generator | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if affine not in ("channel", "layer", None):
            raise ValueError(f"affine must be 'channel', 'layer' or None, got {affine!r}")
        self.steps = _checks.steps(steps)
        self.gain = gain
        self.dropout = _checks.real("dropout", dropout, 0.0, 0.99)
        self.affine = affine
        self.weight = nn.Parameter(torch.empty(shape))
        size = 1 if affine == "layer" else shape[0]
        self.gamma = nn.Parameter(torch.empty(size)) if affine is not None else None
        self.bias = nn.Parameter(torch.empty(size)) if bias else None
        self.reset_parameters(init, generator=generator)

    @property
    def fan_in(self) -> int:
        """The number of weights an output has."""
        return self.weight[0].numel()

    def reset_parameters(self, init: str = "ettfs", *, generator: Generator | None = None) -> None:
        """Draw the weight anew, and set gamma to 1 and beta to 0.

        init: "ettfs" (with the layer's `gain`), "kaiming" (true He) or "torch" (torch's default), see
        `firstspike.init`. A weight that carries a parametrization has its original drawn.
        """
        if init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, got {init!r}")
        original = parametrize.is_parametrized(self, "weight")
        weight = self.get_parameter("parametrizations.weight.original" if original else "weight")
        if init == "ettfs":
            _init.ettfs_(weight, self.steps, gain=self.gain, generator=generator)
        else:
            {"kaiming": _init.kaiming_, "torch": _init.torch_default_}[init](weight, generator=generator)
        with torch.no_grad():
            if self.gamma is not None:
                self.gamma.fill_(1)
            if self.bias is not None:
                self.bias.zero_()

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """(gamma W, beta [O]) that act on the spikes, normalisation and affine folded in; differentiable."""
        weight, bias = self._scaled_weight(), self.bias
        return weight, bias if bias is None or bias.shape[0] == weight.shape[0] else bias.expand(weight.shape[0])

    def prepare_input(self, spikes: Train) -> tuple[Train, Tensor, Tensor | None]:
        """(spikes, weight, bias) of this pass: in training with dropout, the spikes that are left and a larger weight."""
        weight, bias = self.effective_weight_and_bias()
        if not self.training or self.dropout == 0:
            return spikes, weight, bias
        return drop_spikes(spikes, self.dropout), weight / (1 - self.dropout), bias

    def _scaled_weight(self) -> Tensor:
        if self.gamma is None:
            return self.weight
        parametrizations = self._modules.get("parametrizations")  # what parametrize's own functions look up, faster
        if parametrizations is not None and "weight" in parametrizations._modules:
            chain = cast(parametrize.ParametrizationList, parametrizations._modules["weight"])
            if len(chain) == 1 and isinstance(chain[0], WeightNormalization):  # both in one pass
                return chain[0](chain.original, self.gamma)
        return self.weight * self.gamma.view(-1, *[1] * (self.weight.dim() - 1))

    def extra_repr(self) -> str:
        """The settings, for print."""
        shape = ", ".join(map(str, reversed(self.weight.shape[:2])))
        dropout = f", dropout={self.dropout:g}" if self.dropout else ""
        return f"{shape}, steps={self.steps}, bias={self.bias is not None}, affine={self.affine!r}{dropout}"


def normalize(layer: Synapse) -> Synapse:
    """Put `WeightNormalization` with the layer's steps, fan-in and gain on its weight, in place; returns the layer."""
    if not isinstance(layer, Synapse):
        raise TypeError(f"layer must be a layer of firstspike.nn with a weight, got {type(layer).__name__}")
    if parametrize.is_parametrized(layer, "weight"):
        raise ValueError("layer must not be normalised yet: its weight carries a parametrization")
    parametrize.register_parametrization(layer, "weight", WeightNormalization(layer.steps, layer.fan_in, layer.gain))
    return layer
