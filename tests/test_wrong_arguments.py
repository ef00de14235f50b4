"""Wrong arguments to the public functions and modules: each is refused with an error that names the argument, or works.

FIRSTSPIKE_FUZZ_CALLS sets the number of calls per function.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import firstspike as fs
from firstspike import SpikeTimes, decode, encode, functional, init, losses, models, nn, surrogate

from .wrong_arguments import CALLS, ODD, check, floats, spikes

NEURON = {"threshold": 1.0, "decay": 1.0, "surrogate": surrogate.triangle()}
SYNAPSE = {"steps": 4, "bias": True, "affine": None, "init": "torch", "normalization": False, "generator": None}
LINEAR = {"in_features": 5, "out_features": 3}
CONV = {"in_channels": 3, "out_channels": 2, "kernel_size": 3, "stride": 1, "padding": 1}
POOL = {"avg_pool": 1, "dropout": 0.0}
EVENTS = np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i2")])
LABELS = torch.tensor([0, 1])
NET = models.build("5-4-3", input_shape=(5,), steps=4)
BUILD: dict[str, Any] = {**NET.config(), "surrogate": None, "generator": None, "input_shape": (5,)}
# Functions with arguments that are right, of which one or two are replaced by odd ones.
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "SpikeTimes": (SpikeTimes, {"times": torch.zeros(2, 5, dtype=torch.uint8), "steps": 4}),
    "from_dense": (SpikeTimes.from_dense, {"x": torch.zeros(4, 2, 5), "keep": None}),
    "reshape": (lambda a, b: spikes(2, 6).reshape(a, b), {"a": 2, "b": 6}),
    "flatten": (spikes(2, 3, 4, 4).flatten, {"start_dim": 1, "end_dim": -1}),
    "index": (lambda i: spikes(2, 5)[i], {"i": slice(0, 1)}),
    "rescale": (spikes(2, 5).rescale, {"steps": 3}),
    "seconds": (spikes(2, 5).seconds, {"dt": 1.0}),
    "cat": (fs.cat, {"trains": [spikes(2, 5)], "dim": 1}),
    "ramp": (functional.ramp, {"current": floats(2, 5), "steps": 4, **NEURON}),
    "linear": (
        functional.linear,
        {"spikes": spikes(2, 5), "weight": floats(3, 5), "bias": floats(3), "avg_pool": 1, **NEURON}
        | {"shortcut": spikes(2, 3), "shortcut_scale": 1.0},
    ),
    "conv2d": (
        functional.conv2d,
        {"spikes": spikes(2, 3, 4, 4), "weight": floats(3, 3, 3, 3), "bias": floats(3), "stride": 1, "padding": 1}
        | {"avg_pool": 1, "shortcut": spikes(2, 3, 4, 4), "shortcut_scale": 1.0, **NEURON},
    ),
    "integrate": (
        functional.integrate,
        {"spikes": spikes(2, 5), "weight": floats(3, 5), "bias": floats(3), "avg_pool": 1, "decay": 1.0},
    ),
    "dropout": (functional.dropout, {"spikes": spikes(2, 5), "p": 0.5, "seed": torch.tensor([3])}),
    "earliest": (functional.earliest, {"a": spikes(2, 5), "b": spikes(2, 5)}),
    "normalize_weight": (functional.normalize_weight, {"weight": floats(3, 5), "deviation": 1.0, "gamma": floats(3)}),
    "fire": (functional.fire, {"current": floats(4, 2, 5), **NEURON}),
    "latency": (encode.latency, {"x": floats(2, 5), "steps": 4, "curve": "linear"}),
    "first_events": (encode.first_events, {"events": EVENTS, "sensor_size": (3, 3, 2), "steps": 4, "window": None}),
    "temporal_weights": (decode.temporal_weights, {"steps": 4, "gamma": 1.2, "mode": "exp", "device": None}),
    "temporal_weighting": (decode.temporal_weighting, {"spikes": spikes(2, 5), "gamma": 1.2, "mode": "exp"}),
    "membrane": (decode.membrane, {"v": floats(4, 2, 5), "mode": "last"}),
    "overshoot": (decode.overshoot, {"spikes": spikes(2, 5), "v": floats(4, 2, 5), "threshold": 1.0}),
    "first_spike": (decode.first_spike, {"spikes": spikes(2, 5), "overshoot": floats(2, 5)}),
    "population": (decode.population, {"scores": floats(2, 6), "classes": 3}),
    "settled_step": (decode.settled_step, {"scores": floats(4, 2, 5)}),
    "ties": (decode.ties, {"spikes": spikes(2, 5), "classes": 5}),
    "ettfs_": (init.ettfs_, {"weight": floats(3, 5), "steps": 4, "gain": 1.0, "generator": None}),
    "kaiming_": (init.kaiming_, {"weight": floats(3, 5), "generator": None}),
    "pool_gain": (init.pool_gain, {"avg_pool": 2, "steps": 4}),
    "Surrogate": (surrogate.Surrogate, {"kind": "atan", "scale": 1.0}),
    "derivative": (surrogate.triangle().derivative, {"u": floats(3)}),
    "target_times": (losses.target_times, {"spikes": spikes(2, 5), "target": floats(2, 5)}),
    "margin": (losses.margin, {"spikes": spikes(2, 5), "labels": LABELS, "steps": 1.0}),
    "cross_entropy": (losses.first_spike_cross_entropy, {"spikes": spikes(2, 5), "labels": LABELS, "tau": 1.0}),
    "latency penalty": (losses.latency, {"spikes": spikes(2, 5)}),
    "existence": (losses.existence, {"spikes": spikes(2, 5), "membrane": floats(4, 2, 5), "threshold": 1.0}),
    "TTFSLinear": (nn.TTFSLinear, {**LINEAR, **POOL, **SYNAPSE, **NEURON}),
    "TTFSConv2d": (nn.TTFSConv2d, {**CONV, **POOL, **SYNAPSE, **NEURON}),
    "DirectLinear": (nn.DirectLinear, {**LINEAR, **SYNAPSE, **NEURON}),
    "DirectConv2d": (nn.DirectConv2d, {**CONV, **SYNAPSE, **NEURON}),
    "Integrate": (nn.Integrate, {**LINEAR, **POOL, **SYNAPSE, "decay": 1.0}),
    "TTFSNode": (nn.TTFSNode, NEURON),
    "WeightNormalization": (nn.WeightNormalization, {"steps": 4, "fan_in": 5, "gain": 1.0}),
    "LatencyEncoder": (nn.LatencyEncoder, {"steps": 4, "curve": "log"}),
    "TemporalWeighting": (nn.TemporalWeighting, {"gamma": 1.2, "mode": "exp", "classes": None, "scale": 1.0}),
    "MembraneReadout": (nn.MembraneReadout, {"mode": "last", "classes": None}),
    "EarliestPool2d": (nn.EarliestPool2d, {"kernel_size": 2}),
    "Residual": (nn.Residual, {"layers": [nn.TTFSLinear(5, 5, steps=4)], "scale": 0.5, "learn_scale": False}),
    "Prepacked": (nn.Prepacked, {"layers": [nn.TTFSLinear(5, 3, steps=4)], "input_shape": (5,)}),
    "a linear layer": (nn.TTFSLinear(5, 5, steps=4), {"spikes": spikes(2, 5), "shortcut": None, "membrane": False}),
    "a direct layer": (nn.DirectLinear(5, 3, steps=4), {"x": floats(2, 5), "membrane": False}),
    "a pool": (nn.EarliestPool2d(2), {"spikes": spikes(2, 3, 4, 4)}),
    "a max pool": (nn.MaxPool2d(2), {"spikes": spikes(2, 3, 4, 4)}),
    "PooledSpikes": (nn.PooledSpikes, {"spikes": spikes(2, 3, 4, 4), "kernel_size": 2}),
    "build": (models.build, BUILD),
    "from_config": (models.from_config, {"config": NET.config(), "generator": None}),
    "a config": (lambda **change: models.from_config({**NET.config(), **change}), NET.config()),
    "parse": (models.parse, {"spec": "4C3-3"}),
    "relu": (models.relu_counterpart, {"spec": "5-4-3", "input_shape": (5,), "pooling": None, "dropout": 0.0}),
    "TTFSNet": (
        models.TTFSNet,
        {"layers": [nn.DirectLinear(5, 4, steps=4), nn.Integrate(4, 3, steps=4)], "encoder": "direct"}
        | {"readout": "membrane", "input_shape": (5,)},
    ),
    "prepare_for_inference": (models.prepare_for_inference, {"net": NET}),
    "a net": (NET, {"x": floats(2, 5)}),
}


def wrong_calls(name: str) -> Iterator[dict[str, Any]]:
    """One or two odd arguments; the draw depends on the name alone."""
    draw = random.Random(name)
    right = FUNCTIONS[name][1]
    for _ in range(CALLS):
        yield {key: draw.choice(ODD) for key in draw.sample(list(right), min(len(right), draw.choice([1, 1, 2])))}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_clear(name: str) -> None:
    check(*FUNCTIONS[name], wrong_calls(name))
