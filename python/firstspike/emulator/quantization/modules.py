"""Modules of nets in quantisation: the weights, shapes, encoder and readout that a program needs of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ..._base.geometry import out_size
from ...models import TTFSNet
from ..program.host import Encoder, Readout
from ..program.profile import Profile
from . import scales
from .rounding import PixelQuantize, prepared_bits, quantizer_of
from .scales import NO_CURRENT, CannotQuantize, Reals

Shape = tuple[int, int, int]


def check_prepared_for(model: TTFSNet, profile: Profile, bits: int, granularity: str | None, integers: bool) -> None:
    """Raise CannotQuantize if a net of `qat.prepare` would differ from the one that was trained."""
    first = direct_layer(model)
    if first is not None and prepared_bits(model) and integers != (quantizer_of(first) is not None):
        how = "float" if integers else "integers"
        raise CannotQuantize("net", f"qat.prepare made its first layer for {how}", first_layer=how)
    for layer in model.modules():
        quantizer = quantizer_of(layer)
        if quantizer is None:
            continue
        made: tuple[Any, ...] = (quantizer.bits, quantizer.step, quantizer.without_bias)
        asked: tuple[Any, ...] = (bits, profile.weight_step, not profile.bias_bits)
        names: tuple[str, ...] = ("bits", "step of weights", "without biases")
        compared = layer is model.layers[-1] and model.compares_overshoots
        if isinstance(quantizer, PixelQuantize):
            made, asked, names = (quantizer.most,), (scales.most_current(profile)[1],), ("largest pixel threshold",)
        elif isinstance(layer, fs.FiringLayer) and len(layer.weight) > 1 and not compared:
            of_channel = "channel" if len(quantizer.scale) > 1 else "tensor"
            fits = "tensor" if profile.thresholds == "layer" else granularity or of_channel
            made, asked, names = (*made, of_channel), (*asked, fits), (*names, "granularity")
        for name, was, now in zip(names, made, asked, strict=True):
            if was != now:
                problem = f"{name}: {now!r} for profile {profile.name}, qat.prepare made the net for {was!r}"
                raise CannotQuantize("net", problem, "call qat.prepare with this profile and these settings")


class CoreLayer(NamedTuple):
    """A layer for the cores. block: the residual block whose last layer it is. source: in a block, the layer before it."""

    module: nn.Module
    name: str
    block: Any = None  # Residual
    source: int = -1


def core_layers(model: TTFSNet) -> list[CoreLayer]:
    """The layers of a net for the cores, in order, those of residual blocks one by one; a readout of windows last.

    A layer on the host is left out.
    """
    made: list[CoreLayer] = []

    def read(layers: nn.ModuleList, place: str) -> None:
        for number, layer in enumerate(layers):
            if isinstance(layer, fs.Residual):
                source = len(made) - 1
                read(layer.layers, f"{place}{number}.")
                made[-1] = made[-1]._replace(block=layer, source=source)
            elif place or number or not isinstance(layer, (fs.DirectLinear, fs.DirectConv2d)):
                made.append(CoreLayer(layer, f"{place}{number}:{type(layer).__name__}"))

    read(model.layers, "")
    if model.timing == "windowed":
        made.append(CoreLayer(model.readout, f"{len(model.layers)}:WindowedReadout"))
    return made


def finite(name: str, what: str, values: Tensor) -> Reals:
    """The numbers of a layer as float64 of NumPy; CannotQuantize for NaN and infinity."""
    numbers: Reals = values.detach().double().cpu().numpy()
    if not np.isfinite(numbers).all():
        raise CannotQuantize(name, f"its {what} holds NaN or infinity", "train with a smaller lr")
    return numbers


def folded(module: fs.Synapses, name: str) -> tuple[Reals, Reals]:
    """A layer's weight and bias with normalisation and affine in them, float64 [O, ...] and [O]; zeros for no bias."""
    quantizer = quantizer_of(module)
    with torch.no_grad():
        weight, bias = module.effective_weight_and_bias() if quantizer is None else (module.weight, module.bias)
    w = finite(name, "weight", weight)
    b = np.zeros(len(w)) if bias is None else finite(name, "bias", bias)
    return w, b if quantizer is None or not quantizer.without_bias else b * 0


def arranged(q: NDArray[np.int64], conv: bool, shape: Shape, pool: int, name: str) -> NDArray[np.int64]:
    """Integers [O, ...] in torch's order to the program's: [input (y, x, channel), O] or [C, ky, kx, O]."""
    height, width, channels = shape[0] // pool, shape[1] // pool, shape[2]
    inputs = channels if conv else height * width * channels
    if q.shape[1] != inputs:
        what = "input channels" if conv else "inputs"
        raise ValueError(f"model: its layer {name} takes {q.shape[1]} {what}, the layer before gives {inputs}")
    if conv:
        return q.transpose(1, 2, 3, 0)
    return q.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, len(q))


