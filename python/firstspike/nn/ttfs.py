"""The layers of a TTFS network: spikes in, spikes out, at most one a neuron."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from .. import _checks, functional
from ..init import pool_gain
from ..spikes import SpikeTimes
from ._inputs import FLAT_OR_MAP, MAP, Train, check_train, flat_current, flat_membrane, full_precision, map_current
from .firing import FiringLayer, FiringOptions


class TTFSLinear(FiringLayer):
    """Fully connected TTFS layer: X[t] = gamma (W s[t]) + beta, and each neuron fires once, where V >= threshold.

    avg_pool: average pooling of input maps by k x k before they are flattened in C, H, W order; it costs nothing, an
    event enters with weight W / k^2. `gain` is `init.pool_gain`. Options as in `Synapse` (steps is required) and
    `FiringLayer`.
    """

    def __init__(
        self, in_features: int, out_features: int, *, avg_pool: int = 1, **options: Unpack[FiringOptions]
    ) -> None:
        _checks.integer("in_features", in_features, 1)
        _checks.integer("out_features", out_features, 1)
        super().__init__((out_features, in_features), pool_gain(avg_pool, options.get("steps")), **options)
        self.in_features, self.out_features, self.avg_pool = in_features, out_features, avg_pool

    def forward(self, spikes: Train) -> SpikeTimes:
        """Spike times [B, O] of `spikes` [B, N] or [B, C, H, W].

        `spikes` may be a dense train [T, B, ...] too, as `MaxPool2d` returns it: it takes the dense path.
        """
        spikes, weight, bias = self.prepare_input(check_train(spikes, self.steps, FLAT_OR_MAP))
        if isinstance(spikes, Tensor):
            current = flat_current(spikes, weight, bias, self.avg_pool)
            return SpikeTimes.from_dense(functional.fire(current, **self.neuron))
        with full_precision(weight.device):
            return functional.linear(spikes, weight, bias, avg_pool=self.avg_pool, **self.neuron)

    def membrane(self, spikes: Train) -> Tensor:
        """The potential V, float32 [T, B, O], exact up to each neuron's spike; then without reset."""
        weight, bias = self.effective_weight_and_bias()
        return flat_membrane(check_train(spikes, self.steps, FLAT_OR_MAP), weight, bias, self.avg_pool, self.decay)

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"{super().extra_repr()}, avg_pool={self.avg_pool}"


class TTFSConv2d(FiringLayer):
    """Convolutional TTFS layer, see `TTFSLinear`. Sizes as in `torch.nn.Conv2d`, square kernels.

    avg_pool pools the input first.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        avg_pool: int = 1,
        **options: Unpack[FiringOptions],
    ) -> None:
        _checks.integer("in_channels", in_channels, 1)
        _checks.integer("out_channels", out_channels, 1)
        _checks.integer("kernel_size", kernel_size, 1)
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        super().__init__(shape, pool_gain(avg_pool, options.get("steps")), **options)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.avg_pool = avg_pool
        self.stride = _checks.integer("stride", stride, 1)
        self.padding = _checks.integer("padding", padding, 0)

    def forward(self, spikes: Train) -> SpikeTimes:
        """Spike times [B, O, H', W'] of `spikes` [B, C, H, W].

        `spikes` may be a dense train [T, B, ...] too, as `MaxPool2d` returns it: it takes the dense path.
        """
        spikes, weight, bias = self.prepare_input(check_train(spikes, self.steps, MAP))
        if isinstance(spikes, Tensor):
            current = map_current(spikes, weight, bias, self.stride, self.padding, self.avg_pool)
            return SpikeTimes.from_dense(functional.fire(current, **self.neuron))
        sizes = {"stride": self.stride, "padding": self.padding, "avg_pool": self.avg_pool}
        with full_precision(weight.device):
            return functional.conv2d(spikes, weight, bias, **sizes, **self.neuron)

    def extra_repr(self) -> str:
        """The settings, for print."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, avg_pool={self.avg_pool}, {super().extra_repr()}"
