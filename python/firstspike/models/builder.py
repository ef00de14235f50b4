"""Spiking nets from strings."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from torch import Generator, nn

from .. import nn as fs
from .._base import checks
from ..init import pool_gain
from ..nn.firing import learn_thresholds
from ..surrogate import Surrogate
from .coding import ENCODERS, MEMBRANE, READOUTS, TEMPORAL, make_encoder, make_readout
from .grammar import Conv, Linear, Pool, Residual, fail, parse
from .net import TTFSNet
from .sizes import SizedLayer, check_input_shape, layer_sizes


def build(
    spec: str,
    *,
    input_shape: tuple[int, ...],
    steps: int,
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
    surrogate: Surrogate | None = None,
    hidden_gain: float | None = None,
    output_gain: float | None = None,
    output_surrogate: Surrogate | None = None,
    generator: Generator | None = None,
) -> TTFSNet:
    """A TTFS net from a string such as "784-400-400-10", "32C3-AP2-64C3-AP2-256-10" or "64C3-R(64C3-64C3)-AP2-10".

    The rules of these strings: "784" neurons, "32C3" a convolution (32 channels, 3 x 3), "32C3x5" with 3 rows and 5
    columns, "32C3s2" with a stride of 2, "AP2", "MP2", "EP2" average, max and earliest pooling, "R(64C3-64C3)" a residual
    block (`nn.Residual`, its scale the threshold).

    input_shape: (C, H, W) of the data, or (N,) for a net without convolutions. steps: T, 1 to 254.
    The default readout, "membrane", of neurons without a leak (decay 1) ignores when the last hidden layer fires: its last
    potential is the sum of all weights of neurons that fired, at whatever step. Choose "membrane-mean", "membrane-weighted" or a
    spiking readout where the times of the last hidden layer should count (docs/model.md, section "Decoders").

    encoder: "direct": the first layer gets the data as a constant current. "latency", "latency-log": see
    `encode.latency`. "spikes": the data are SpikeTimes [B, *input_shape] over `steps` steps.
    readout: "membrane": the last layer integrates and never fires, and its last potential counts; "membrane-mean" and
    "membrane-weighted" count its earlier ones too (`decode.membrane`; they decide earlier). "twd-exp", "twd-linear":
    temporal weighting of output spikes. "first-spike": the class that fires first.
    gamma: of temporal weighting, see `decode.temporal_weights`.
    scale: the factor of a spiking readout's scores, an inverse temperature for the softmax after them.
    population: output neurons per class; by default 10 with temporal weighting (ten spike times tie often), else 1.
    init: "ettfs", "kaiming" (true He) or "torch".
    normalization: weight normalisation of every layer (paper, Eq. 16); "channel" normalises each output's weights on their own
    (`nn.WeightNormalization`).
    affine: gamma and beta per output ("channel"), per "layer", or None. bias: beta; by default only with an affine.
    pooling: "avg", "max" or "earliest" replaces the kind of every pool in the string.
    dropout: in training, the probability with which a neuron is silent for the fully connected layer after it (`Synapse`).
    threshold: of every neuron, > 0. decay: of every neuron, in (0, 2] and at most 2^(32/T); above 1 makes early spikes count
    more (docs/model.md, "Neuron"). surrogate: of every neuron, a `firstspike.surrogate`.
    learn_threshold: every output of a layer that fires has a threshold of its own, a parameter that begins at `threshold`
    (`nn.FiringLayer`). hidden_gain: a factor on the gain (`init.pool_gain`) of every hidden layer that gets spikes.
    output_gain, output_surrogate: of an output layer that fires, in place of its gain and of `surrogate`. With direct coding
    spikes come early: with gains of sqrt(2 / steps) and 1 / sqrt(steps) and a wider triangle fewer neurons fire in the first
    step, and more output neurons have a gradient (ours). generator: draws the weights.

    Raises GrammarError (a ValueError) that points at the token, ValueError and TypeError naming the argument.

    Examples:
        >>> net = build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=8, readout="twd-exp")
        >>> net(torch.rand(4, 1, 8, 8)).shape
        torch.Size([4, 10])
    """
    shape = check_input_shape(input_shape)
    checks.one_of("encoder", encoder, ENCODERS)
    checks.one_of("readout", readout, READOUTS)
    checks.one_of("normalization", normalization, (True, False, "channel"))
    checks.boolean("learn_threshold", learn_threshold)
    if population is None:
        population = 10 if readout in TEMPORAL else 1
    population = checks.integer("population", population, 1)
    steps, gamma = checks.steps(steps), checks.real("gamma", gamma)
    scale, dropout = checks.positive("scale", scale), checks.real("dropout", dropout, 0.0, 0.99)
    bias = affine is not None if bias is None else bias
    sized = layer_sizes(spec, shape, pooling)
    if len(sized) == 1 and encoder == "direct" and readout in MEMBRANE:
        raise fail(spec, sized[0].token, "a membrane readout after direct coding needs a layer that fires before it")
    neuron = fs.TTFSNode(threshold=threshold, decay=decay, surrogate=surrogate).neuron
    synapse = {
        "steps": steps,
        "bias": bias,
        "affine": affine,
        "init": init,
        "normalization": normalization,
        "generator": generator,
    }
    hidden_gain = None if hidden_gain is None else checks.positive("hidden_gain", hidden_gain)
    output = _output(output_gain, output_surrogate)
    if output and (readout in MEMBRANE or (len(sized) == 1 and encoder == "direct")):
        name = "output_gain" if output_gain is not None else "output_surrogate"
        raise ValueError(f"{name} needs an output layer that gets spikes and fires, got readout {readout!r}")
    options = _Options(
        encoder == "direct", readout in MEMBRANE, population, dropout, synapse, dict(neuron), hidden_gain, output
    )
    layers = _layers(sized, options)
    if learn_threshold:
        for layer in layers:
            learn_thresholds(layer)
    config = {
        "spec": spec,
        "input_shape": list(shape),
        "steps": steps,
        "encoder": encoder,
        "readout": readout,
        "gamma": gamma,
        "scale": scale,
        "population": population,
        "init": init,
        "normalization": normalization,
        "affine": affine,
        "bias": bias,
        "pooling": pooling,
        "dropout": dropout,
        "threshold": neuron["threshold"],
        "decay": neuron["decay"],
        "surrogate": dataclasses.asdict(neuron["surrogate"]),
    }
    if learn_threshold:
        config["learn_threshold"] = True
    if hidden_gain is not None:
        config["hidden_gain"] = hidden_gain
    if output_gain is not None:
        config["output_gain"] = output["gain"]
    if output_surrogate is not None:
        config["output_surrogate"] = dataclasses.asdict(output_surrogate)
    net = TTFSNet(
        layers,
        encoder=make_encoder(encoder, steps),
        readout=make_readout(readout, classes=sized[-1].outputs, gamma=gamma, scale=scale),
        input_shape=shape,
    )
    net.describe(config)
    return net


def mlp(spec: str, *, steps: int, input_shape: tuple[int, ...] | None = None, **options: Any) -> TTFSNet:
    """`build` for a net without convolutions; input_shape is by default (N,), N the first number. Errors as in `build`.

    Examples:
        >>> mlp("64-32-10", steps=8)(torch.rand(4, 64)).shape
        torch.Size([4, 10])
    """
    first = parse(spec)[0]
    if not isinstance(first, Linear):
        raise fail(spec, first, "an mlp has fully connected layers only; models.cnn takes convolutions")
    return build(spec, steps=steps, input_shape=(first.width,) if input_shape is None else input_shape, **options)


def cnn(spec: str, *, steps: int, input_shape: tuple[int, ...], **options: Any) -> TTFSNet:
    """`build` for a net that starts with a convolution; input_shape is (C, H, W). Errors as in `build`.

    Examples:
        >>> cnn("8C3-AP2-10", steps=8, input_shape=(1, 8, 8))(torch.rand(4, 1, 8, 8)).shape
        torch.Size([4, 10])
    """
    first = parse(spec)[0]
    if not isinstance(first, Conv):
        raise fail(spec, first, "a cnn starts with a convolution; models.mlp takes fully connected layers only")
    return build(spec, steps=steps, input_shape=input_shape, **options)


def from_config(config: dict[str, Any], *, generator: Generator | None = None) -> TTFSNet:
    """The net that `TTFSNet.config()` describes, with newly drawn weights: load a state_dict. Errors as in `build`.

    Examples:
        >>> net = mlp("64-32-10", steps=8)
        >>> from_config(net.config()).spec
        '64-32-10'
    """
    if not isinstance(config, dict) or not all(isinstance(name, str) for name in config):
        raise TypeError(f"config must be a dict as TTFSNet.config() gives it, got {checks.shown(config)}")
    known = {"spec", "input_shape", "steps", *(build.__kwdefaults__ or {})} - {"generator"}
    if set(config) - known or {"spec", "input_shape", "steps"} - set(config):
        raise ValueError(
            f"config must have the arguments of models.build, {', '.join(sorted(known))}, got {sorted(config)}"
        )
    options = dict(config)
    for name in ("surrogate", "output_surrogate"):
        if name in options:
            options[name] = _surrogate(options[name])
    return build(options.pop("spec"), generator=generator, **options)


def _surrogate(described: Any) -> Surrogate | None:
    if described is None:
        return None
    if not isinstance(described, dict) or set(described) != {"kind", "scale"}:
        raise ValueError(f"config must have a surrogate with kind and scale, got {checks.shown(described)}")
    return Surrogate(**described)


@dataclasses.dataclass(frozen=True)
class _Options:
    """What the layers of a net have in common."""

    direct: bool
    integrate: bool
    population: int
    dropout: float
    synapse: dict[str, Any]
    neuron: dict[str, Any]
    hidden_gain: float | None
    output: dict[str, Any]  # what an output layer that fires has of its own


def _output(gain: float | None, surrogate: Surrogate | None) -> dict[str, Any]:
    """The arguments of an output layer that fires that differ from those of the other layers."""
    found: dict[str, Any] = {} if gain is None else {"gain": checks.positive("output_gain", gain)}
    if surrogate is not None:
        if not isinstance(surrogate, Surrogate):
            raise TypeError(
                f"output_surrogate must be a firstspike.surrogate, such as triangle(1.5), got {surrogate!r}"
            )
        found["surrogate"] = surrogate
    return found


def _layers(sized: list[SizedLayer], options: _Options) -> list[nn.Module]:
    """The layers in order; the factor of an average pool goes into the layer after it."""
    layers: list[nn.Module] = []
    factor = 1
    for item in sized:
        token, last = item.token, item is sized[-1]
        if isinstance(token, Pool) and token.kind == "avg":
            factor = token.factor
            continue
        if isinstance(token, Pool):
            layers.append((fs.MaxPool2d if token.kind == "max" else fs.EarliestPool2d)(token.factor))
            continue
        if isinstance(token, Residual):
            factors = [factor] + [1] * (len(item.body) - 1)
            layers.append(
                fs.Residual(
                    (_spiking(part, f, options, options.dropout) for part, f in zip(item.body, factors, strict=True)),
                    scale=options.neuron["threshold"],
                )
            )
        elif options.direct and not layers:
            layers.append(_coded(item, options, last))
        elif last and options.integrate:
            layers.append(
                fs.Integrate(
                    item.inputs,
                    item.outputs * options.population,
                    avg_pool=factor,
                    decay=options.neuron["decay"],
                    dropout=options.dropout if layers else 0.0,  # the data keep all their spikes
                    **options.synapse,
                )
            )
        else:
            rate = options.dropout if layers else 0.0
            layers.append(_spiking(item, factor, options, rate, last=last))
        factor = 1
    return layers


def _coded(item: SizedLayer, options: _Options, last: bool) -> nn.Module:
    """A directly coded layer."""
    outputs = item.outputs * (options.population if last else 1)
    if isinstance(item.token, Conv):
        sizes: dict[str, Any] = {"stride": item.token.stride, "padding": item.token.padding}
        return fs.DirectConv2d(item.inputs, outputs, item.token.kernel, **sizes, **options.synapse, **options.neuron)
    return fs.DirectLinear(item.inputs, outputs, **options.synapse, **options.neuron)


def _spiking(item: SizedLayer, factor: int, options: _Options, dropout: float, *, last: bool = False) -> nn.Module:
    """A layer that gets and gives spikes; only fully connected ones drop some."""
    shared: dict[str, Any] = {"avg_pool": factor, **options.synapse, **options.neuron}
    if options.hidden_gain is not None and not last:
        shared["gain"] = options.hidden_gain * pool_gain(factor, options.synapse["steps"])
    if isinstance(item.token, Conv):
        sizes: dict[str, Any] = {"stride": item.token.stride, "padding": item.token.padding}
        return fs.TTFSConv2d(item.inputs, item.outputs, item.token.kernel, **sizes, **shared)
    outputs = item.outputs * options.population if last else item.outputs
    return fs.TTFSLinear(item.inputs, outputs, dropout=dropout, **shared | (options.output if last else {}))
