"""The core under the profile loihi-like against Intel's vectors: spikes, currents and membranes of eight layers of PilotNet.

They come with the wheel lava-dl 0.6.0 (BSD-3-Clause, tests/lava/lib/dl/netx/gts/pilotnet_lif), whose test_hdf5_nx.py compares a
Loihi 2 with them. `lava_extract.npz` has three of the layers, one with four of its 64 channels; its licence is
`lava_license.txt`. `nox -s oracle` fetches the wheel and sets FIRSTSPIKE_LAVA to the folder. As a script this file writes the
extract: python -m tests.oracle.test_lava FOLDER.

Their neurons fire many times in a window of 17 steps, ours once. So membranes are compared up to the first spike, and an input
that fires n times is n inputs with the same weights. Currents are compared in every step: a membrane that keeps nothing is one.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from firstspike.emulator.program import profile
from firstspike.emulator.program.program import Engine

from .layers import core_layer

LOIHI = profile.load("loihi-like")
EXTRACT = Path(__file__).with_name("lava_extract.npz")
FOLDER = os.environ.get("FIRSTSPIKE_LAVA")
LAYERS = {"conv-0": 1, "conv-1": 2, "conv-2": 3, "conv-3": 4, "conv-4": 5, "fc-0": 7, "fc-1": 8, "fc-2": 9}
WINDOW = 17


class Vectors(NamedTuple):
    """A layer as lava-dl stores it: weight [out, in] or [out, in, y, x]; spikes, u and v [neurons or x, y, channel, steps]."""

    weight: np.ndarray
    bias: np.ndarray
    stride: np.ndarray
    padding: np.ndarray
    reset: int  # the first step of a window
    spikes_in: np.ndarray
    spikes: np.ndarray
    u: np.ndarray
    v: np.ndarray


def read(folder, name):
    """The vectors of a layer from lava-dl's files."""
    import h5py

    def load(part):
        return np.load(Path(folder) / f"{part}.npy")

    before = dict(zip(LAYERS, ("input", *LAYERS), strict=False))[name]
    with h5py.File(Path(folder) / "network.net") as file:
        layer = file[f"layer/{LAYERS[name]}"]
        weight, bias = (layer[key][()].astype(np.int32) for key in ("weight", "bias"))
        stride, padding = (layer[key][()] if key in layer else np.zeros(2, int) for key in ("stride", "padding"))
    reset = 1 + [*LAYERS].index(name)
    spikes_in = load(before)
    if weight.ndim == 2 and spikes_in.ndim == 4:
        spikes_in = spikes_in.transpose(2, 1, 0, 3).reshape(-1, spikes_in.shape[-1])
    return Vectors(weight, bias, stride, padding, reset, spikes_in, load(name), load(f"{name}-u"), load(f"{name}-v"))


def once(spikes):
    """Times [..., n] of inputs that fire once each, from their numbers of spikes [..., steps]."""
    order = np.cumsum(spikes, -1)[..., None, :]
    reached = order >= np.arange(1, max(int(order.max()), 1) + 1)[:, None]
    return np.where(reached.any(-1), reached.argmax(-1), 255).astype(np.uint8)


def run(vectors, begin, end, **options):
    """(times, membranes [steps, neurons]) of our core in steps begin to end, which start from potentials of 0."""
    steps = end - begin
    arriving = np.zeros((*vectors.spikes_in.shape[:-1], steps), bool)  # a spike arrives one step after it was sent
    first = max(begin - 1, 0)
    arriving[..., first + 1 - begin :] = vectors.spikes_in[..., first : end - 1] != 0
    times, weight, bias = once(arriving), vectors.weight, vectors.bias
    copies, conv = times.shape[-1], weight.ndim == 4
    times = times.reshape(*times.shape[:-2], -1)
    weight = np.repeat(weight, copies, 1)
    theta, bias = np.full(len(weight), 25), options.pop("bias", bias)
    options |= {"name": "lava", "stop": steps, "decay_bits": LOIHI.decay_bits}
    if conv:
        weight, options["kind"] = np.ascontiguousarray(weight.transpose(1, 3, 2, 0)), "conv"
        options |= {"in_shape": times.shape, "out_shape": vectors.v.shape[:-1]}
        options |= {name: tuple(getattr(vectors, name)[::-1].tolist()) for name in ("stride", "padding")}
    layer = core_layer(LOIHI, weight if conv else np.ascontiguousarray(weight.T), theta, bias, **options)
    raw = Engine([layer], steps).run(times.reshape(1, -1), all_times=True, trace=True)
    return raw.times[0][0].astype(int), raw.membrane[0][0].astype(np.int64)


def compare(vectors):
    """The numbers of times, of membranes and of currents that were compared, all equal."""
    steps = vectors.v.shape[-1]
    spikes, u, v = (np.moveaxis(x, -1, 0).reshape(steps, -1).astype(np.int64) for x in vectors[-3:])
    edges, counts = [0, vectors.reset, vectors.reset + WINDOW, steps], np.zeros(3, int)
    for begin, end in itertools.pairwise(edges):
        end = min(end, steps)
        if begin >= end:
            continue
        times, membrane = run(vectors, begin, end, keep=3072)
        fired = spikes[begin:end] > 0
        expected = np.where(fired.any(0), fired.argmax(0), 255)
        np.testing.assert_array_equal(times, expected)
        before = np.arange(end - begin)[:, None] < expected
        np.testing.assert_array_equal(membrane[before], v[begin:end][before])
        _, current = run(vectors, begin, end, keep=0, fires=False, bias=np.zeros_like(vectors.bias))
        np.testing.assert_array_equal(current, u[begin:end])
        counts += times.size, before.sum(), current.size
    return counts


def extract(folder):
    """Write the extract."""
    content = {}
    for name in ("conv-4", "fc-1", "fc-2"):
        one = read(folder, name)
        if one.weight.ndim == 4:
            one = one._replace(weight=one.weight[:4], bias=one.bias[:4])
            one = one._replace(**{key: getattr(one, key)[:, :, :4] for key in ("spikes", "u", "v")})
        content |= {f"{name}.{key}": np.asarray(value) for key, value in one._asdict().items()}
    np.savez_compressed(EXTRACT, **content)


def test_three_layers_of_the_extract():
    with np.load(EXTRACT) as file:
        for name in ("conv-4", "fc-1", "fc-2"):
            times, membranes, currents = compare(Vectors(*(file[f"{name}.{key}"] for key in Vectors._fields)))
            assert min(times, membranes, currents) >= 20


@pytest.mark.skipif(FOLDER is None, reason="FIRSTSPIKE_LAVA is not set (nox -s oracle)")
def test_all_layers_of_lava_dl():
    counts = sum(compare(read(FOLDER, name)) for name in LAYERS)
    print("{} times, {} membranes, {} currents: no mismatch".format(*counts))


if __name__ == "__main__":
    extract(sys.argv[1])
