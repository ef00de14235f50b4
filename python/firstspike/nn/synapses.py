"""The synapses of all layers with a weight: sizes, pool, dropout, rounding; fully connected and convolutional."""

from __future__ import annotations

from typing import Literal, Self, TypedDict, Unpack

import torch
from torch import Generator, Tensor, nn

from .. import functional
from .._base import checks
from .._base.geometry import padding_of
from .._base.modules import make_permanent
from ..spikes import SpikeTimes
from ..surrogate import Surrogate
from .averaging import Averaging
from .pool import PooledSpikes
from .settings import Settings

Pair = tuple[int, int]
Affine = Literal["channel", "layer"] | None
Normalization = bool | Literal["channel"] | nn.Module
#: What a layer takes: single-spike trains, those after max pooling, or a dense train [T, B, ...].
Spikes = SpikeTimes | PooledSpikes | Tensor


class LayerOptions(TypedDict, total=False):
    """Keyword arguments of layers; each class takes some of them."""

    steps: int
    avg_pool: int
    dropout: float
    normalization: Normalization
    generator: Generator | None
    bias: bool
    affine: Affine
    init: str
    gain: float | None
    threshold: float | Tensor | str
    decay: float
    synaptic_decay: float
    surrogate: Surrogate | dict[str, object] | None
    clip: float | None
    clip_per_channel: bool
    momentum: float
    eps: float


class Synapses(Settings):
    """A layer's weight, and what acts on it and on its input: the base of all layers with a weight.

    Sizes are attributes: `in_features` and `out_features` of a fully connected layer; `in_channels`, `out_channels`,
    `kernel_size`, `stride`, `padding` and `groups` of a convolution.

    Parameters
    ----------
    shape : tuple of int
        Shape of the weight, (O, ...).
    avg_pool : int
        k of the average pooling by k x k of maps before the weight.
    dropout : float
        In training, the probability from 0 to 0.99 with which a neuron of the input is silent, drawn from torch's generator.
        The weight is then scaled by 1 / (1 - dropout).

    Attributes
    ----------
    weight, bias : Tensor
        Parameters, float32 [O, ...] and [O] or [1]; `bias` may be None.
    quantizer : Module, optional
        forward(weight, bias) -> (weight, bias) rounds both in each pass; a method `round_shortcut`, if it has one, rounds the
        weight or scale of a shortcut into the layer. A layer of windows with batch normalisation gives it both with the running
        statistics in them, and in training takes the weight alone.
    timing, fires, steps : str, bool, int
        "step" or "windowed"; whether the layer's neurons fire; T, 0 of a windowed layer that does not fire.

    Examples
    --------
    >>> layer = nn.TTFSLinear(4, 3, steps=8, normalization=True)
    >>> isinstance(layer, nn.Synapses), {name: tuple(p.shape) for name, p in layer.named_parameters()}
    (True, {'weight': (3, 4), 'gamma': (3,), 'bias': (3,)})
    """

    weight: Tensor
    bias: Tensor | None
    quantizer: nn.Module | None
    steps: int = 0
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1

    def __init__(self, shape: tuple[int, ...], *, avg_pool: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.avg_pool = checks.size("avg_pool", avg_pool)
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(shape, dtype=torch.float32))
        self.bias = self.quantizer = None
        self.averaging: Averaging | None = None

    @property
    def fan_in(self) -> int:
        """The number of weights per output."""
        return self._tied_weight()[0].numel()

    @property
    def dropout(self) -> float:
        """The probability with which, in training, a neuron of the input is silent; may be set."""
        return self._dropout

    @dropout.setter
    def dropout(self, p: float) -> None:
        self._dropout = checks.real("dropout", p, 0.0, 0.0 if "dropout" in self._fixed else 0.99)

    def effective_weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Return (weight, bias [O] or None) that act on the spikes, with everything folded in; differentiable."""
        return self._rounded(self._tied_weight(), self.bias)

    def _tied_weight(self) -> Tensor:
        """The weight on the layer's input, of which `weight` is a part where `average_before` tied it."""
        return self.weight if self.averaging is None else self.averaging(self.weight)

    def _rounded(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return (weight, bias) if self.quantizer is None else self.quantizer(weight, bias)

    def round_shortcut(self, shortcut: Tensor) -> Tensor:
        """Return the weight or scale of a shortcut into the layer, rounded by a quantizer that has a method `round_shortcut`."""
        rounded = getattr(self.quantizer, "round_shortcut", None)
        return shortcut if rounded is None else rounded(shortcut)

    def drop(self, spikes: Spikes, weight: Tensor) -> tuple[Spikes, Tensor]:
        """Return (spikes, weight) of this pass: in training with dropout, the spikes that are left and a larger weight."""
        p = self.dropout
        if not self.training or p == 0:
            return spikes, weight
        if isinstance(spikes, Tensor):
            spikes = spikes * torch.empty(spikes.shape[1:], dtype=torch.float32, device=spikes.device).bernoulli_(1 - p)
        elif isinstance(spikes, PooledSpikes):
            spikes = spikes._with(functional.dropout(spikes.distinct, p))
        else:
            spikes = functional.dropout(spikes, p)
        return spikes, weight / (1 - p)

    def fold(self) -> Self:
        """Put everything that acts on weight and bias into them, in place; in evaluation the layer computes the same.

        Afterwards `weight` and `bias` are new parameters, frozen if all of the layer's were. Normalisation, affine, quantizer,
        pruning and parametrizations are gone. The results are equal to the bit in layers that run step by step, and up to
        rounding in windowed ones. Returns self.
        """
        trained = any(parameter.requires_grad for parameter in self.parameters())
        make_permanent(self)
        with torch.no_grad():
            weight, bias = self.effective_weight_and_bias()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=trained)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=trained)
        self.quantizer = self.averaging = None
        return self


class FullyConnected(Synapses):
    """Synapses with a weight [out_features, in_features]."""

    def __init__(self, in_features: int, out_features: int, **options: Unpack[LayerOptions]) -> None:
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        super().__init__((self.out_features, self.in_features), **options)  # type: ignore[misc]  # of the next base


class Convolution(Synapses):
    """Synapses with a weight [out_channels, in_channels / groups, height, width]; sizes are as in `torch.nn.Conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same"] = 0,
        **options: Unpack[LayerOptions],
    ) -> None:
        self.in_channels = checks.size("in_channels", in_channels)
        self.out_channels = checks.size("out_channels", out_channels)
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride = checks.pair("stride", stride, 1)
        self.padding = padding_of(padding, self.kernel_size, self.stride)
        if in_channels % self.groups or out_channels % self.groups:
            sizes = f"{in_channels} and {out_channels}"
            raise ValueError(f"groups must divide in_channels and out_channels, {sizes}, got {self.groups}")
        shape = self.out_channels, self.in_channels // self.groups, *self.kernel_size
        super().__init__(shape, **options)  # type: ignore[misc]  # of the next base
