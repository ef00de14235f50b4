"""Directly coded layers: the data as a constant current, the first layer of a net."""

from __future__ import annotations

from typing import Any, Literal

from torch import Generator, Tensor

from .. import functional
from .._base import checks
from .._base.geometry import padding_of
from ..spikes import SpikeTimes
from ..surrogate import Surrogate
from ._inputs import Pair, accumulate, check_data, constant_current
from .firing import FiringLayer
from .synapse import Affine, Normalization


class _Direct(FiringLayer):
    """A layer whose input is data, not spikes: nothing is dropped from it."""

    def __init__(self, shape: tuple[int, ...], *, steps: int, **options: Any) -> None:
        super().__init__(shape, checks.steps(steps) ** -0.5, steps=steps, **options)

    @property
    def dropout(self) -> float:
        """0: the input is data, from which nothing is dropped."""
        return 0.0

    @dropout.setter
    def dropout(self, p: float) -> None:
        if checks.real("dropout", p) != 0:
            raise ValueError(f"dropout must be 0 in a layer that no spikes reach, got {p}")

    def forward(self, x: Tensor, *, membrane: bool = False) -> SpikeTimes | tuple[SpikeTimes, Tensor]:
        """Spike times [B, O, ...] of data x, float32; with `membrane` also V, float32 [T, B, O, ...], see `membrane`."""
        checks.boolean("membrane", membrane)
        current = self._current(x)
        spikes = functional.ramp(current, self.steps, **self._neuron)
        return (spikes, self._potential(current)) if membrane else spikes

    def membrane(self, x: Tensor) -> Tensor:
        """The potential V, float32 [T, B, O, ...]: exact up to each neuron's spike; after it, V goes on without reset."""
        return self._potential(self._current(x))

    def settings(self) -> dict[str, Any]:
        """The settings, see `Synapse.settings`."""
        return {name: value for name, value in super().settings().items() if name != "dropout"}

    def _potential(self, current: Tensor) -> Tensor:
        return accumulate(current.expand(self.steps, *current.shape), self.decay)

    def _current(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class DirectLinear(_Direct):
    """Direct coding: the constant current I = gamma (W x) + beta in every step, so that V[t] = (t + 1) I for decay 1.

    The product is computed once, whatever T is, and the time has a closed form (`functional.ramp`). `gain` is 1 /
    sqrt(T), since the whole input arrives in every step.

    Takes float32 [B, in_features] and returns SpikeTimes [B, out_features].

    steps: T, 1 to 254. threshold, decay and surrogate as in `FiringLayer`, the others as in `Synapse`.
    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> DirectLinear(64, 10, steps=8)(torch.rand(4, 64)).shape
        torch.Size([4, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        steps: int,
        threshold: float | Tensor = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: Normalization = False,
        generator: Generator | None = None,
    ) -> None:
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        super().__init__(
            (self.out_features, self.in_features),
            steps=steps,
            threshold=threshold,
            decay=decay,
            surrogate=surrogate,
            bias=bias,
            affine=affine,
            init=init,
            normalization=normalization,
            generator=generator,
        )

    def settings(self) -> dict[str, Any]:
        """The settings, see `Synapse.settings`."""
        return super().settings() | {"in_features": self.in_features, "out_features": self.out_features}

    def _current(self, x: Tensor) -> Tensor:
        x = check_data(x, self.weight, maps=False)
        return constant_current(x, *self.effective_weight_and_bias())


class DirectConv2d(_Direct):
    """Direct coding through a convolution, see `DirectLinear`. Sizes as in `torch.nn.Conv2d`, each an int or a pair.

    Takes float32 [B, in_channels, H, W] and returns SpikeTimes [B, out_channels, H', W'].

    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> DirectConv2d(3, 16, 3, padding=1, steps=8)(torch.rand(4, 3, 8, 8)).shape
        torch.Size([4, 16, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        steps: int,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same"] = 0,
        threshold: float | Tensor = 1.0,
        decay: float = 1.0,
        surrogate: Surrogate | None = None,
        bias: bool = True,
        affine: Affine = "channel",
        init: str = "ettfs",
        normalization: Normalization = False,
        generator: Generator | None = None,
    ) -> None:
        self.in_channels = checks.size("in_channels", in_channels)
        self.out_channels = checks.size("out_channels", out_channels)
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride = checks.pair("stride", stride, 1)
        self.padding = padding_of(padding, self.kernel_size, self.stride)
        super().__init__(
            (self.out_channels, self.in_channels, *self.kernel_size),
            steps=steps,
            threshold=threshold,
            decay=decay,
            surrogate=surrogate,
            bias=bias,
            affine=affine,
            init=init,
            normalization=normalization,
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

    def _current(self, x: Tensor) -> Tensor:
        x = check_data(x, self.weight, maps=True)
        padded = [size + 2 * pad for size, pad in zip(x.shape[2:], self.padding, strict=True)]
        if any(size < kernel for size, kernel in zip(padded, self.kernel_size, strict=True)):
            raise ValueError(f"x must be maps that hold the kernel {self.kernel_size}, padded, got {tuple(x.shape)}")
        return constant_current(x, *self.effective_weight_and_bias(), self.stride, self.padding)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, {super().extra_repr()}"
