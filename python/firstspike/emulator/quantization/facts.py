"""Facts of a net: all that quantisation needs of it, in plain numbers and names, read by a function per class of module."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ..._base import checks
from ..._base.geometry import out_size
from ..._base.modules import plain_copy
from ...models import TTFSNet, as_net
from ..program.host import Encoder, Readout
from .refusals import CannotQuantize, Refusals

Pair = tuple[int, int]
Shape = tuple[int, int, int]  # height, width, channels
Reals = NDArray[np.float64]
Reader = Callable[[Any, TTFSNet], Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """A layer with weights, in the units of the float net.

    weight, bias: [O, ...] and [O], with normalisation and affine in them. has_bias: False if there is none to train. fires: False
    of a readout. compared: True if the net's readout compares the neurons' membranes, which then need one scale. shortcut: [1],
    [channels] or [channels, O] of a layer that ends a residual block; the block's input comes from the layer `source`, -1 for the
    net's input, and is pooled by `shortcut_pool`. block_strides: one row and one column in so many of that input make the
    block's output. made_for: what `qat.prepare` made the layer's quantiser for, by name; empty without one. scale: of that
    quantiser, [O] or [1].
    """

    name: str = ""
    weight: Reals
    bias: Reals
    has_bias: bool
    fires: bool
    compared: bool = False
    pool: int
    stride: Pair
    padding: Pair
    groups: int
    source: int = -1
    shortcut: Reals | None = None
    shortcut_pool: int = 1
    block_strides: Pair = (1, 1)
    made_for: Mapping[str, Any] = field(default_factory=dict)
    scale: Reals | None = None

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the layer's neurons for a source of that shape."""
        if self.weight.ndim == 2:
            return 1, 1, len(self.weight)
        pooled = shape[0] // self.pool, shape[1] // self.pool
        sizes = zip(pooled, self.weight.shape[2:], self.stride, self.padding, strict=True)
        height, width = (out_size(*size) for size in sizes)
        return height, width, len(self.weight)


@dataclass(frozen=True, eq=False, kw_only=True)
class StepFacts(Facts):
    """A layer that runs step by step. threshold: as the net compares with it, None of a readout."""

    threshold: float | None
    decay: float
    synaptic_decay: float


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelFacts(StepFacts):
    """A directly coded first layer whose weight and bias take (pixel - zero) / 255. zero: per channel, or one for all."""

    image: Shape
    zero: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowedFacts(Facts):
    """A layer of windows. steps: of its window, 0 of a readout. clip: [O], None of a readout. rise: of a quantiser, [O]."""

    steps: int
    clip: Reals | None
    rise: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False, kw_only=True)
class PoolFacts(Facts):
    """A max pool of windows, as a weight of one channel."""


@dataclass(frozen=True, eq=False)
class NetFacts:
    """A net.

    steps: of the input. pixels: the directly coded first layer. complete: False if something is left out that was refused.
    shape: of the spikes that the encoder or the first layer sends.
    """

    timing: str
    steps: int
    shape: Shape
    encoder: Encoder
    readout: Readout
    pixels: PixelFacts | None
    layers: tuple[Facts, ...]
    complete: bool

    def unprepared(self) -> NetFacts:
        """The same facts without quantisers."""
        none: dict[str, Any] = {"made_for": {}, "scale": None}
        pixels = None if self.pixels is None else replace(self.pixels, **none)
        return replace(self, pixels=pixels, layers=tuple(replace(facts, **none) for facts in self.layers))


_READERS: dict[tuple[str, type[nn.Module]], Reader] = {}
_REMEDIES = {
    "step": "use linear, convolutional and integrating layers",
    "windowed": "use layers of windows",
    "step encoder": "encode before, and quantise a net that takes spikes",
    "windowed encoder": "use an nn.WindowedEncoder, and the net's normalize",
    "readout": "use MembraneReadout, TemporalWeighting or FirstSpike",
}


def reader(role: str, *kinds: type[nn.Module]) -> Callable[[Reader], Reader]:
    """Register a function (module, net) -> facts for layers and encoders of a timing, or readouts, of these classes."""

    def register(function: Reader) -> Reader:
        _READERS.update({(role, kind): function for kind in kinds})
        return function

    return register


