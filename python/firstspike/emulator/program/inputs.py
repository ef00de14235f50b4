"""From data to the input spike times of a program, by its encoder."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._base import checks
from ..._base.geometry import in_sizes, scaling_hint
from ...spikes import SpikeTimes
from .program import Program


def input_times(program: Program, inputs: SpikeTimes | Tensor) -> NDArray[np.uint8]:
    """uint8 [B, sources] of spikes, or of images through the program's encoder; sources numbered row, column, channel.

    Images are uint8 (scaled to 0..1, standardised as in training) or floats as the network takes them. What is on another
    device comes to the CPU.
    """
    spikes = inputs if isinstance(inputs, SpikeTimes) else _encode(program, inputs)
    if spikes.steps != program.steps:
        raise ValueError(f"spikes must have the program's steps = {program.steps}, got {spikes.steps}")
    return in_source_order(program, spikes.times)


def in_source_order(program: Program, values: Tensor) -> NDArray[np.uint8]:
    """uint8 [B, sources] of times or pixels, in the order in which a program numbers sources.

    values: [B, C, H, W]; where the program's input has no rows and columns, also [B, N].
    """
    height, width, channels = program.input_shape
    shape = tuple(values.shape)
    if not height == width == 1:  # a flat program numbers as torch flattens
        if shape[1:] != (channels, height, width):
            raise ValueError(f"spikes must have shape [batch, {channels}, {height}, {width}], got {shape}")
        values = values.permute(0, 2, 3, 1)
    flat = values.flatten(1)
    if flat.shape[1] != height * width * channels:
        raise ValueError(f"spikes must have {height * width * channels} neurons per sample, got {flat.shape[1]}")
    return np.ascontiguousarray(flat.cpu().numpy())


def _encode(program: Program, x: Tensor) -> SpikeTimes:
    if not isinstance(x, Tensor):
        raise TypeError(f"inputs must be SpikeTimes or a torch.Tensor, got {type(x).__name__}")
    encoder, x = program.encoder, x.cpu()
    if x.dtype == torch.uint8:
        x = encoder.normalize(x)
    if not x.dtype.is_floating_point:
        raise TypeError(f"inputs must be uint8 or of a float type, got {x.dtype}")
    x = x.to(torch.float32)
    checks.finite("inputs", x)
    check_images(program, tuple(x.shape[1:]))
    with torch.inference_mode():
        return encoder.spikes(x, program.steps)


def check_images(program: Program, shape: tuple[int, ...]) -> None:
    """Raise ValueError where the program's encoder cannot take images of that shape (channels, height, width)."""
    encoder, (height, width, channels) = program.encoder, program.input_shape
    if encoder.kind == "spikes":
        raise ValueError("the program takes SpikeTimes, not images")
    if encoder.kind == "direct-conv":
        assert encoder.weight is not None
        _, of_image, *kernel = encoder.weight.shape
        sides = zip((height, width), kernel, encoder.stride, encoder.padding, strict=True)
        least, most = zip((of_image, of_image), *(in_sizes(*side) for side in sides), strict=True)
        fits = len(shape) == 3 and all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
        wanted, scaled = f"shape {most}" if least == most else f"a shape from {least} to {most}", most
    elif encoder.kind == "direct-linear" or height == width == 1:
        values = channels if encoder.weight is None else encoder.weight.shape[1]
        known = encoder.image_shape
        fits, wanted = math.prod(shape) == values, f"{values} values"
        if fits and known is not None and len(shape) > 1:  # the same number of values in another order
            fits, wanted = shape == known, f"shape {known}, or {values} values in a row"
        of_image = shape[0] if len(shape) == 3 else 1
        side = math.isqrt(values // max(1, of_image))
        scaled = (of_image, side, side) if of_image * side * side == values else ()  # as square images
    else:
        scaled = (channels, height, width)
        fits, wanted = shape == scaled, f"shape {scaled}"
    if not fits:
        hint = scaling_hint(scaled, shape)
        raise ValueError(f"images must have {wanted}, got shape {shape} (channels, height, width){hint}")
