"""Spiking nets from strings."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Literal, overload

from torch import Generator, nn

from .. import nn as fs
from .._base import checks
from ..init import firing_gain
from ..nn.firing import learn_thresholds
from ..surrogate import Surrogate
from .grammar import Conv, Linear, Pool, Residual, fail, parse
from .net import ENCODERS, MEMBRANE, READOUTS, TEMPORAL, TTFSNet, make_encoder, make_readout
from .sizes import SizedLayer, check_input_shape, layer_sizes
from .windowed import WindowedNet, build_windowed

#: The arguments of `build` that nets of windows take.
WINDOWED = ("spec", "input_shape", "steps", "timing", "normalization", "pooling", "dropout")


@overload
def build(spec: str, *, timing: Literal["windowed"], **options: Any) -> WindowedNet: ...


@overload
def build(spec: str, *, timing: Literal["step"] = "step", **options: Any) -> TTFSNet: ...


def build(  # type: ignore[misc]  # the options are listed here
    spec: str,
    *,
    input_shape: tuple[int, ...],
    steps: int,
    timing: str = "step",
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
) -> TTFSNet | WindowedNet:
    """Build a TTFS net from a string such as "784-400-400-10", "32C3-AP2-64C3-AP2-256-10" or "64C3-R(64C3-64C3)-AP2-10".

    The parts of the string: "784" neurons; "32C3" a convolution with 32 channels and a 3 x 3 kernel; "32C3x5" one with 3 rows
    and 5 columns; "32C3s2" one with a stride of 2; "AP2", "MP2", "EP2" average, max and earliest pooling; "R(64C3-64C3)" a
    residual block (`nn.Residual`, its scale the threshold). A `GrammarError` points at the part that does not fit.

    Parameters
    ----------
    spec, input_shape, steps : str, tuple of int, int
        The string, whose rules `parse` tells. (C, H, W) of the data, or (N,) for a net without convolutions. T, 1 to 254.
    timing : str
        "step": all layers share the steps. "layer": each layer fires in a separate window of T steps, 1 to 255, with batch
        normalisation (False: a bias) and a learned clip; it makes a `WindowedNet` (docs/windowed.md) and takes `normalization`,
        `pooling`, `dropout` and `generator`; other settings are refused.
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
        Weight normalisation of every layer (paper, Eq. 16), of the layer or of each output (`nn.WeightNormalization`).
    affine, bias : str or None, bool, optional
        gamma and beta per output ("channel"), per "layer", or None; beta, by default only with an affine.
    pooling : str, optional
        "avg", "max" or "earliest" replaces the kind of every pool in the string.
    dropout : float
        In training, the probability that a neuron is silent for the fully connected layer after it (`nn.Synapses`).
    threshold, learn_threshold : float, bool
        Of every neuron, > 0. If learned, every output of a layer that fires has its own (`nn.FiringLayer`).
    decay : float
        Of every neuron, in (0, 2] and at most 2^(32/T); above 1 early spikes count more (docs/model.md, section "Neuron").
    synaptic_decay : float
        Of the current of every neuron and of the readout, in [0, 1]: 0, it lasts one step; 1, it stays on, so that times tell
        more (docs/model.md, section "Neuron"). Above 0 on the CPU alone.
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
    config = {name: value for name, value in locals().items() if name != "generator"}
    checks.one_of("timing", timing, ("step", "windowed"))
    if timing == "windowed":
        plain = inspect.signature(build).parameters
        for name, value in config.items():
            if name not in WINDOWED and value != plain[name].default:
                raise ValueError(f"{name} must be left out with timing 'windowed', got {checks.shown(value)}")
        return build_windowed({name: config[name] for name in WINDOWED}, generator)
    shape = check_input_shape(input_shape)
    checks.one_of("encoder", encoder, ENCODERS)
    checks.one_of("readout", readout, READOUTS)
    checks.one_of("normalization", normalization, (True, False, "channel"))
    checks.boolean("learn_threshold", learn_threshold)
    if population is None:
        population = 10 if readout in TEMPORAL else 1
    checked: dict[str, Any] = {
        "steps": checks.steps(steps),
        "gamma": checks.real("gamma", gamma),
        "scale": checks.positive("scale", scale),
        "population": checks.integer("population", population, 1),
        "dropout": checks.real("dropout", dropout, 0.0, 0.99),
        "bias": affine is not None if bias is None else bias,
        "hidden_gain": None if hidden_gain is None else checks.positive("hidden_gain", hidden_gain),
        "output_gain": None if output_gain is None else checks.positive("output_gain", output_gain),
        **fs.TTFSNode(threshold=threshold, decay=decay, surrogate=surrogate, synaptic_decay=synaptic_decay).neuron._asdict(),
    }
    checks.optional("output_surrogate", output_surrogate, Surrogate, "a firstspike.surrogate, such as triangle(1.5)")
    config |= checked
    layers = _layers(layer_sizes(spec, shape, pooling), config, generator)
    if learn_threshold:
        for layer in layers:
            learn_thresholds(layer)
    classes = layer_sizes(spec, shape)[-1].outputs
    reads = make_readout(readout, classes=classes, gamma=gamma, scale=scale)
    net = TTFSNet(layers, encoder=make_encoder(encoder, steps), readout=reads, input_shape=shape)
    described = {k: dataclasses.asdict(v) if isinstance(v, Surrogate) else v for k, v in config.items()}
    net._config = described | {"input_shape": list(shape)}
    return net


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
    net: TTFSNet = build(spec, steps=steps, input_shape=shape, **options)
    return net


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
    options = dict(config)
    for name in ("surrogate", "output_surrogate"):
        if isinstance(options.get(name), dict):
            options[name] = Surrogate(**options[name])
    net: TTFSNet = build(**options, generator=generator)
    return net


