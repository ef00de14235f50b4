"""What `quantize` reads from a network's modules: folded weights, shapes, the host's encoder and the readout."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ... import nn as fs
from ..program.host import Encoder, Readout
from ..program.layers import Shape
from .fake_quantize import held_scale, master_copy


class CannotQuantize(ValueError):
    """A network that a profile cannot represent; the message names the layer and the reason."""


def folded(module: fs.Synapse, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A layer's weight and bias with normalisation and affine in them, float64 [O, ...] and [O]; zeros for no bias."""
    with torch.no_grad():
        weight, bias = module.effective_weight_and_bias() if held_scale(module) is None else master_copy(module)
    w = weight.detach().double().cpu().numpy()
    b = np.zeros(len(w)) if bias is None else bias.detach().double().cpu().numpy()
    for what, values in (("weight", w), ("bias", b)):
        if not np.isfinite(values).all():
            raise CannotQuantize(f"layer {name}: its {what} holds NaN or infinity")
    return w, b


def arrange(codes: NDArray[np.int64], conv: bool, shape: Shape, pool: int, name: str) -> NDArray[np.int64]:
    """Codes [O, ...] in torch's order to the program's: [row (height, width, channel), O] or [C, ky, kx, O]."""
    if conv:
        return codes.transpose(1, 2, 3, 0)
    height, width, channels = shape[0] // pool, shape[1] // pool, shape[2]
    if codes.shape[1] != height * width * channels:
        raise CannotQuantize(
            f"layer {name}: it has {codes.shape[1]} inputs, the layer before gives {height * width * channels}"
        )
    return codes.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, len(codes))


def out_shape(module: nn.Module, shape: Shape, pool: int) -> Shape:
    """(height, width, channels) of a layer's neurons, for a source of that shape."""
    if not isinstance(module, (fs.TTFSConv2d, fs.DirectConv2d)):
        return 1, 1, module.out_features  # type: ignore[return-value]
    height, width = (
        (side // pool + 2 * pad - kernel) // stride + 1
        for side, pad, kernel, stride in zip(shape, module.padding, module.kernel_size, module.stride, strict=False)
    )
    return height, width, module.out_channels


def one_sign_a_source(codes: NDArray[np.int64], name: str) -> None:
    """Refuse codes [O, I, ...] that give a source weights of both signs."""
    a_source = codes.reshape(len(codes), codes.shape[1], -1)
    if ((a_source > 0).any((0, 2)) & (a_source < 0).any((0, 2))).any():
        raise CannotQuantize(f"layer {name}: a source has weights of both signs, the profile has one sign a source")


def direct_encoder(module: nn.Module, shape: Shape) -> tuple[Encoder, Shape]:
    """The host's encoder that computes a directly coded first layer, and the shape of its neurons."""
    if not isinstance(module, (fs.DirectLinear, fs.DirectConv2d)):
        raise CannotQuantize(
            f"layer 0:{type(module).__name__}: a net without an encoder must start with a directly coded layer"
        )
    weight, bias = folded(module, f"0:{type(module).__name__}")
    conv = isinstance(module, fs.DirectConv2d)
    for size in ("stride", "padding"):
        if conv and len(set(getattr(module, size))) > 1:
            raise CannotQuantize(f"layer 0:DirectConv2d: its {size} must be the same in both directions")
    encoder = Encoder(
        "direct-conv" if conv else "direct-linear",
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        threshold=module.neuron["threshold"],
        decay=module.decay,
        stride=module.stride[0] if isinstance(module, fs.DirectConv2d) else 1,
        padding=module.padding[0] if isinstance(module, fs.DirectConv2d) else 0,
    )
    return encoder, out_shape(module, shape, 1)


def readout_of(module: nn.Module) -> Readout:
    """The host's decoder for a net's readout."""
    if isinstance(module, fs.MembraneReadout):
        return Readout("membrane", module.mode, classes=module.classes)
    if isinstance(module, fs.TemporalWeighting):
        return Readout("temporal-weighting", module.mode, module.gamma, module.classes)
    if isinstance(module, fs.FirstSpike):
        return Readout("first-spike", classes=module.classes)
    raise CannotQuantize(f"readout {type(module).__name__} is not known")
