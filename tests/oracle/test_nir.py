"""The core under the profile loihi-like against a published recording of one leaky neuron on a Loihi 2.

`nir_lif_loihi.csv` is paper/01_lif/lif_lava_loihi_fixed.csv of github.com/neuromorphs/NIR at commit 7232ada (BSD-3-Clause,
`nir_license.txt`), unchanged. Its rows are steps; its columns are spikes sent to the neuron, its membrane and its spikes.

The recording does not tell the chip's integers. Its first 460 steps say that a step keeps 3933 / 4096 of the membrane and that a
spike adds 640, which is the weight 10. Of the chip's thresholds, multiples of 64, only 1600 agrees with its spikes.
Its neuron fires again, ours does not: so each part of the recording that begins and ends at rest is a run of its own.
"""

import itertools
from pathlib import Path

import numpy as np

from firstspike.emulator.program import profile
from firstspike.emulator.program.program import Engine

from .layers import core_layer

LOIHI = profile.load("loihi-like")


def test_recording_of_a_leaky_neuron():
    sent, recorded, fired = np.loadtxt(Path(__file__).with_name("nir_lif_loihi.csv"), delimiter=",").astype(int).T
    rests, compared = np.flatnonzero((recorded == 0) & (sent == 0)), 0
    for before, end in itertools.pairwise(rests.tolist()):
        arrivals, steps = np.flatnonzero(sent[before:end]), end - before - 1  # a spike arrives one step after it was sent
        if not len(arrivals):
            continue
        weight, theta, bias = np.full((len(arrivals), 1), 10), np.array([25]), np.zeros(1)
        layer = core_layer(LOIHI, weight, theta, bias, name="nir", stop=steps, keep=3933, decay_bits=LOIHI.decay_bits)
        raw = Engine([layer], steps).run(arrivals[None].astype(np.uint8), all_times=True, trace=True)
        spikes = np.flatnonzero(fired[before + 1 : end]).tolist()
        assert raw.times[0][0].tolist() == (spikes or [255])
        until = spikes[0] if spikes else steps
        np.testing.assert_array_equal(raw.membrane[0][0].ravel()[:until], recorded[before + 1 :][:until])
        compared += until
    assert compared == 766