def _layers(sized: list[SizedLayer], config: dict[str, Any], generator: Generator | None) -> list[nn.Module]:
    """The layers in order; the factor of an average pool goes into the layer after it."""
    make = _Maker(config, generator)
    direct, integrates = config["encoder"] == "direct", config["readout"] in MEMBRANE
    if len(sized) == 1 and direct and integrates:
        message = "a membrane readout after direct coding needs a layer that fires before it"
        raise fail(config["spec"], sized[0].token, message)
    for name in ("output_gain", "output_surrogate"):
        if config[name] is not None and (integrates or (len(sized) == 1 and direct)):
            raise ValueError(f"{name} must be None: the net has no output layer that gets spikes and fires")
    layers: list[nn.Module] = []
    factor = 1
    for item in sized:
        token, last = item.token, item is sized[-1]
        if isinstance(token, Pool) and token.kind == "avg":
            factor = token.factor
            continue
        outputs = item.outputs * (config["population"] if last else 1)
        dropout = config["dropout"] if layers else 0.0  # the data keep all their spikes
        if isinstance(token, Pool):
            layers.append((fs.MaxPool2d if token.kind == "max" else fs.EarliestPool2d)(token.factor))
        elif isinstance(token, Residual):
            if layers and isinstance(layers[-1], fs.MaxPool2d):
                message = "a block cannot stand after max pooling, which makes several spikes per unit"
                raise fail(config["spec"], token, message)
            factors = [factor] + [1] * (len(item.body) - 1)
            body = [make.spiking(part, f, part.outputs, dropout) for part, f in zip(item.body, factors, strict=True)]
            layers.append(fs.Residual(body, scale=config["threshold"]))
        elif direct and not layers:
            layers.append(make.coded(item, outputs))
        elif last and integrates:
            decays = {name: config[name] for name in ("decay", "synaptic_decay")}
            options = {"avg_pool": factor, "dropout": dropout, **decays, **make.synapse}
            layers.append(fs.Integrate(item.inputs, outputs, **options))
        else:
            layers.append(make.spiking(item, factor, outputs, dropout, last=last))
        factor = 1
    return layers


class _Maker:
    """Makes the layers of a net, with the settings that they share."""

    def __init__(self, config: dict[str, Any], generator: Generator | None) -> None:
        shared = ("steps", "bias", "affine", "init", "normalization")
        self.config = config
        self.synapse: dict[str, Any] = {name: config[name] for name in shared} | {"generator": generator}
        self.neuron: dict[str, Any] = {name: config[name] for name in ("threshold", "decay", "surrogate", "synaptic_decay")}

    def coded(self, item: SizedLayer, outputs: int) -> Any:
        """A directly coded layer."""
        return self._layer(item, outputs, fs.DirectConv2d, fs.DirectLinear)

    def spiking(self, item: SizedLayer, factor: int, outputs: int, dropout: float, last: bool = False) -> Any:
        """A layer that gets and gives spikes; only fully connected ones drop some."""
        options: dict[str, Any] = {"avg_pool": factor}
        hidden = self.config["hidden_gain"]
        if last:
            special = {"gain": self.config["output_gain"], "surrogate": self.config["output_surrogate"]}
            options |= {name: value for name, value in special.items() if value is not None}
        elif hidden is not None:
            steps, decays = self.config["steps"], (self.config["decay"], self.config["synaptic_decay"])
            options["gain"] = hidden * firing_gain(factor, steps, *decays)
        if not isinstance(item.token, Conv):
            options["dropout"] = dropout
        return self._layer(item, outputs, fs.TTFSConv2d, fs.TTFSLinear, **options)

    def _layer(self, item: SizedLayer, outputs: int, convolution: Any, linear: Any, **options: Any) -> Any:
        options, token = self.synapse | self.neuron | options, item.token
        if isinstance(token, Conv):
            sizes: dict[str, Any] = {"stride": token.stride, "padding": token.padding}
            return convolution(item.inputs, outputs, token.kernel, **sizes, **options)
        return linear(item.inputs, outputs, **options)
