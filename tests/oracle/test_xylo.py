"""The core under the profile xylo-like against xylosim 0.1.3: currents, membranes and first spikes of random nets.

Run by `nox -s oracle`, which installs xylosim; it states no licence. Xylo's neurons fire many times, ours once. So membranes are
compared up to the first spike, currents in every step, and a source that fires n times is n sources with the same weights.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from firstspike.emulator.program import profile
from firstspike.emulator.program.program import Engine

from .layers import core_layer
from .test_lava import once

XYLO = profile.load("xylo-like")
v2 = pytest.importorskip("xylosim.v2")


def simulate(weights, theta, bias, shifts, spikes):
    """Per layer (spikes that were sent, currents, membranes, spikes), [steps, neurons], of xylosim. shifts as in `run`."""
    hidden, out = (w.shape[1] for w in weights)
    synapses = [[[v2.XyloSynapse(j, 0, int(x)) for j, x in enumerate(row)] for row in w] for w in weights]
    leaks = [[np.full(n, s, np.uint8) for s in pair] for n, pair in zip((hidden, out), shifts, strict=True)]
    layer = v2.XyloLayer(
        synapses_in=synapses[0],
        synapses_rec=[[] for _ in range(hidden)],
        synapses_out=synapses[1],
        aliases=[[] for _ in range(hidden)],
        threshold=theta[0],
        threshold_out=theta[1],
        has_bias=True,
        bias=bias[0],
        bias_out=bias[1],
        weight_shift_inp=0,
        weight_shift_rec=0,
        weight_shift_out=0,
        dash_mem=leaks[0][1],
        dash_mem_out=leaks[1][1],
        dash_syns=leaks[0][0][:, None],
        dash_syns_out=leaks[1][0][:, None],
        name="random",
    )
    fired_out = np.array(layer.evolve(spikes))
    fired = np.array(layer.rec_recurrent_spikes)
    states = [
        [np.array(x).T for x in pair] for pair in ((layer.rec_i_syn, layer.rec_v_mem), (layer.rec_i_syn_out, layer.rec_v_mem_out))
    ]
    return [(spikes, *states[0], fired), (np.vstack([np.zeros_like(fired[:1]), fired[:-1]]), *states[1], fired_out)]


def run(weight, theta, bias, shifts, sent, **options):
    """(first spikes, membranes [steps, neurons], counters) of our core. shifts: (current, membrane)."""
    times = once(sent.T)
    leaks = {"leak": XYLO.leak, "current": shifts[0], "keep": shifts[1]}
    weight = np.repeat(weight, times.shape[1], 0)
    layer = core_layer(XYLO, weight, theta, bias, name="xylo", stop=len(sent), **leaks, **options)
    raw = Engine([layer], len(sent)).run(times.reshape(1, -1), all_times=True, trace=True)
    return raw.times[0][0].astype(int), raw.membrane[0][0], raw.counters[0, 0]


def test_every_step_of_every_net():
    rng, counts, layers = np.random.default_rng(0), np.zeros(3, int), [0, 0]
    for _ in range(400):
        sizes, steps = rng.integers((5, 40, 4), (40, 120, 9)), int(rng.integers(20, 60))
        weights = [rng.integers(-128, 128, pair) // int(rng.choice([1, 8, 32])) for pair in itertools.pairwise(sizes)]
        theta = [rng.integers(50, int(rng.choice([500, 15000])), n) for n in sizes[1:]]
        bias = [rng.integers(-30, 31, n) * int(rng.integers(0, 2)) for n in sizes[1:]]
        shifts = rng.integers(1, 10, (2, 2)).tolist()
        spikes = (rng.random((steps, sizes[0])) < rng.choice([0.02, 0.3])).astype(np.uint8)
        for n, (sent, current, membrane, fired) in enumerate(simulate(weights, theta, bias, shifts, spikes)):
            _, ours, counters = run(weights[n], theta[n], bias[n] * 0, (shifts[n][0], 0), sent, fires=False)
            if counters[-2]:
                continue  # a current overflows: xylosim saturates it after every event
            np.testing.assert_array_equal(ours, current)
            times, ours, _ = run(weights[n], theta[n], bias[n], shifts[n], sent)
            expected = np.where(fired.any(0), (fired > 0).argmax(0), 255)
            np.testing.assert_array_equal(times, expected)
            before = np.arange(steps)[:, None] < expected
            np.testing.assert_array_equal(ours[before], membrane[before])
            counts += times.size, before.sum(), current.size
            layers[n] += 1
    assert counts[1:].sum() >= 1_000_000 and min(layers) >= 100
    print("{} first spikes, {} membranes, {} currents: no mismatch".format(*counts))
