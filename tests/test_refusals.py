"""Refusals of spikes, encode, decode, losses, init and surrogate: call, error, and the argument that the message names."""

from __future__ import annotations

import math
from typing import Any

import torch

import firstspike as fs
from firstspike import SpikeTimes, decode, encode, init, losses, surrogate

from .samples import refusals


def spikes(*shape: int, steps: int = 4) -> SpikeTimes:
    return SpikeTimes(torch.zeros(shape, dtype=torch.uint8), steps)


def dense(*values: Any) -> SpikeTimes:
    return SpikeTimes.from_dense(torch.tensor(values))


OUT, MAP = spikes(2, 3), spikes(2, 3, 1, 1)
DECODERS: list[Any] = [
    decode.first_spike,
    decode.decision_step,
    decode.ties,
    lambda s: decode.temporal_weighting(s, gamma=2.0),
    lambda s: decode.overshoot(s, torch.zeros(4, 2, 3)),
]
NESTED = torch.nested.nested_tensor([torch.rand(2), torch.rand(3)])
DRAWS: list[Any] = [init.kaiming_, init.torch_default_, lambda w, **o: init.ettfs_(w, 8, **o)]

test_calls = refusals(
    *[(lambda f=f: f(NESTED, 4), TypeError, "times|x") for f in (SpikeTimes, encode.latency)],
    *[(lambda f=f: f(NESTED), TypeError, "x") for f in (fs.models.mlp("2-4-3", steps=4), fs.nn.DirectLinear(2, 3, steps=4))],
    (lambda: fs.functional.linear(spikes(2, 5), NESTED), TypeError, "weight"),
    (lambda: fs.data.from_arrays(NESTED, torch.zeros(2, dtype=torch.int64)), TypeError, "x"),
    # SpikeTimes
    (lambda: SpikeTimes([[0]], 4), TypeError, "times"),
    (lambda: SpikeTimes(torch.zeros(2, 3), 4), TypeError, "times"),
    (lambda: SpikeTimes(torch.zeros(2, dtype=torch.uint8), 4), ValueError, "times"),
    (lambda: SpikeTimes(torch.full((1, 1), 4, dtype=torch.uint8), 4), ValueError, "times"),
    *[(lambda n=n: spikes(2, 3, steps=n), ValueError, "steps") for n in (0, 256)],
    *[(lambda n=n: spikes(2, 3, steps=n), TypeError, "steps") for n in (4.0, None, True)],
    *[(lambda n=n: SpikeTimes.from_dense(torch.zeros(n, 1, 1)), ValueError, "steps") for n in (0, 255)],
    (lambda: dense([[1.0, 0.0]], [[1.0, 0.0]]), ValueError, r"x .*\(0, 0\)"),
    (lambda: dense([[0.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]), ValueError, r"x .*\(0, 1\)"),
    (lambda: dense([[0.5, 0.0]]), ValueError, r"x .*0\.5 at .*\(0, 0, 0\)"),
    (lambda: dense([[0.0, -1.0]]), ValueError, r"x .*-1\.0 at .*\(0, 0, 1\)"),
    (lambda: dense([[0.0, math.nan]]), ValueError, "x .*nan"),
    (lambda: dense([1.0]), ValueError, "x"),
    (lambda: SpikeTimes.from_dense(torch.zeros(4, 1, 1), keep="last"), ValueError, "keep"),
    (lambda: OUT.seconds(0.0), ValueError, "dt"),
    (lambda: OUT.rescale(0), ValueError, "steps"),
    (lambda: OUT.reshape(3, 2), ValueError, "shape"),
    (lambda: OUT.reshape(6), ValueError, "shape"),
    (lambda: OUT.flatten(0), ValueError, "start_dim"),
    (lambda: OUT[torch.tensor(0)], TypeError, "index"),
    (lambda: OUT[0], TypeError, "index"),
    (lambda: OUT[:1, 2], TypeError, "index"),
    (lambda: OUT[None], TypeError, "index"),
    (lambda: OUT[...], TypeError, "index"),
    (lambda: OUT.to(torch.float32), TypeError, "device"),
    # cat
    (lambda: fs.cat(torch.zeros(2)), TypeError, "trains"),
    (lambda: fs.cat([OUT, torch.zeros(2)]), TypeError, "trains"),
    (lambda: fs.cat([]), ValueError, "trains"),
    (lambda: fs.cat([OUT, spikes(2, 4)], 0), ValueError, "trains"),
    (lambda: fs.cat([OUT, spikes(2, 3, steps=5)]), ValueError, "trains"),
    (lambda: fs.cat([OUT, OUT], 2), ValueError, "dim"),
    # encode
    *[(lambda bad=bad: encode.latency(torch.tensor([[0.5, bad]]), 8), ValueError, "x") for bad in (-0.01, 1.01, math.nan)],
    (lambda: encode.latency(torch.zeros(1, 2, dtype=torch.uint8), 8), TypeError, "x"),
    (lambda: encode.latency(torch.zeros(1, 2, dtype=torch.float64), 8), TypeError, "x"),
    (lambda: encode.latency(torch.zeros(2), 8), ValueError, "x"),
    (lambda: encode.latency(torch.zeros(1, 2), 255), ValueError, "steps"),
    (lambda: encode.latency(torch.zeros(1, 2), 8, "square"), ValueError, "curve"),
    (lambda: encode.seconds(torch.tensor([[-1.0]]), 1.0, 8), ValueError, "t"),
    (lambda: encode.seconds(torch.tensor([[math.nan]]), 1.0, 8), ValueError, "t"),
    (lambda: encode.seconds(torch.zeros(1), 1.0, 8), ValueError, "t"),
    (lambda: encode.seconds(torch.tensor([[1]]), 1.0, 8), TypeError, "t"),
    (lambda: encode.seconds(torch.zeros(1, 1), 0.0, 8), ValueError, "dt"),
    # decode
    *[(lambda f=f: f(torch.zeros(2, 3)), TypeError, "spikes") for f in DECODERS],
    *[(lambda f=f: f(MAP), ValueError, "spikes") for f in DECODERS],
    *[(lambda f=f: f(spikes(2, 0)), ValueError, "spikes") for f in DECODERS],
    (lambda: decode.membrane(torch.zeros(2, 3)), ValueError, "v"),
    (lambda: decode.membrane(torch.zeros(0, 2, 3)), ValueError, "v"),
    (lambda: decode.running_membrane(torch.zeros(1, 2, 3, dtype=torch.float64)), TypeError, "v"),
    (lambda: decode.running_membrane(torch.zeros(1, 2, 3), "first"), ValueError, "mode"),
    (lambda: decode.temporal_weighting(OUT, gamma=1.1, mode="log"), ValueError, "mode"),
    (lambda: decode.temporal_weighting(OUT, gamma=0.9), ValueError, "gamma"),
    (lambda: decode.temporal_weighting(OUT, gamma=0.0, mode="linear"), ValueError, "gamma"),
    (lambda: decode.first_spike(OUT, torch.zeros(2, 2)), ValueError, "overshoot"),
    (lambda: decode.first_spike(OUT, torch.full((2, 3), math.nan)), ValueError, "overshoot"),
    (lambda: decode.first_spike(OUT, torch.full((2, 3), math.inf)), ValueError, "overshoot"),
    (lambda: decode.overshoot(OUT, torch.zeros(3, 2, 3)), ValueError, "v"),
    (lambda: decode.overshoot(OUT, torch.zeros(4, 2, 3), threshold=-1.0), ValueError, "threshold"),
    (lambda: decode.population(torch.zeros(1, 3), 2), ValueError, "scores"),
    (lambda: decode.population([1.0], 1), TypeError, "scores"),
    (lambda: decode.ties(OUT, 0), ValueError, "classes"),
    (lambda: decode.ties(OUT, 2), ValueError, "classes"),
    (lambda: decode.settled_step(torch.zeros(2, 3)), ValueError, "scores"),
    (lambda: decode.settled_step(torch.zeros(0, 2, 3)), ValueError, "scores"),
    (lambda: decode.settled_step(torch.zeros(3, 2, 0)), ValueError, "scores"),
    # losses
    (lambda: losses.times(torch.zeros(2, 2)), TypeError, "spikes"),
    (lambda: losses.target_times(OUT, 3), TypeError, "target"),
    (lambda: losses.target_times(OUT, torch.zeros(2, 3, dtype=torch.bool)), TypeError, "target"),
    (lambda: losses.target_times(OUT, torch.zeros(4)), RuntimeError, "size"),
    (lambda: losses.target_times(OUT, torch.full((3,), math.nan)), ValueError, "target"),
    (lambda: losses.margin(MAP, torch.zeros(2, dtype=torch.int64)), ValueError, "spikes"),
    (lambda: losses.margin(spikes(2, 1), torch.zeros(2, dtype=torch.int64)), ValueError, "spikes"),
    (lambda: losses.margin(OUT, torch.tensor([0, 3])), ValueError, "labels"),
    (lambda: losses.margin(OUT, torch.tensor([0.0, 1])), ValueError, "labels"),
    (lambda: losses.margin(OUT, torch.tensor([0, 1]), 0), ValueError, "steps"),
    (lambda: losses.first_spike_cross_entropy(OUT, torch.tensor([0])), ValueError, "labels"),
    (lambda: losses.first_spike_cross_entropy(OUT, torch.tensor([0, 1]), 0.0), ValueError, "tau"),
    (lambda: losses.existence(OUT, torch.zeros(3, 2, 3)), ValueError, "membrane"),
    (lambda: losses.existence(OUT, torch.zeros(4, 2, 3), threshold=0.0), ValueError, "threshold"),
    # init
    *[(lambda f=f: f([[1.0]]), TypeError, "weight") for f in DRAWS],
    *[(lambda f=f: f(torch.zeros(2, 2, dtype=torch.int64)), TypeError, "weight") for f in DRAWS],
    *[(lambda f=f: f(torch.zeros(3)), ValueError, "weight") for f in DRAWS],
    *[(lambda f=f: f(torch.zeros(3, 0)), ValueError, "weight") for f in DRAWS],
    *[(lambda f=f: f(torch.zeros(2, 2), generator=3), TypeError, "generator") for f in DRAWS],
    (lambda: init.ettfs_(torch.zeros(2, 2), 0), ValueError, "steps"),
    (lambda: init.ettfs_(torch.zeros(2, 2), 8, gain=0.0), ValueError, "gain"),
    (lambda: init.pool_gain(0, 8), ValueError, "avg_pool"),
    # surrogate
    (lambda: surrogate.Surrogate("square", 1.0), ValueError, "kind"),
    (lambda: surrogate.triangle("1"), TypeError, "width"),
    *[(lambda s=s: surrogate.triangle(s), ValueError, "width") for s in (1e-20, 1e19, 0.0, math.inf)],
    *[(lambda s=s: surrogate.atan(s), ValueError, "alpha") for s in (1e-20, 1e19, 0.0, math.inf)],
    (lambda: surrogate.triangle().derivative(torch.tensor([1])), TypeError, "u"),
    (lambda: fs.tain, AttributeError, "tain"),
)  # fmt: skip