def out_shape(module: nn.Module, shape: Shape, pool: int) -> Shape:
    """(height, width, channels) of a layer's neurons, for a source of that shape."""
    if not isinstance(module, (fs.TTFSConv2d, fs.DirectConv2d)):
        return 1, 1, module.out_features  # type: ignore[return-value]
    sizes = zip(shape[:2], module.kernel_size, module.stride, module.padding, strict=True)
    height, width = (out_size(side // pool, kernel, stride, pad) for side, kernel, stride, pad in sizes)
    return height, width, module.out_channels


def shortcut_scale(block: fs.Residual, channels: int, name: str) -> Reals:
    """The scale that acts on a block's input beside the weight of `folded`, float64 [channels]."""
    last = block.layers[-1]
    assert isinstance(last, fs.FiringLayer)
    with torch.no_grad():
        scale = block.scale if quantizer_of(last) is not None else last.effective_shortcut_scale(block.scale)
    assert isinstance(scale, Tensor)
    values = finite(name, "scale of its residual block", scale)
    return np.broadcast_to(values, (channels,)) if values.size == 1 else values[:channels]


def threshold_of(module: fs.FiringLayer) -> float:
    """A layer's threshold as its net compares with it, in float32."""
    return float(np.float32(module.neuron.threshold))


def direct_layer(model: TTFSNet) -> fs.DirectLinear | fs.DirectConv2d | None:
    """The directly coded first layer of a net; None without."""
    first = model.layers[0]
    return first if isinstance(first, (fs.DirectLinear, fs.DirectConv2d)) else None


def pixel_weights(model: TTFSNet) -> tuple[Reals, Reals, tuple[int, ...]]:
    """The first layer with the net's scaling folded into it: weight [O, ...] and bias [O] for (p - zero) / 255, and zero.

    zero is the pixel nearest to the mean where the layer pads its input, else 0.
    """
    first = direct_layer(model)
    assert first is not None
    weight, bias = folded(first, f"0:{type(first).__name__}")
    if model.normalize is None:
        return weight, bias, (0,)
    mean, std = (x.double().cpu().numpy() for x in (model.normalize.mean, model.normalize.std))
    pads = isinstance(first, fs.DirectConv2d) and any(first.padding)
    zero = np.rint(255 * mean).clip(0, 255) if pads else np.zeros_like(mean)
    inputs = weight.shape[1]
    each = [np.repeat(x, inputs // len(x)).reshape(-1, *[1] * (weight.ndim - 2)) for x in (mean - zero / 255, std)]
    weight = weight / each[1]
    return weight, bias - (weight * each[0]).reshape(len(weight), -1).sum(1), tuple(int(x) for x in zero)


def encoder_of(model: TTFSNet) -> tuple[Encoder, Shape]:
    """The host's encoder of a net, and the shape (height, width, channels) of the spikes that it sends."""
    size, first = tuple(model.input_shape), model.layers[0]
    flat = model.flat or len(size) != 3
    shape: Shape = (1, 1, math.prod(size)) if flat else (size[1], size[2], size[0])
    facts: dict[str, Any] = {} if model.normalize is None else model.normalize.settings()
    facts["image_shape"] = size if flat and len(size) == 3 else None
    if isinstance(first, (fs.DirectLinear, fs.DirectConv2d)):
        name = f"0:{type(first).__name__}"
        if first.synaptic_decay:
            raise CannotQuantize(name, NO_CURRENT, ", or synaptic_decay = 0.0", encoder="latency")
        weight, bias = folded(first, name)
        facts |= {"weight": weight.astype(np.float32), "kind": "direct-linear"}
        facts |= {"threshold": float(first.neuron.threshold), "decay": float(first.decay)}
        if first.bias is not None:
            facts["bias"] = bias.astype(np.float32)
        if isinstance(first, fs.DirectConv2d):
            facts |= {"stride": first.stride, "padding": first.padding, "kind": "direct-conv"}
        return Encoder(**facts), out_shape(first, shape, 1)
    if isinstance(model.encoder, fs.LatencyEncoder):
        facts |= {"kind": "latency", "curve": model.encoder.curve}
        return Encoder(**facts), shape
    if not isinstance(model.encoder, (fs.SpikeInput, nn.Identity)):
        problem = f"encoder {type(model.encoder).__name__} is not known"
        raise CannotQuantize("net", problem, "encode before, and quantise a net that takes spikes")
    return Encoder(kind="spikes"), shape


def readout_of(model: TTFSNet) -> Readout:
    """The host's decoder for a net's readout."""
    module: nn.Module = model.readout
    if isinstance(module, fs.MembraneReadout):
        return Readout(kind="membrane", mode=module.mode, classes=module.classes)
    if isinstance(module, fs.TemporalWeighting):
        made = Readout(kind="temporal-weighting", mode=module.mode, gamma=float(module.gamma), classes=module.classes)
        try:
            made.time_weights(model.steps)
        except ValueError as error:
            raise CannotQuantize("net", str(error), "use a gamma nearer to 1, or fewer steps") from error
        return made
    if isinstance(module, fs.FirstSpike):
        mode = "last" if model.compares_overshoots else "index"
        return Readout(kind="first-spike", mode=mode, classes=module.classes)
    kind = type(module).__name__
    raise CannotQuantize("net", f"readout {kind} is not known", "use MembraneReadout, TemporalWeighting or FirstSpike")
