"""The layers of a TTFS network: spikes in, spikes out, at most one a neuron."""

from __future__ import annotations

from torch import Generator, Tensor

from .. import _checks, functional
from ..spikes import SpikeTimes
from ..surrogate import Surrogate
from ._trains import Train, accumulate, check_train, fired_once, flat_current, map_current
from .firing import FiringLayer
from .synapse import Affine


class TTFSLinear(FiringLayer):
    """Fully connected TTFS layer: X[t] = gamma (W s[t]) + beta, and each neuron fires once, where V >= threshold.

    avg_pool: average pooling of input maps by k x k before they are flattened in C, H, W order; it costs nothing, an event enters
    with weight W / k^2. Parameters as in `Synapse`, the neuron's settings as in `FiringLayer`; `gain` is k.
    """

    def __init__(self, in_features: int, out_features: int, *, steps: int, avg_pool: int = 1, bias: bool = True,
                 affine: Affine = "channel", threshold: float = 1.0, decay: float = 1.0, surrogate: Surrogate | None = None,
                 generator: Generator | None = None) -> None:
        self.in_features = _checks.integer("in_features", in_features, 1)
        self.out_features = _checks.integer("out_features", out_features, 1)
        self.avg_pool = _checks.integer("avg_pool", avg_pool, 1)
        super().__init__((out_features, in_features), steps=steps, gain=float(avg_pool), bias=bias, affine=affine,
                         threshold=threshold, decay=decay, surrogate=surrogate, generator=generator)

    def forward(self, spikes: Train) -> SpikeTimes:
        """Spike times [B, O] of `spikes` [B, N] or [B, C, H, W].

        `spikes` may be a dense train [T, B, ...] too, as `MaxPool2d` returns it: it takes the dense path.
        """
        spikes = check_train(spikes, self.steps, (2, 4), "[batch, neurons] or [batch, channels, height, width]")
        weight, bias = self.synapse()
        if isinstance(spikes, Tensor):
            return fired_once(functional.fire(flat_current(spikes, weight, bias, self.avg_pool), **self.neuron))
        return functional.linear(spikes, weight, bias, avg_pool=self.avg_pool, **self.neuron)

    def membrane(self, spikes: Train) -> Tensor:
        """The potential V, float32 [T, B, O], of `spikes`: exact up to each neuron's spike; after it, V goes on without reset."""
        spikes = check_train(spikes, self.steps, (2, 4), "[batch, neurons] or [batch, channels, height, width]")
        weight, bias = self.synapse()
        if isinstance(spikes, Tensor):
            return accumulate(flat_current(spikes, weight, bias, self.avg_pool), self.decay)
        return functional.integrate(spikes, weight, bias, avg_pool=self.avg_pool, decay=self.decay)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{self.in_features}, {self.out_features}, avg_pool={self.avg_pool}, {self.settings()}"


class TTFSConv2d(FiringLayer):
    """Convolutional TTFS layer, see `TTFSLinear`. Sizes as in `torch.nn.Conv2d`, square kernels; avg_pool pools the input first."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, steps: int, stride: int = 1, padding: int = 0,
                 avg_pool: int = 1, bias: bool = True, affine: Affine = "channel", threshold: float = 1.0, decay: float = 1.0,
                 surrogate: Surrogate | None = None, generator: Generator | None = None) -> None:
        self.in_channels = _checks.integer("in_channels", in_channels, 1)
        self.out_channels = _checks.integer("out_channels", out_channels, 1)
        self.kernel_size = _checks.integer("kernel_size", kernel_size, 1)
        self.stride = _checks.integer("stride", stride, 1)
        self.padding = _checks.integer("padding", padding, 0)
        self.avg_pool = _checks.integer("avg_pool", avg_pool, 1)
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), steps=steps, gain=float(avg_pool), bias=bias,
                         affine=affine, threshold=threshold, decay=decay, surrogate=surrogate, generator=generator)

    def forward(self, spikes: Train) -> SpikeTimes:
        """Spike times [B, O, H', W'] of `spikes` [B, C, H, W].

        `spikes` may be a dense train [T, B, ...] too, as `MaxPool2d` returns it: it takes the dense path.
        """
        spikes = check_train(spikes, self.steps, (4,), "[batch, channels, height, width]")
        weight, bias = self.synapse()
        if isinstance(spikes, Tensor):
            current = map_current(spikes, weight, bias, self.stride, self.padding, self.avg_pool)
            return fired_once(functional.fire(current, **self.neuron))
        return functional.conv2d(spikes, weight, bias, stride=self.stride, padding=self.padding, avg_pool=self.avg_pool,
                                 **self.neuron)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"padding={self.padding}, avg_pool={self.avg_pool}, {self.settings()}")
