"""What `quantize` reads from the modules of a network: folded weights, shapes, the host's encoder, the readout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ..._base.geometry import out_size
from ..._base.modules import has_own_forward, warn_of_hooks
from ...models import TTFSNet
from ...nn.residual import parts
from ..program.host import Encoder, Readout
from ..program.layers import Shape
from .fake_quantize import held_scale, master_copy


class CannotQuantize(ValueError):
    """A network that a profile cannot represent; the message names the layer and the reason.

    Examples:
        >>> net = models.build("64-32-10", input_shape=(64,), steps=8, decay=0.5)
        >>> emulator.quantize(net, "odin-like")
        Traceback (most recent call last):
            ...
        firstspike.emulator.quantization.from_modules.CannotQuantize: ...
    """


class LayersDoNotFit(ValueError):
    """A network that cannot run: a layer does not take what the layer before it gives."""


class CoreLayer(NamedTuple):
    """A layer for the cores. block: the residual block whose last layer it is. source: in a block, the layer before it."""

    module: nn.Module
    name: str
    block: fs.Residual | None = None
    source: int = -1


def core_layers(model: TTFSNet) -> list[CoreLayer]:
    """The layers of a net for the cores, in order, those of residual blocks one by one; without a layer on the host.

    `source` counts them, from 0; -1 is the input of the first.
    """
    made: list[CoreLayer] = []
    source = -1
    for place, layer, begins, block in parts(model.layers):
        if place == (0,) and isinstance(layer, (fs.DirectLinear, fs.DirectConv2d)):
            continue
        if begins:
            source = len(made) - 1
        name = f"{'.'.join(map(str, place))}:{type(layer).__name__}"
        made.append(CoreLayer(layer, name) if block is None else CoreLayer(layer, name, block, source))
    return made


def refuse_own_code(model: TTFSNet) -> None:
    """Refuse parts that are called with a forward of their own, and warn of hooks: a program is made of tensors alone."""
    parts = {"the net": model, "the encoder": model.encoder, "the readout": model.readout}
    layers = {f"layer {n}:{type(layer).__name__}": layer for n, layer in enumerate(model.layers)}
    inner = {f"layer {layer.name}": layer.module for layer in core_layers(model)}
    for name, part in (parts | layers | inner).items():
        if has_own_forward(part):
            raise CannotQuantize(f"{name} has a forward of its own, which a program would not run")
        warn_of_hooks(part, name, "a program")


def folded(module: fs.Synapse, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A layer's weight and bias with normalisation and affine in them, float64 [O, ...] and [O]; zeros for no bias.

    A layer of quantisation-aware training gives its unrounded weight and bias. Raises CannotQuantize for NaN or infinity.
    """
    with torch.no_grad():
        weight, bias = module.effective_weight_and_bias() if held_scale(module) is None else master_copy(module)
    w = weight.detach().double().cpu().numpy()
    b = np.zeros(len(w)) if bias is None else bias.detach().double().cpu().numpy()
    for what, values in (("weight", w), ("bias", b)):
        if not np.isfinite(values).all():
            raise CannotQuantize(f"layer {name}: its {what} holds NaN or infinity")
    return w, b


def arrange(q: NDArray[np.int64], conv: bool, shape: Shape, pool: int, name: str) -> NDArray[np.int64]:
    """Integers [O, ...] in torch's order to the program's: [input (y, x, channel), O] or [C, ky, kx, O].

    Raises LayersDoNotFit where the layer does not take what the layer before gives.
    """
    height, width, channels = shape[0] // pool, shape[1] // pool, shape[2]
    if conv:
        if q.shape[1] != channels:
            raise LayersDoNotFit(
                f"model: its layer {name} takes {q.shape[1]} input channels, the layer before gives {channels}"
            )
        return q.transpose(1, 2, 3, 0)
    if q.shape[1] != height * width * channels:
        raise LayersDoNotFit(
            f"model: its layer {name} takes {q.shape[1]} inputs, the layer before gives {height * width * channels}"
        )
    return q.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, len(q))


