"""The sizes of layers, fully connected or convolutional."""

from __future__ import annotations

from typing import Literal, Unpack

from torch import nn

from .._base import checks
from .._base.geometry import padding_of
from .firing import FiringOptions

Pair = tuple[int, int]


class LayerOptions(FiringOptions, total=False):
    """Keyword arguments of the layers; each class takes some of them."""

    avg_pool: int
    gain: float | None
    dropout: float


class FullyConnected(nn.Module):
    """Base of a `Synapse` with a weight [out_features, in_features]."""

    _sizes: tuple[str, ...] = ("in_features", "out_features")

    def __init__(self, in_features: int, out_features: int, *, steps: int, **options: Unpack[LayerOptions]) -> None:
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        super().__init__((self.out_features, self.in_features), steps=steps, **options)


class Convolution(nn.Module):
    """Base of a `Synapse` with a weight [out_channels, in_channels, height, width]; sizes are as in `torch.nn.Conv2d`."""

    _sizes: tuple[str, ...] = ("in_channels", "out_channels", "kernel_size", "stride", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        steps: int,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same"] = 0,
        **options: Unpack[LayerOptions],
    ) -> None:
        self.in_channels = checks.size("in_channels", in_channels)
        self.out_channels = checks.size("out_channels", out_channels)
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride = checks.pair("stride", stride, 1)
        self.padding = padding_of(padding, self.kernel_size, self.stride)
        super().__init__((self.out_channels, self.in_channels, *self.kernel_size), steps=steps, **options)
