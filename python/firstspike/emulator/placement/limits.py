"""Limits of a chip on a layer, whatever its cores hold: kernels, strides, pools, fan-in, and how many layers it feeds."""

from __future__ import annotations

import numpy as np

from ..program.layers import Layer
from ..program.profile import Profile
from ..program.program import Program
from .errors import DoesNotFit


def check_limits(program: Program) -> None:
    """Raise DoesNotFit naming the first layer that a limit of the chip refuses."""
    for index, layer in enumerate(program.layers):
        _check_layer(layer, program.profile)
        fed, most = len(program.listeners(index)), program.profile.max_destinations
        if most is not None and fed > most:
            raise DoesNotFit(layer.name, "layers that it feeds", fed, most)


def _check_layer(layer: Layer, profile: Profile) -> None:
    on_convolution_core = profile.convolution_cores  # where a fully connected layer is a convolution as well
    if layer.shortcut is not None and on_convolution_core:  # such a core gives every event the same kernel
        raise DoesNotFit(layer.name, "shortcuts of residual blocks", 1, 0)
    if on_convolution_core or profile.thresholds == "layer":
        different = len(np.unique(layer.theta)) if layer.fires else 0
        allowed = 1 if profile.thresholds == "layer" else profile.thresholds_per_core
        _at_most(layer, "thresholds", different, allowed)
    _at_most(layer, "fan-in of a neuron", layer.fan_in, profile.max_fan_in)
    if profile.pools is not None and layer.pool not in (1, *profile.pools):
        raise DoesNotFit(layer.name, "pool", layer.pool, _any_of(profile.pools))
    if layer.kind != "conv" and not on_convolution_core:
        return
    _, kernel_h, kernel_w, features = as_convolution(layer)
    _at_most(layer, "kernel side", max(kernel_h, kernel_w), profile.max_kernel)
    _at_most(layer, "padding", max(layer.padding), profile.max_padding)
    _at_most(layer, "features", features, profile.max_features)
    _at_most(layer, "output side", max(layer.out_shape[:2]), profile.max_output_side)
    for stride in layer.stride if layer.kind == "conv" else ():
        if profile.strides is not None and stride not in profile.strides:
            raise DoesNotFit(layer.name, "stride", stride, _any_of(profile.strides))


def _at_most(layer: Layer, name: str, required: int, limit: int | None) -> None:
    if limit is not None and required > limit:
        raise DoesNotFit(layer.name, name, required, limit)


def _any_of(allowed: tuple[int, ...]) -> str:
    return " or ".join(map(str, allowed))


def as_convolution(layer: Layer) -> tuple[int, int, int, int]:
    """(channels, kernel height, kernel width, features); a linear layer is a kernel as large as its map."""
    if layer.kind == "conv":
        return layer.weight.shape
    height, width, channels = layer.pooled_shape
    return channels, height, width, layer.out_shape[2]
