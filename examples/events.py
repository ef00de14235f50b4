"""Train on recordings of an event camera: structured arrays of x, y, t, p, as tonic gives them.

Here they are made up: a bar that moves up or down over a 12 x 12 sensor. With tonic, `recordings` and `labels` come from
a data set such as tonic.datasets.NMNIST.
"""

import numpy as np

from firstspike import data, train

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


def recording(up: bool, draw: np.random.Generator) -> np.ndarray:
    """A bar of six pixels that crosses the sensor in 12 ms, with noise."""
    left = draw.integers(0, 6)
    rows = np.repeat(np.arange(12), 6)
    bar = np.zeros(72, EVENT)
    bar["x"], bar["y"], bar["p"] = left + np.tile(np.arange(6), 12), rows, 1
    bar["t"] = 1000 * (11 - rows if up else rows) + draw.integers(0, 500, 72)
    noise = np.zeros(20, EVENT)
    for name, high in (("x", 12), ("y", 12), ("t", 12_000), ("p", 2)):
        noise[name] = draw.integers(0, high, 20)
    return np.sort(np.concatenate([bar, noise]), order="t")


def make(count: int, seed: int) -> data.Dataset:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    recordings = [recording(bool(label), draw) for label in labels]
    return data.from_events(recordings, labels, sensor_size=(12, 12, 2), steps=8, window=12_000, name="moving bars")


config = train.Config(spec="288-32-2", encoder="spikes", steps=8, epochs=8, batch=20, lr=5e-3)
result = train.fit(config, datasets=(make(300, 0), make(100, 1)), progress=False)
print(f"test accuracy {result.test.accuracy:.1%}")
