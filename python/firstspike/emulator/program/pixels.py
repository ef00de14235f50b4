"""A directly coded first layer in integers: bytes times integer weights, once per sample, as constant currents."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._base import _emulator
from ..._base.provenance import cores
from ...nn.image_scaling import as_float
from ...ops.integers import IntegerInput, IntegerKernel, IntegerLayer, exact
from .layers import Layer, PixelNeuron

MOST_SUM = (1 << 31) - 1  # of the absolute values of all terms of a sum
_BLOCK = 1 << 22  # sums that are held at a time


def bytes_of(layer: Layer, images: Tensor) -> NDArray[np.uint8]:
    """Bytes [B, sources], numbered row, column, channel, of images [B, C, H, W] or [B, N]; floats x count as round(255 x)."""
    height, width, channels = layer.in_shape
    shape, flat = tuple(images.shape[1:]), height == width == 1
    count, whole = height * width * channels, (channels, height, width)
    in_a_row = layer.kind == "linear" and shape == (count,)
    if prod(shape) != count if flat else shape != whole and not in_a_row:
        expected = f"shape {whole}" + (f", or {count} values in a row" if layer.kind == "linear" else "")
        expected = f"{count} values" if flat else expected
        raise ValueError(f"images must have {expected}, got shape {shape}; resize them, or quantise a net for their shape")
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


def sums(layer: Layer, pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The sums of `pixels` [B, sources], int32 [B, sites, output channels]. Raises ValueError if they need more than 32 bits."""
    neuron = layer.neuron_as(PixelNeuron)
    rows = layer.weight.transpose(1, 2, 0, 3) if layer.kind == "conv" else layer.weight
    reads = IntegerInput(-1, 1, layer.inputs[0].reads, layer.stride, layer.padding)
    weight = exact(rows.reshape(-1, layer.out_shape[2]).T, np.int16, f"layer {layer.name}: its weights")
    bias = exact(neuron.bias, np.int32, f"layer {layer.name}: its bias")
    none = torch.empty(0, dtype=torch.int32)
    kernel = IntegerKernel(layer.in_shape, [IntegerLayer("dense", 0, 0, layer.out_shape, [reads], weight, bias, none)])
    total = kernel(torch.from_numpy(pixels))
    if any(neuron.zero):
        zeros = torch.tensor(neuron.zero, dtype=torch.uint8).expand(layer.in_shape).reshape(1, -1)
        total += bias.repeat(layer.neurons // len(bias)) - kernel(zeros)
    result: NDArray[np.int32] = total.numpy().reshape(len(pixels), -1, layer.out_shape[2])
    return result


def times(layer: Layer, pixels: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.uint8]:
    """Spike times, uint8 [B, neurons], of `pixels` [B, sources]; 255 is silent."""
    spikes = np.empty((len(pixels), layer.neurons), np.uint8)
    workers, every = cores() if threads is None else threads, max(1, _BLOCK // layer.neurons)
    for begin in range(0, len(pixels), every):
        part = sums(layer, pixels[begin : begin + every])
        spikes[begin : begin + every] = _emulator.constant_times(part, layer, workers).reshape(len(part), -1)
    return spikes