def reader_of(role: str, module: nn.Module) -> Reader:
    """The function that reads a module; CannotQuantize if there is none for its class."""
    if (function := _READERS.get((role, type(module)))) is not None:
        return function
    kind = type(module).__name__
    if role not in ("step", "windowed"):
        raise CannotQuantize(f"{role.split()[-1]} {kind} is not known", _REMEDIES[role])
    if "Pool" in kind:
        raise CannotQuantize(f"{kind} cannot run on the cores", pooling="avg")
    raise CannotQuantize(f"{kind} cannot run on the cores", _REMEDIES[role])


def net_to_read(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> TTFSNet:
    """A copy of a net with plain weights, in evaluation mode, whose structure can be relied on."""
    checks.instance("model", model, nn.Module, "a torch.nn.Module")
    return as_net(plain_copy(model), input_shape, name="model")


@torch.no_grad()
def read(net: TTFSNet, refusals: Refusals) -> NetFacts:
    """The facts of a net that `net_to_read` gave."""
    parts = core_layers(net)
    if not parts:
        refusals.append(CannotQuantize("its only layer takes no spikes", "add a layer to spec"))
    layers: list[Any] = []
    for part in parts:
        with refusals.of(part.name):
            facts = reader_of(net.timing, part.module)(part.module, net)
            layers.append(replace(facts, name=part.name, **_shortcut(part)))
    first, pixels = direct_layer(net), None
    if first is not None:
        with refusals.of(name := f"0:{type(first).__name__}"):
            pixels = replace(_pixels(first, net), name=name)
    shape, encoder, readout = (1, 1, 1), Encoder(kind="spikes"), Readout(kind="membrane")
    with refusals.of("net"):
        source = net.encoder if first is None else first
        encoder, shape = reader_of(f"{net.timing} encoder", source)(source, net)
        readout = reader_of("readout", net.readout)(net.readout, net)
    complete = not refusals
    return NetFacts(net.timing, net.input_steps, shape, encoder, readout, pixels, tuple(layers), complete)


class CoreLayer(NamedTuple):
    """A layer for the cores. block: the residual block whose last layer it is. source: in a block, the layer before it."""

    module: Any
    name: str
    block: fs.Residual | None = None
    source: int = -1


def core_layers(net: TTFSNet) -> list[CoreLayer]:
    """List the layers of a net for the cores in order, the layers of residual blocks one by one; a readout of windows is last.

    A directly coded first layer is left out.
    """
    layers: list[CoreLayer] = []

    def walk(modules: nn.ModuleList, place: str) -> None:
        for number, module in enumerate(modules):
            if isinstance(module, fs.Residual):
                source = len(layers) - 1
                walk(module.layers, f"{place}{number}.")
                layers[-1] = layers[-1]._replace(block=module, source=source)
            elif place or number or direct_layer(net) is None:
                layers.append(CoreLayer(module, f"{place}{number}:{type(module).__name__}"))

    walk(net.layers, "")
    if net.timing == "windowed":
        layers.append(CoreLayer(net.readout, f"{len(net.layers)}:{type(net.readout).__name__}"))
    return layers


def direct_layer(net: TTFSNet) -> fs.DirectLinear | fs.DirectConv2d | None:
    """The directly coded first layer of a net; None without."""
    first = net.layers[0] if len(net.layers) else None
    return first if isinstance(first, fs.DirectLinear | fs.DirectConv2d) else None


def finite(what: str, values: Tensor) -> Reals:
    """Numbers as float64 of NumPy; CannotQuantize for NaN and infinity."""
    numbers: Reals = values.detach().double().cpu().numpy()
    if not np.isfinite(numbers).all():
        raise CannotQuantize(f"its {what} holds NaN or infinity", "train with a smaller lr")
    return numbers


def _synapses(layer: fs.Synapses, weight: Tensor, bias: Tensor | None) -> dict[str, Any]:
    """The facts of any layer with weights."""
    quantizer: Any = layer.quantizer
    made_for = getattr(quantizer, "made_for", {})
    return {
        "weight": finite("weight", weight),
        "bias": np.zeros(len(weight)) if bias is None else finite("bias", bias),
        "has_bias": bias is not None,
        "fires": layer.fires,
        **{"pool": layer.avg_pool, "stride": layer.stride, "padding": layer.padding, "groups": layer.groups},
        "made_for": made_for,
        "scale": finite("scale", quantizer.scale) if made_for else None,
    }


@reader("step", fs.TTFSLinear, fs.TTFSConv2d, fs.Integrate)
def _step(layer: Any, net: TTFSNet) -> StepFacts:
    """A quantiser's integers are of the unrounded weights."""
    prepared = hasattr(layer.quantizer, "made_for")
    weight, bias = (layer.weight, layer.bias) if prepared else layer.effective_weight_and_bias()
    if prepared and bias is not None and layer.quantizer.made_for.get("without biases"):
        bias = bias * 0
    return StepFacts(
        **_synapses(layer, weight, bias),
        threshold=float(np.float32(layer.neuron.threshold)) if layer.fires else None,
        decay=float(layer.decay),
        synaptic_decay=float(layer.synaptic_decay),
        compared=layer is net.layers[-1] and net.compares_overshoots,
    )


@reader("windowed", fs.WindowedLinear, fs.WindowedConv2d, fs.WindowedAvgPool2d, fs.WindowedReadout)
def _windowed(layer: Any, net: TTFSNet) -> WindowedFacts:
    """A quantiser's integers are of the rounded weights."""
    clip, rise = None, getattr(layer.quantizer, "rise", None)
    if layer.fires:
        clip = np.broadcast_to(finite("clip", layer.clip), (len(layer.weight),))
        if (clip <= 0).any():
            raise CannotQuantize(f"its clip is {clip.min():g}", "train with a smaller lr")
    return WindowedFacts(
        **_synapses(layer, *layer.effective_weight_and_bias()),
        steps=layer.steps if layer.fires else 0,
        clip=clip,
        rise=None if rise is None else rise.long().cpu().numpy(),
    )


@reader("windowed", fs.EarliestPool2d, fs.WindowedMaxPool2d)
def _pool(pool: Any, net: TTFSNet) -> PoolFacts:
    size = checks.pair("kernel_size", pool.kernel_size, 1)
    stride, padding = getattr(pool, "stride", size), getattr(pool, "padding", (0, 0))
    weight, bias = np.ones((1, 1, *size)), np.zeros(1)
    places: dict[str, Any] = {"pool": 1, "stride": stride, "padding": padding, "groups": 1}
    return PoolFacts(weight=weight, bias=bias, has_bias=False, fires=True, **places)


def _shortcut(part: CoreLayer) -> dict[str, Any]:
    """The facts of the shortcut into a layer that ends a residual block, if it does."""
    block, last = part.block, part.module
    if block is None:
        return {}
    if block.shortcut is not None:
        weight = finite("shortcut", last.effective_shortcut_scale(block.shortcut.weight))
        return {"source": part.source, "shortcut": weight[:, :, 0, 0].T, "shortcut_pool": block.shortcut.avg_pool}
    raw = last.timing == "step" and hasattr(last.quantizer, "made_for")  # as in `_step`
    scale = finite("scale of its residual block", block.scale if raw else last.effective_shortcut_scale(block.scale))
    pool = getattr(block.layers[0], "avg_pool", 1) if last.timing == "windowed" else 1
    return {"source": part.source, "shortcut": scale, "shortcut_pool": pool, "block_strides": block.strides}


def _pixels(first: fs.DirectLinear | fs.DirectConv2d, net: TTFSNet) -> PixelFacts:
    """The first layer with the net's scaling folded into it. zero is the pixel nearest to the mean where it pads, else 0."""
    facts, size = _step(first, net), net.input_shape
    weight, bias = facts.weight, facts.bias
    image = (1, 1, size[0]) if len(size) == 1 else (size[1], size[2], size[0])
    zero = np.zeros(1)
    if net.normalize is not None:
        mean, std = (finite(name, getattr(net.normalize, name)) for name in ("mean", "std"))
        zero = np.rint(255 * mean).clip(0, 255) if any(facts.padding) else np.zeros_like(mean)
        repeats, dimensions = weight.shape[1] // len(mean), [1] * (weight.ndim - 2)
        offset, std = (np.repeat(x, repeats).reshape(-1, *dimensions) for x in (mean - zero / 255, std))
        weight = weight / std
        bias = bias - (weight * offset).reshape(len(weight), -1).sum(1)
    values = vars(facts) | {"weight": weight, "bias": bias}
    return PixelFacts(**values, image=image, zero=tuple(int(x) for x in zero))


def _host(net: TTFSNet, border: Pair = (0, 0), **values: Any) -> tuple[Encoder, Shape]:
    """The host's encoder, and the shape of what it makes of an image: in a row for a fully connected layer."""
    size: tuple[int, ...] = tuple(net.input_shape)
    flat = len(size) != 3 or (net.flat and not any(border))
    shape = (1, 1, math.prod(size)) if flat else (size[1] + 2 * border[0], size[2] + 2 * border[1], size[0])
    scaling: dict[str, Any] = {} if net.normalize is None else net.normalize.settings()
    return Encoder(**values, **scaling, image_shape=size if flat and len(size) == 3 else None), shape


@reader("step encoder", fs.LatencyEncoder)
def _latency(encoder: fs.LatencyEncoder, net: TTFSNet) -> tuple[Encoder, Shape]:
    return _host(net, kind="latency", curve=encoder.curve, code_steps=encoder.code_steps)


@reader("windowed encoder", fs.WindowedEncoder)
def _levels(encoder: fs.WindowedEncoder, net: TTFSNet) -> tuple[Encoder, Shape]:
    return _host(net, encoder.padding, kind="windowed", padding=encoder.padding, fill=tuple(encoder.fill))


@reader("step encoder", fs.SpikeInput, nn.Identity)
def _spikes(encoder: nn.Module, net: TTFSNet) -> tuple[Encoder, Shape]:
    return Encoder(kind="spikes", code_steps=getattr(encoder, "code_steps", None)), _host(net, kind="spikes")[1]


@reader("step encoder", fs.DirectLinear, fs.DirectConv2d)
def _direct(first: Any, net: TTFSNet) -> tuple[Encoder, Shape]:
    """A first layer whose current the host computes in float32."""
    facts = _step(first, net)
    values: dict[str, Any] = {"weight": facts.weight.astype(np.float32), "kind": "direct-linear"}
    if facts.has_bias:
        values["bias"] = facts.bias.astype(np.float32)
    if facts.weight.ndim == 4:
        values |= {"stride": facts.stride, "padding": facts.padding, "kind": "direct-conv"}
    encoder, shape = _host(net, threshold=float(first.neuron.threshold), decay=facts.decay, **values)
    return encoder, facts.out_shape(shape)


@reader("readout", fs.MembraneReadout)
def _membrane(readout: fs.MembraneReadout, net: TTFSNet) -> Readout:
    return Readout(kind="membrane", mode=readout.mode, classes=readout.classes)


@reader("readout", fs.WindowedReadout)
def _scores(readout: fs.WindowedReadout, net: TTFSNet) -> Readout:
    return Readout(kind="membrane")


@reader("readout", fs.TemporalWeighting)
def _weighting(readout: fs.TemporalWeighting, net: TTFSNet) -> Readout:
    decoder = Readout(kind="temporal-weighting", mode=readout.mode, gamma=float(readout.gamma), classes=readout.classes)
    try:
        decoder.time_weights(net.steps)
    except ValueError as error:
        raise CannotQuantize(str(error), "use a gamma nearer to 1, or fewer steps") from error
    return decoder


@reader("readout", fs.FirstSpike)
def _first_spike(readout: fs.FirstSpike, net: TTFSNet) -> Readout:
    return Readout(kind="first-spike", mode="last" if net.compares_overshoots else "index", classes=readout.classes)
