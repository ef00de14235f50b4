"""Spiking nets from strings."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

from torch import Generator, nn

from .. import nn as fs
from .._base import checks
from ..init import firing_gain
from ..nn.firing import learn_thresholds
from ..surrogate import Surrogate
from .grammar import Conv, Linear, Pool, Residual, fail, parse
from .net import MEMBRANE, TEMPORAL, TTFSNet, make_encoder, make_readout
from .settings import StepSettings, WindowedSettings, settings_of
from .sizes import SizedLayer, check_input_shape, layer_sizes


def build(
    spec: str,
    *,
    input_shape: tuple[int, ...],
    steps: int,
    timing: str = "step",
    input_steps: int = checks.INPUT_STEPS,
    encoder: str = "direct",
    readout: str = "membrane",
    gamma: float = 1.2,
    scale: float = 10.0,
    population: int | None = None,
    init: str = "ettfs",
    normalization: bool | Literal["channel"] = True,
    affine: fs.Affine = "channel",
    bias: bool | None = None,
    pooling: str | None = None,
    dropout: float = 0.0,
    threshold: float = 1.0,
    learn_threshold: bool = False,
    decay: float = 1.0,
    synaptic_decay: float = 0.0,
    surrogate: Surrogate | None = None,
    hidden_gain: float | None = None,
    output_gain: float | None = None,
    output_surrogate: Surrogate | None = None,
    generator: Generator | None = None,
) -> TTFSNet:
    """Build a TTFS net from a string such as "784-400-400-10", "32C3-AP2-64C3-AP2-256-10" or "64C3-R(64C3-64C3)-AP2-10".

    The parts of the string: "784" neurons; "32C3" a convolution with 32 channels and a 3 x 3 kernel; "32C3x5" one with 3 rows
    and 5 columns; "32C3s2" one with a stride of 2; "AP2", "MP2", "EP2" average, max and earliest pooling, "AP1x2" of
    pairs of columns; in nets of windows, "SP2" averages that each send a single spike (`nn.WindowedAvgPool2d`);
    "R(64C3-64C3)" a residual block (`nn.Residual`, its scale the threshold). A `GrammarError` points at the part that does
    not fit.

    Parameters
    ----------
    spec, input_shape, steps : str, tuple of int, int
        The string, whose rules `parse` tells. (C, H, W) of the data, or (N,) for a net without convolutions. T, 1 to 254.
    timing : str
        "step": all layers share the steps. "windowed": each layer fires in a separate window of T steps, 1 to 255, and has a
        learned clip (docs/windowed.md). Such a net takes `input_steps`, `normalization`, `pooling` and `dropout`; a step by
        step net takes all settings but `input_steps`. Others are refused unless they are left at their defaults.
    input_steps : int
        The steps of the input's window, 1 to 255; its values are multiples of 1 / input_steps. 255 is exact for pixels of 8 bits.
    encoder : str
        "direct": the first layer gets the data as a constant current. "latency", "latency-log": see `encode.latency`.
        "spikes": the data are SpikeTimes [B, *input_shape] over `steps` steps.
    readout : str
        "membrane": the last layer integrates and never fires, and its last potential counts. "membrane-mean" and
        "membrane-weighted" count its earlier ones too (`decode.membrane`; they decide earlier). "twd-exp", "twd-linear":
        temporal weighting of output spikes. "first-spike": the class that fires first.
    gamma, scale : float
        Of temporal weighting (`decode.temporal_weights`); the factor of a spiking readout's scores.
    population : int, optional
        Output neurons per class; by default 10 with temporal weighting (ten spike times tie often), else 1.
    init : str
        "ettfs", "kaiming" (true He) or "torch".
    normalization : bool or "channel"
        Step by step, every layer normalises its weight (paper, Eq. 16), as a whole or ("channel") per output
        (`nn.WeightNormalization`). In nets of windows, every layer normalises its currents over the batch; False: a bias.
    affine, bias : str or None, bool, optional
        gamma and beta per output ("channel"), per "layer", or None; beta, by default only with an affine.
    pooling : str, optional
        "avg", "max", "earliest" or "single" (SPk) replaces the kind of every pool in the string.
    dropout : float
        In training, the probability that a neuron is silent for the fully connected layer after it (`nn.Synapses`).
    threshold, learn_threshold : float, bool
        Of every neuron, > 0. If learned, every output of a layer that fires has its own (`nn.FiringLayer`).
    decay : float
        Of every neuron, in (0, 2] and at most 2^(32/T); above 1 early spikes count more (docs/model.md, section "Neuron").
    synaptic_decay : float
        Of the current of every neuron and of the readout, in [0, 1]. At 0 a current lasts one step. At 1 it stays on, so that
        spike times carry more information (docs/model.md, section "Neuron"). Values above 0 run on the CPU alone.
    surrogate, output_surrogate, generator : Surrogate, Surrogate, Generator, optional
        A `firstspike.surrogate` of every neuron; of an output layer that fires; draws the weights.
    hidden_gain, output_gain : float, optional
        A factor on the gain (`init.firing_gain`) of every hidden layer that gets spikes; the gain of an output layer
        that fires. With direct coding, sqrt(2 / steps) and 1 / sqrt(steps) let fewer neurons fire in the first step (ours).

    Examples
    --------
    >>> net = build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=8, readout="twd-exp")
    >>> net(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4, 10])
    """
    changed = {name: value for name, value in locals().items() if name in _DEFAULTS and value != _DEFAULTS[name]}
    settings, shape = settings_of(timing, {"steps": steps, **changed}), check_input_shape(input_shape)
    sized = layer_sizes(spec, shape, pooling)
    net: TTFSNet = _MAKERS[timing](spec, settings, generator).net(sized, shape)
    net._config = {"spec": spec, "input_shape": list(shape), **settings.to_dict()}
    return net


#: What `build` passes on to the record of the timing's settings where it is not left at its default.
_DEFAULTS = {name: p.default for name, p in inspect.signature(build).parameters.items() if p.default is not p.empty}
del _DEFAULTS["timing"], _DEFAULTS["generator"]


def mlp(spec: str, *, steps: int, input_shape: tuple[int, ...] | None = None, **options: Any) -> TTFSNet:
    """Build a net without convolutions; input_shape is by default (N,), N the first number. Arguments and errors as in `build`.

    Parameters
    ----------
    spec : the net's string, as in `build`.
    steps : T, 1 to 254.
    input_shape : of one sample; by default (N,), N the first number.
    options : as in `build`.

    Examples
    --------
    >>> mlp("64-32-10", steps=8)(torch.rand(4, 64)).shape
    torch.Size([4, 10])
    """
    first = parse(spec)[0]
    if not isinstance(first, Linear):
        raise fail(spec, first, "an mlp has fully connected layers only; models.build takes convolutions")
    shape = (first.width,) if input_shape is None else input_shape
    return build(spec, steps=steps, input_shape=shape, **options)


def from_config(config: dict[str, Any], *, generator: Generator | None = None) -> TTFSNet:
    """Build the net that `TTFSNet.config()` describes, with newly drawn weights: load a state_dict. Errors as in `build`.

    Parameters
    ----------
    config : of `TTFSNet.config`.
    generator : of the random draws; by default torch's.

    Examples
    --------
    >>> net = mlp("64-32-10", steps=8)
    >>> from_config(net.config()).spec
    '64-32-10'
    """
    checks.instance("config", config, dict, "a dict as TTFSNet.config() gives it")
    return build(**config, generator=generator)


class _Maker:
    """Makes a net; the classes below make the layers of a timing: one with weights, and a block of them."""

    layer: Callable[..., nn.Module]
    block: Callable[..., nn.Module]

    def __init__(self, spec: str, settings: Any, generator: Generator | None) -> None:
        self.spec, self.settings, self.generator = spec, settings, generator

    def layers(self, sized: list[SizedLayer]) -> list[nn.Module]:
        """The layers in order; the factor of an average pool goes into the layer after it."""
        layers: list[nn.Module] = []
        factor = 1
        for item in sized:
            token = item.token
            if isinstance(token, Pool) and token.kind == "avg":
                factor = token.kernel[0] if token.square else 1  # one of one direction goes into the weights
                continue
            dropout = self.settings.dropout if layers else 0.0  # the data keep all their spikes
            if isinstance(token, Pool):
                layers.append(self.pool(item))
            elif isinstance(token, Residual):
                body = [self.layer(part, 1 if number else factor, dropout) for number, part in enumerate(item.body)]
                layers.append(self.block(item, body, factor, layers))
            else:
                layer = self.layer(item.on_map(), factor, dropout, first=not layers, last=item is sized[-1])
                if item.window != (1, 1):
                    shape = None if isinstance(token, Conv) else item.shape
                    fs.average_before(layer, item.window, shape)  # type: ignore[arg-type]
                layers.append(layer)
            factor = 1
        return layers

    def pool(self, item: SizedLayer) -> nn.Module:
        """A pool that is not a factor of the layer after it."""
        raise NotImplementedError


class _StepMaker(_Maker):
    settings: StepSettings

    def __init__(self, spec: str, settings: StepSettings, generator: Generator | None) -> None:
        super().__init__(spec, settings, generator)
        bias = settings.affine is not None if settings.bias is None else settings.bias
        shared = ("steps", "affine", "init", "normalization")
        self.synapses: dict[str, Any] = {name: getattr(settings, name) for name in shared}
        self.synapses |= {"bias": bias, "generator": generator}
        self.decays: dict[str, Any] = {name: getattr(settings, name) for name in ("decay", "synaptic_decay")}
        self.neuron: dict[str, Any] = {name: getattr(settings, name) for name in ("threshold", "surrogate")} | self.decays
        self.population = settings.population or (10 if settings.readout in TEMPORAL else 1)
        self.integrates = settings.readout in MEMBRANE

    def net(self, sized: list[SizedLayer], shape: tuple[int, ...]) -> TTFSNet:
        """The net of these layers."""
        settings, direct = self.settings, self.settings.encoder == "direct"
        if len(sized) == 1 and direct and self.integrates:
            message = "a membrane readout after direct coding needs a layer that fires before it"
            raise fail(self.spec, sized[0].token, message)
        for name in ("output_gain", "output_surrogate"):
            if getattr(settings, name) is not None and (self.integrates or (len(sized) == 1 and direct)):
                raise ValueError(f"{name} must be None: the net has no output layer that gets spikes and fires")
        layers = self.layers(sized)
        if settings.learn_threshold:
            for layer in layers:
                learn_thresholds(layer)
        readout = make_readout(settings.readout, classes=sized[-1].outputs, gamma=settings.gamma, scale=settings.scale)
        return TTFSNet(layers, encoder=make_encoder(settings.encoder, settings.steps), readout=readout, input_shape=shape)

    def layer(self, item: SizedLayer, factor: int, dropout: float, *, first: bool = False, last: bool = False) -> nn.Module:
        """A directly coded layer, an `Integrate`, or a layer that takes and gives spikes."""
        settings, outputs = self.settings, item.outputs * (self.population if last else 1)
        if first and settings.encoder == "direct":
            return _layer(item, outputs, fs.DirectConv2d, fs.DirectLinear, {}, **self.synapses, **self.neuron)
        options: dict[str, Any] = {"avg_pool": factor, **self.synapses}
        if last and self.integrates:
            return fs.Integrate(item.inputs, outputs, dropout=dropout, **self.decays, **options)
        options |= self.neuron
        if last:
            special = {"gain": settings.output_gain, "surrogate": settings.output_surrogate}
            options |= {name: value for name, value in special.items() if value is not None}
        elif settings.hidden_gain is not None:
            options["gain"] = settings.hidden_gain * firing_gain(factor, settings.steps, *self.decays.values())
        return _layer(item, outputs, fs.TTFSConv2d, fs.TTFSLinear, {"dropout": dropout}, **options)

    def pool(self, item: SizedLayer) -> nn.Module:
        """A pool that passes on every spike of its window, or the earliest."""
        token: Any = item.token
        if token.kind == "single":
            raise fail(self.spec, token, "averages of a single spike need timing='windowed'; here take average pooling")
        return (fs.MaxPool2d if token.kind == "max" else fs.EarliestPool2d)(token.kernel)

    def block(self, item: SizedLayer, body: list[nn.Module], factor: int, before: list[nn.Module]) -> nn.Module:
        """A block whose shortcut fires a neuron alone."""
        if before and isinstance(before[-1], fs.MaxPool2d):
            message = "a block cannot stand after max pooling, which makes several spikes per unit"
            raise fail(self.spec, item.token, message)
        return fs.Residual(body, scale=self.settings.threshold)


class _WindowedMaker(_Maker):
    settings: WindowedSettings

    def net(self, sized: list[SizedLayer], shape: tuple[int, ...]) -> TTFSNet:
        """The net of these layers."""
        *layers, readout = self.layers(sized)
        encoder = fs.WindowedEncoder(self.settings.input_steps)
        return TTFSNet(layers, encoder=encoder, readout=readout, input_shape=shape)  # type: ignore[arg-type]

    def pool(self, item: SizedLayer) -> nn.Module:
        """Neurons that fire once with the mean, or with the earliest spike, which has the largest value."""
        token: Any = item.token
        if token.kind == "single":
            return fs.WindowedAvgPool2d(item.outputs, token.kernel, steps=self.settings.steps, generator=self.generator)
        return fs.EarliestPool2d(token.kernel)

    def layer(self, item: SizedLayer, factor: int, dropout: float, *, first: bool = False, last: bool = False) -> nn.Module:
        """The readout, or a layer that fires."""
        options: dict[str, Any] = {"avg_pool": factor, "generator": self.generator}
        if last:
            return fs.WindowedReadout(item.inputs, item.outputs, dropout=dropout, **options)
        options |= {"steps": self.settings.steps, "normalization": self.settings.normalization}
        return _layer(item, item.outputs, fs.WindowedConv2d, fs.WindowedLinear, {"dropout": dropout}, **options)

    def block(self, item: SizedLayer, body: list[nn.Module], factor: int, before: list[nn.Module]) -> nn.Module:
        """A block with an identity, or a convolution where channels or sizes change, as its shortcut."""
        strides = [part.token.stride for part in item.body if isinstance(part.token, Conv)]
        stride = math.prod(s[0] for s in strides), math.prod(s[1] for s in strides)
        shortcut = None
        if not strides and item.inputs != item.outputs:
            raise fail(self.spec, item.token, f"a block of fully connected layers must keep its {item.inputs} neurons")
        if item.inputs != item.outputs or stride != (1, 1):
            sizes: dict[str, Any] = {"stride": stride, "avg_pool": factor, "generator": self.generator}
            shortcut = fs.WindowedShortcut(item.inputs, item.outputs, **sizes)
        return fs.Residual(body, shortcut)


_MAKERS: dict[str, Any] = {"step": _StepMaker, "windowed": _WindowedMaker}


def _layer(item: SizedLayer, outputs: int, convolution: Any, linear: Any, dropout: dict[str, float], **options: Any) -> nn.Module:
    """A convolution or a fully connected layer, which alone may drop spikes."""
    if isinstance(item.token, Conv):
        sizes: dict[str, Any] = {"stride": item.token.stride, "padding": item.token.padding}
        return convolution(item.inputs, outputs, item.token.kernel, **sizes, **options)  # type: ignore[no-any-return]
    return linear(item.inputs, outputs, **dropout, **options)  # type: ignore[no-any-return]
