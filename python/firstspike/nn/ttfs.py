"""The layers of a TTFS network: spikes in, spikes out, at most one per neuron."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor, nn

from .. import _checks, _geometry, functional
from .._shortcut import with_shortcut
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
    flat_current,
    flat_membrane,
    full_precision,
    map_current,
    map_membrane,
    spikes_only,
)
from .firing import FiringLayer
from .synapse import Affine


class TTFSLinear(FiringLayer):
    """Fully connected TTFS layer: X[t] = gamma (W s[t]) + beta, and each neuron fires once, where V >= threshold.

    steps: T, 1 to 254. avg_pool: average pooling of input maps by k x k before they are flattened in C, H, W order; it
    costs nothing, an event enters with weight W / k^2. threshold, decay and surrogate as in `FiringLayer`, the others as in
    `Synapse`. gain: of ETTFS-init and normalisation, by default `init.pool_gain`.

    Examples:
        >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
        >>> TTFSLinear(8 * 3 * 3, 10, avg_pool=2, steps=8)(spikes).shape
        torch.Size([4, 10])
    """

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
        normalization: bool | nn.Module = False,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.in_features = _checks.size("in_features", in_features)
        self.out_features = _checks.size("out_features", out_features)
        self.avg_pool = _checks.size("avg_pool", avg_pool)
        super().__init__(
            (self.out_features, self.in_features),
            pool_gain(avg_pool, steps) if gain is None else _checks.positive("gain", gain),
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

    def forward(
        self,
        spikes: Spikes,
        shortcut: SpikeTimes | None = None,
        *,
        shortcut_scale: float | Tensor = 1.0,
        membrane: bool = False,
    ) -> SpikeTimes | tuple[SpikeTimes, Tensor]:
        """Spike times [B, O] of `spikes` [B, N] or [B, C, H, W]; with `membrane` also V of this very pass, see `membrane`.

        `spikes` may be a dense train [T, B, ...] too, as `MaxPool2d` returns it: it takes the dense path. shortcut and
        shortcut_scale as in `functional.linear`; nothing is dropped from a shortcut.
        """
        _checks.boolean("membrane", membrane)
        spikes, weight, bias = self.prepare_input(check_spikes(spikes, self.steps, FLAT_OR_MAP))
        if shortcut is not None:
            spikes = spikes_only(spikes)
            geometry = _geometry.linear(spikes.shape, weight, self.avg_pool, self.steps)
            spikes, weight = with_shortcut(spikes, weight, shortcut, self._per_theta(shortcut_scale), geometry)
        if isinstance(spikes, Tensor):
            current = flat_current(spikes, weight, bias, self.avg_pool)
            fired = SpikeTimes.from_dense(functional.fire(current, **self.neuron))
            return (fired, accumulate(current, self.decay)) if membrane else fired
        with full_precision(weight.device):
            if membrane:
                return fired_and_membrane(spikes, weight, bias, self.avg_pool, self.neuron)
            return functional.linear(spikes, weight, bias, avg_pool=self.avg_pool, **self.neuron)

    def membrane(self, spikes: Spikes) -> Tensor:
        """The potential V, float32 [T, B, O], exact up to each neuron's spike; then without reset.

        In units of `theta` where the layer has one threshold per neuron. Nothing is dropped.
        """
        weight, bias = self.effective_weight_and_bias()
        return flat_membrane(check_spikes(spikes, self.steps, FLAT_OR_MAP), weight, bias, self.avg_pool, self.decay)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the layer can be built again; what its parameters hold apart."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features, "avg_pool": self.avg_pool}
        own = {} if self.gain == pool_gain(self.avg_pool, self.steps) else {"gain": self.gain}
        return super().settings() | sizes | own

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{super().extra_repr()}, avg_pool={self.avg_pool}"


class TTFSConv2d(FiringLayer):
    """Convolutional TTFS layer, see `TTFSLinear`. Sizes as in `torch.nn.Conv2d`, each an int or a pair (vertical, horizontal).

    avg_pool pools the input first.

    Examples:
        >>> spikes = SpikeTimes(torch.zeros(4, 8, 6, 6, dtype=torch.uint8), steps=8)
        >>> TTFSConv2d(8, 16, 3, padding=1, steps=8, normalization=True)(spikes).shape
        torch.Size([4, 16, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        steps: int,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        avg_pool: int = 1,
        gain: float | None = None,
        threshold: float | Tensor = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: bool | nn.Module = False,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.in_channels = _checks.size("in_channels", in_channels)
        self.out_channels = _checks.size("out_channels", out_channels)
        self.kernel_size = _checks.pair("kernel_size", kernel_size, 1)
        self.stride = _checks.pair("stride", stride, 1)
        self.padding = _checks.pair("padding", padding, 0)
        self.avg_pool = _checks.size("avg_pool", avg_pool)
        super().__init__(
            (self.out_channels, self.in_channels, *self.kernel_size),
            pool_gain(avg_pool, steps) if gain is None else _checks.positive("gain", gain),
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

    def forward(
        self,
        spikes: Spikes,
        shortcut: SpikeTimes | None = None,
        *,
        shortcut_scale: float | Tensor = 1.0,
        membrane: bool = False,
    ) -> SpikeTimes | tuple[SpikeTimes, Tensor]:
        """Spike times [B, O, H', W'] of `spikes` [B, C, H, W]; with `membrane` also V of this very pass, see `membrane`.

        `spikes` may be a dense train [T, B, ...] too, as `MaxPool2d` returns it: it takes the dense path. shortcut and
        shortcut_scale as in `functional.conv2d`; nothing is dropped from a shortcut.
        """
        _checks.boolean("membrane", membrane)
        spikes, weight, bias = self.prepare_input(check_spikes(spikes, self.steps, MAP))
        if shortcut is not None:
            spikes = spikes_only(spikes)
            geometry = _geometry.convolution(spikes.shape, weight, *self._window, self.steps)
            spikes, weight = with_shortcut(spikes, weight, shortcut, self._per_theta(shortcut_scale), geometry)
        if isinstance(spikes, Tensor):
            current = map_current(spikes, weight, bias, *self._window)
            fired = SpikeTimes.from_dense(functional.fire(current, **self.neuron))
            return (fired, accumulate(current, self.decay)) if membrane else fired
        sizes: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "avg_pool": self.avg_pool}
        with full_precision(weight.device):
            fired = functional.conv2d(spikes, weight, bias, **sizes, **self.neuron)
        return (fired, map_membrane(spikes, weight, bias, *self._window, self.decay)) if membrane else fired

    def membrane(self, spikes: Spikes) -> Tensor:
        """The potential V, float32 [T, B, O, H', W'], without reset, by T dense convolutions; else as in `TTFSLinear`."""
        weight, bias = self.effective_weight_and_bias()
        return map_membrane(check_spikes(spikes, self.steps, MAP), weight, bias, *self._window, self.decay)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which the layer can be built again; what its parameters hold apart."""
        own = {} if self.gain == pool_gain(self.avg_pool, self.steps) else {"gain": self.gain}
        return (
            super().settings()
            | own
            | {
                "in_channels": self.in_channels,
                "out_channels": self.out_channels,
                "kernel_size": self.kernel_size,
                "stride": self.stride,
                "padding": self.padding,
                "avg_pool": self.avg_pool,
            }
        )

    @property
    def _window(self) -> tuple[Pair, Pair, int]:
        return self.stride, self.padding, self.avg_pool

    def extra_repr(self) -> str:
        """The settings, for print."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, avg_pool={self.avg_pool}, {super().extra_repr()}"
