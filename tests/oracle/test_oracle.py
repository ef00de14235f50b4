"""The core under the profile loihi-like against nengo-loihi 1.1's emulator: V and spikes of every step. Run by `nox
-s oracle`.

`nengo_networks.py` writes the file that FIRSTSPIKE_ORACLE names; without it there is nothing to compare with.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from firstspike.emulator.program import profile
from firstspike.emulator.program.program import Engine

from ..emulator.nets import chained
from .layers import core_layer

LOIHI = profile.load("loihi-like")
FILE = os.environ.get("FIRSTSPIKE_ORACLE")
pytestmark = pytest.mark.skipif(FILE is None, reason="FIRSTSPIKE_ORACLE is not set (nox -s oracle)")


def loihi_layers(weights, thetas, biases, steps):
    """The layers of a chain, all updated from step 0 on, as nengo-loihi does."""
    names = map(str, range(len(weights)))
    parts = zip(weights, thetas, biases, names, strict=True)
    return chained([core_layer(LOIHI, *part, name=name, stop=steps, delay=LOIHI.axon_delay) for *part, name in parts])


def test_every_step_of_every_network():
    given = np.load(FILE)
    count, spiked, all_neurons = int(given["count"]), 0, 0
    assert count >= 300
    for n in range(count):
        input_steps, steps = given[f"{n}.steps"].tolist()
        network = [[given[f"{n}.{name}{layer}"] for layer in range(2)] for name in ("weight", "theta", "bias")]
        core = Engine(loihi_layers(*network, steps), input_steps)
        raw = core.run(given[f"{n}.times"][None], all_times=True, trace=True)
        membrane = np.concatenate([m[0] for m in raw.membrane], 1)
        times = np.concatenate([t[0] for t in raw.times])
        np.testing.assert_array_equal(membrane, given[f"{n}.v"], err_msg=f"network {n}")
        np.testing.assert_array_equal(times == np.arange(steps)[:, None], given[f"{n}.spikes"], err_msg=f"network {n}")
        spiked += int((times != 255).sum())
        all_neurons += times.size
    assert 0.1 < spiked / all_neurons < 0.95  # the comparison covers neurons that fire and neurons that do not
    print(f"{count} networks, {all_neurons} neurons, {spiked} spikes: no mismatch")
