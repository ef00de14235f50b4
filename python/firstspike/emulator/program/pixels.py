"""A directly coded first layer in integers: bytes times integer weights, once per sample, as constant currents."""

from __future__ import annotations

from math import prod
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from ..._base import _emulator
from ..._base.provenance import cores
from ...nn.image_scaling import as_float
from ...ops.integers import IntegerInput, IntegerKernel, IntegerLayer
from .layers import Layer, array_of

MOST_SUM = (1 << 31) - 1  # of the absolute values of all terms of a sum
_BLOCK = 1 << 22  # sums that are held at a time


class PixelLayer(Layer):
    """The first layer of a program that takes pixels (docs/emulator.md, "Pixels"); its neurons send the program's input spikes.

    in_shape: (height, width, channels) of images, or (1, 1, features). bias: int64 [output channels], the constants of the sums.
    zero: what counts as 0, one pixel value per channel or one for all. coarse: int64 [output channels], bits by which sums are
    rounded to currents. high: the largest current. on_cores: True if the neurons are on the chip's cores, which then need biases.
    """

    zero: Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], Field(min_length=1)]
    coarse: Annotated[NDArray[np.int64], array_of(np.int64)]
    high: Annotated[int, Field(ge=1, lt=1 << 31)]
    on_cores: bool

    @model_validator(mode="after")
    def _is_a_first_layer(self) -> Self:
        if self.pool > 1 or self.groups > 1 or self.shortcut is not None or not self.fires:
            raise ValueError("pixels: a first layer fires, and has no pool, groups or shortcut")
        if len(self.zero) not in (1, self.in_shape[2]):
            raise ValueError(f"zero: must be one number, or {self.in_shape[2]}, got {len(self.zero)}")
        if self.coarse.shape != self.theta.shape or self.coarse.min() < 0 or self.coarse.max() > 31:
            raise ValueError(f"coarse: must be {len(self.theta)} numbers from 0 to 31")
        if (self.reached < 1).any() or (self.reached > 1 << 46).any():
            raise ValueError("theta: must be positive, below 2^46")
        if self.weight.itemsize > 2:
            raise ValueError("weight: must fit 16 bits")
        terms = 255 * np.abs(self.weight.astype(np.int64)).reshape(-1, self.weight.shape[-1]).sum(0)
        if (terms + np.abs(self.bias) > MOST_SUM).any():
            raise ValueError("weight: the sums of pixels must fit 32 bits")
        return self

    @property
    def steps(self) -> int:
        """Steps of the layer."""
        return self.stop

    @property
    def macs(self) -> int:
        """Multiply-adds per image; taps in the padding do not count."""
        return self.synapses

    def pixels(self, images: Tensor) -> NDArray[np.uint8]:
        """Bytes [B, sources], numbered row, column, channel, of images [B, C, H, W] or [B, N]; floats x count as round(255 x)."""
        height, width, channels = self.in_shape
        shape, flat = tuple(images.shape[1:]), height == width == 1
        count, whole = height * width * channels, (channels, height, width)
        in_a_row = self.kind == "linear" and shape == (count,)
        if prod(shape) != count if flat else shape != whole and not in_a_row:
            wanted = f"shape {whole}" + (f", or {count} values in a row" if self.kind == "linear" else "")
            wanted = f"{count} values" if flat else wanted
            raise ValueError(f"images must have {wanted}, got shape {shape}; resize them, or quantise a net for their shape")
        if images.dtype != torch.uint8:
            x = as_float("images", images)
            if x.numel() and not (x.min() >= 0 and x.max() <= 1):  # NaN too
                low, high = x.min().item(), x.max().item()
                raise ValueError(
                    f"inputs must be uint8, or floats from 0 to 1, got {low:g} to {high:g}; "
                    "quantize(first_layer='float') makes a program that takes others"
                )
            images = (x * 255).round().to(torch.uint8)
        maps = images.reshape(-1, channels, height, width).permute(0, 2, 3, 1).flatten(1)
        return np.ascontiguousarray(maps.cpu().numpy())

    def sums(self, pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The sums of `pixels` [B, sources], int32 [B, sites, output channels]."""
        height, width, channels = self.in_shape
        conv = self.kind == "conv"
        rows = self.weight.transpose(1, 2, 0, 3) if conv else self.weight
        reads = IntegerInput(-1, 1, self.kernel if conv else (height, width), self.stride, self.padding)
        weight = torch.from_numpy(np.ascontiguousarray(rows.reshape(-1, self.out_shape[2]).T, np.int16))
        bias, none = torch.from_numpy(self.bias.astype(np.int32)), torch.empty(0, dtype=torch.int32)
        kernel = IntegerKernel(self.in_shape, [IntegerLayer("dense", 0, 0, self.out_shape, [reads], weight, bias, none)])
        found = kernel(torch.from_numpy(pixels))
        if any(self.zero):
            zeros = torch.tensor(self.zero, dtype=torch.uint8).expand(height, width, channels).reshape(1, -1)
            found += bias.repeat(self.neurons // len(bias)) - kernel(zeros)
        sums: NDArray[np.int32] = found.numpy().reshape(len(pixels), -1, self.out_shape[2])
        return sums

    def times(self, pixels: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.uint8]:
        """Spike times, uint8 [B, neurons], of `pixels` [B, sources]; 255 is silent."""
        made = np.empty((len(pixels), self.neurons), np.uint8)
        coarse, reached = map(np.ascontiguousarray, (self.coarse, self.reached))
        neurons = (coarse, reached, self.high, self.shift, self.keep, self.decay_bits, self.steps)
        workers, every = cores() if threads is None else threads, max(1, _BLOCK // self.neurons)
        for begin in range(0, len(pixels), every):
            sums = self.sums(pixels[begin : begin + every])
            made[begin : begin + every] = _emulator.constant_times(sums, *neurons, workers).reshape(len(sums), -1)
        return made
