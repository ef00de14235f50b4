"""The layers of a TTFS network: spikes in, spikes out, at most one per neuron."""

from __future__ import annotations

from typing import Any, Literal

from torch import Generator, Size, Tensor

from .. import functional
from .._base import checks
from .._base.geometry import Geometry, conv_geometry, linear_geometry, padding_of
from ..functional.layer import flat_current, full_precision, map_current, with_shortcut
from ..init import pool_gain
from ..spikes import SpikeTimes
from ..surrogate import Surrogate
from ._inputs import (
    FLAT_OR_MAP,
    MAP,
    Pair,
    Spikes,
    accumulate,
    check_spikes,
    fired_and_membrane,
    flat_membrane,
    map_membrane,
    spikes_only,
    without_pooled_spikes,
)
from .firing import FiringLayer
from .synapse import Affine, Normalization


class _TTFS(FiringLayer):
    """A layer whose input are spikes; the two below say how their synapses work."""

    _shape: str  # of the input, in words
    avg_pool: int

    def forward(
        self,
        spikes: Spikes,
        shortcut: SpikeTimes | None = None,
        *,
        shortcut_scale: float | Tensor = 1.0,
        membrane: bool = False,
    ) -> SpikeTimes | tuple[SpikeTimes, Tensor]:
        """Spike times of `spikes`; with `membrane` also V of this very pass, see `membrane`.

        `TTFSLinear` gives [B, O] for [B, N] or [B, C, H, W], `TTFSConv2d` [B, O, H', W'] for [B, C, H, W]. `spikes` may be
        `PooledSpikes` too, as `MaxPool2d` returns them, or a dense train [T, B, ...], which takes the dense path. shortcut and
        shortcut_scale as in `functional.linear`; nothing is dropped from a shortcut.
        """
        checks.boolean("membrane", membrane)
        spikes, weight, bias = self.prepare_input(check_spikes(spikes, self.steps, self._shape))
        side: dict[str, Any] = {}
        if shortcut is not None:
            spikes = spikes_only(spikes)
            side = {"shortcut": shortcut, "shortcut_scale": self.effective_shortcut_scale(shortcut_scale)}
        spikes, weight, pool = without_pooled_spikes(spikes, weight, self.avg_pool)
        if isinstance(spikes, Tensor):
            current = self._current(spikes, weight, bias)
            fired = SpikeTimes._of_fired(functional.fire(current, **self._neuron))
            return (fired, accumulate(current, self.decay)) if membrane else fired
        with full_precision(weight.device):
            if not membrane:
                return self._fire(spikes, weight, bias, pool, side)
            if shortcut is None:
                return self._fire_and_membrane(spikes, weight, bias, pool)
            fired = self._fire(spikes, weight, bias, pool, side)  # the very spikes that are made without the membrane
            geometry = self._sizes(spikes.shape, weight)
            spikes, weight = with_shortcut(spikes, weight, shortcut, side["shortcut_scale"], geometry)
            return fired, self._membrane(spikes, weight, bias, pool)

    def settings(self) -> dict[str, Any]:
        """The settings, see `Synapse.settings`."""
        own = {} if self.gain == pool_gain(self.avg_pool, self.steps) else {"gain": self.gain}
        return super().settings() | {"avg_pool": self.avg_pool} | own

    def membrane(self, spikes: Spikes) -> Tensor:
        """The potential V, float32 [T, B, O] or [T, B, O, H', W'], exact up to each neuron's spike; then without reset.

        In units of `theta` where the layer has one threshold per neuron. Nothing is dropped. A convolution makes it by T
        dense convolutions.
        """
        weight, bias = self.effective_weight_and_bias()
        return self._membrane(check_spikes(spikes, self.steps, self._shape), weight, bias, self.avg_pool)

    def _sizes(self, shape: Size, weight: Tensor) -> Geometry:
        raise NotImplementedError

    def _current(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # of a dense train
        raise NotImplementedError

    def _fire(
        self, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, pool: int, side: dict[str, Any]
    ) -> SpikeTimes:
        raise NotImplementedError

    def _membrane(self, spikes: Spikes, weight: Tensor, bias: Tensor | None, pool: int) -> Tensor:  # of any train
        raise NotImplementedError

    def _fire_and_membrane(
        self, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, pool: int
    ) -> tuple[SpikeTimes, Tensor]:
        return self._fire(spikes, weight, bias, pool, {}), self._membrane(spikes, weight, bias, pool)


class TTFSLinear(_TTFS):
    """Fully connected TTFS layer: X[t] = gamma (W s[t]) + beta, and each neuron fires once, where V >= threshold.

    Takes spikes [B, in_features], or maps [B, C, H, W] of which in_features are left after pooling, and returns SpikeTimes
    [B, out_features] (see `forward`).

    steps: T, 1 to 254. avg_pool: average pooling of input maps by k x k before they are flattened in C, H, W order; it
    costs nothing, an event enters with weight W / k^2. threshold, decay and surrogate as in `FiringLayer`, the others as in
    `Synapse`. gain: of ETTFS-init and normalisation, > 0, by default `init.pool_gain`.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
        >>> TTFSLinear(8 * 3 * 3, 10, avg_pool=2, steps=8)(spikes).shape
        torch.Size([4, 10])
    """

    _shape = FLAT_OR_MAP

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        steps: int,
        avg_pool: int = 1,
        gain: float | None = None,
        threshold: float | Tensor = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: Normalization = False,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        self.avg_pool = checks.size("avg_pool", avg_pool)
        super().__init__(
            (self.out_features, self.in_features),
            pool_gain(avg_pool, steps) if gain is None else checks.positive("gain", gain),
            steps=steps,
            threshold=threshold,
            decay=decay,
            surrogate=surrogate,
            bias=bias,
            affine=affine,
            init=init,
            normalization=normalization,
            dropout=dropout,
            generator=generator,
        )

    def settings(self) -> dict[str, Any]:
        """The settings, see `Synapse.settings`."""
        return super().settings() | {"in_features": self.in_features, "out_features": self.out_features}

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{super().extra_repr()}, avg_pool={self.avg_pool}"

    def _sizes(self, shape: Size, weight: Tensor) -> Geometry:
        return linear_geometry(shape, weight, self.avg_pool, self.steps)

    def _current(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return flat_current(x, weight, bias, self.avg_pool)

    def _fire(
        self, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, pool: int, side: dict[str, Any]
    ) -> SpikeTimes:
        return functional.linear(spikes, weight, bias, avg_pool=pool, **self._neuron, **side)

    def _membrane(self, spikes: Spikes, weight: Tensor, bias: Tensor | None, pool: int) -> Tensor:
        return flat_membrane(spikes, weight, bias, pool, self.decay)

    def _fire_and_membrane(
        self, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, pool: int
    ) -> tuple[SpikeTimes, Tensor]:
        return fired_and_membrane(spikes, weight, bias, pool, self._neuron)


class TTFSConv2d(_TTFS):
    """Convolutional TTFS layer, see `TTFSLinear`. Sizes as in `torch.nn.Conv2d`, each an int or a pair (vertical, horizontal).

    Takes spikes [B, in_channels, H, W], pooled by `avg_pool` first, and returns SpikeTimes [B, out_channels, H', W'], with H' and
    W' as of `torch.nn.Conv2d` on the pooled map. kernel_size, stride >= 1, padding >= 0, or "same" (odd kernels, no stride).
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
        >>> TTFSConv2d(8, 16, 3, padding=1, steps=8, normalization=True)(spikes).shape
        torch.Size([4, 16, 6, 6])
    """

    _shape = MAP

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        steps: int,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same"] = 0,
        avg_pool: int = 1,
        gain: float | None = None,
        threshold: float | Tensor = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: Normalization = False,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.in_channels = checks.size("in_channels", in_channels)
        self.out_channels = checks.size("out_channels", out_channels)
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride = checks.pair("stride", stride, 1)
        self.padding = padding_of(padding, self.kernel_size, self.stride)
        self.avg_pool = checks.size("avg_pool", avg_pool)
        super().__init__(
            (self.out_channels, self.in_channels, *self.kernel_size),
            pool_gain(avg_pool, steps) if gain is None else checks.positive("gain", gain),
            steps=steps,
            threshold=threshold,
            decay=decay,
            surrogate=surrogate,
            bias=bias,
            affine=affine,
            init=init,
            normalization=normalization,
            dropout=dropout,
            generator=generator,
        )

    def settings(self) -> dict[str, Any]:
        """The settings, see `Synapse.settings`."""
        return super().settings() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
        }

    def extra_repr(self) -> str:
        """The settings, for print."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, avg_pool={self.avg_pool}, {super().extra_repr()}"

    def _sizes(self, shape: Size, weight: Tensor) -> Geometry:
        return conv_geometry(shape, weight, self.stride, self.padding, self.avg_pool, self.steps)

    def _current(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return map_current(x, weight, bias, self.stride, self.padding, self.avg_pool)

    def _fire(
        self, spikes: SpikeTimes, weight: Tensor, bias: Tensor | None, pool: int, side: dict[str, Any]
    ) -> SpikeTimes:
        sizes: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "avg_pool": pool}
        return functional.conv2d(spikes, weight, bias, **sizes, **self._neuron, **side)

    def _membrane(self, spikes: Spikes, weight: Tensor, bias: Tensor | None, pool: int) -> Tensor:
        return map_membrane(spikes, weight, bias, self.stride, self.padding, pool, self.decay)
