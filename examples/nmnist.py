"""A small N-MNIST, from recordings to a chip: python examples/nmnist.py DIR.

DIR holds 1,000 + 100 recordings of an event camera before moving digits (G. Orchard et al., 2015), one file `NUMBER.bs2` each,
with `train1K.txt` and `test100.txt`. They are in the folder `test/test_files/NMNISTsmall` of github.com/bamsumit/slayerPytorch.

The first event of each pixel and polarity is its spike. So few recordings tell little about the accuracy on the whole data set.
"""

import sys
from pathlib import Path

import numpy as np

from firstspike import SpikeTimes, data, emulator, train

FOLDER = Path(sys.argv[1])
EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


def recording(number: int) -> np.ndarray:
    """The events of a file: five bytes each, x, y, and 24 bits with the polarity and the time in microseconds."""
    x, y, high, middle, low = np.fromfile(FOLDER / f"{number}.bs2", np.uint8).reshape(-1, 5).T.astype(np.int64)
    events = np.zeros(len(x), EVENT)
    events["x"], events["y"], events["p"] = x, y, high >> 7
    events["t"] = (high & 127) << 16 | middle << 8 | low
    return events


def part(name: str) -> data.Dataset:
    numbers, labels = np.loadtxt(FOLDER / f"{name}.txt", dtype=np.int64).T
    recordings = [recording(number) for number in numbers]
    return data.from_events(recordings, labels, sensor_size=(34, 34, 2), steps=8, window=(0, 100_000), name="N-MNIST, small")


train_set, test = part("train1K"), part("test100")
config = train.Config(spec="16C5-AP2-32C3-AP2-32C3-AP2-10", encoder="spikes", steps=8, epochs=20, batch=50, lr=5e-3, dropout=0.2)
result = train.fit(config, datasets=(train_set, test))
print(f"test accuracy {result.test.accuracy:.0%} of {len(test)} recordings")

program = emulator.quantize(result.model, "loihi-like")
done = emulator.run(program, SpikeTimes(test.images, steps=8), labels=test.labels)
print(emulator.report(done, placement=emulator.place(program)).text())