def out_shape(module: nn.Module, shape: Shape, pool: int) -> Shape:
    """(height, width, channels) of a layer's neurons, for a source of that shape."""
    if not isinstance(module, (fs.TTFSConv2d, fs.DirectConv2d)):
        return 1, 1, module.out_features  # type: ignore[return-value]
    sizes = zip(shape[:2], module.kernel_size, module.stride, module.padding, strict=True)
    height, width = (out_size(side // pool, kernel, stride, pad) for side, kernel, stride, pad in sizes)
    return height, width, module.out_channels


def shortcut_scale(block: fs.Residual, channels: int) -> NDArray[np.float64]:
    """The scale that acts on a block's input beside the weight of `folded`, float64 [channels]."""
    last = block.layers[-1]
    assert isinstance(last, fs.FiringLayer)
    with torch.no_grad():
        scale = block.scale if held_scale(last) is not None else last.effective_shortcut_scale(block.scale)
    assert isinstance(scale, Tensor)
    values = scale.detach().double().cpu().numpy()
    if not np.isfinite(values).all():
        raise CannotQuantize("the scale of a residual block holds NaN or infinity")
    return np.broadcast_to(values, (channels,)) if values.size == 1 else values[:channels]


def threshold_of(module: fs.FiringLayer) -> float:
    """A layer's threshold as its net compares with it, in float32."""
    return float(np.float32(module.neuron["threshold"]))


def one_sign_per_source(q: NDArray[np.int64], name: str) -> None:
    """Refuse integers [O, I, ...] that give a source weights of both signs."""
    per_source = q.reshape(len(q), q.shape[1], -1)
    if ((per_source > 0).any((0, 2)) & (per_source < 0).any((0, 2))).any():
        raise CannotQuantize(f"layer {name}: a source has weights of both signs, the profile has one sign per source")


def encoder_of(model: TTFSNet) -> tuple[Encoder, Shape]:
    """The host's encoder of a net, and the shape (height, width, channels) of the spikes that it sends.

    Raises CannotQuantize for an encoder that is neither a `LatencyEncoder` nor absent.
    """
    size, first = tuple(model.input_shape), model.layers[0]
    flat = model.flat or len(size) != 3
    shape: Shape = (1, 1, math.prod(size)) if flat else (size[1], size[2], size[0])
    images = size if flat and len(size) == 3 else None
    if isinstance(first, (fs.DirectLinear, fs.DirectConv2d)):
        encoder, shape = direct_encoder(first, shape)
        return replace(encoder, image_shape=images), shape
    if isinstance(model.encoder, fs.LatencyEncoder):
        return Encoder("latency", curve=model.encoder.curve, image_shape=images), shape
    if not isinstance(model.encoder, (fs.SpikeInput, nn.Identity)):
        raise CannotQuantize(
            f"encoder {type(model.encoder).__name__} is not known; encode before, and quantise a net that takes spikes"
        )
    return Encoder("spikes"), shape


def direct_encoder(module: nn.Module, shape: Shape) -> tuple[Encoder, Shape]:
    """The host's encoder that computes a directly coded first layer, and the shape of its neurons."""
    assert isinstance(module, (fs.DirectLinear, fs.DirectConv2d))
    weight, bias = folded(module, f"0:{type(module).__name__}")
    conv = isinstance(module, fs.DirectConv2d)
    encoder = Encoder(
        "direct-conv" if conv else "direct-linear",
        weight=weight.astype(np.float32),
        bias=None if module.bias is None else bias.astype(np.float32),
        threshold=module.neuron["threshold"],
        decay=module.decay,
        stride=module.stride if isinstance(module, fs.DirectConv2d) else (1, 1),
        padding=module.padding if isinstance(module, fs.DirectConv2d) else (0, 0),
    )
    return encoder, out_shape(module, shape, 1)


def readout_of(model: TTFSNet) -> Readout:
    """The host's decoder for a net's readout."""
    module: nn.Module = model.readout
    if isinstance(module, fs.MembraneReadout):
        return Readout("membrane", module.mode, classes=module.classes)
    if isinstance(module, fs.TemporalWeighting):
        return Readout("temporal-weighting", module.mode, module.gamma, module.classes)
    if isinstance(module, fs.FirstSpike):
        return Readout("first-spike", "last" if model.compares_overshoots else "index", classes=module.classes)
    raise CannotQuantize(
        f"readout {type(module).__name__} is not known; known are MembraneReadout, TemporalWeighting and FirstSpike"
    )
