"""Spoken digits, from recordings to C: python examples/speech.py [DIR], with the Free Spoken Digit Dataset in DIR.

Without DIR the recordings are fetched. Each becomes a picture of its spectrum, one byte per band and frame (`data.spectrogram`).
A net of windows, in which every neuron fires at most once, is trained on them, quantised for a chip, and written as C.
"""

import sys
import tempfile

from firstspike import data, emulator, train

root = sys.argv[1] if len(sys.argv) > 1 else None
train_set, test = (data.load("spoken-digits", root=root, train=part) for part in (True, False))
config = train.Config(
    spec="16C3-MP2-32C3-MP2-64C3-MP2-64-10",
    timing="windowed",
    steps=16,
    optimizer="muon",
    lr=0.05,
    warmup=1.0,
    batch=64,
    epochs=20,
    label_smoothing=0.1,
    augmentation={"shift": 3},  # in time and in pitch
)
result = train.fit(config, datasets=(train_set, test))
print(f"test accuracy {result.test.accuracy:.1%} in float32")

program = emulator.quantize(result.model, "generic8", calibration=train_set.images[:500])
done = emulator.run(program, test.images, labels=test.labels)
print(f"test accuracy {(done.predictions == test.labels.numpy()).mean():.1%} on the chip generic8, in integers")
print(emulator.report(done, placement=emulator.place(program)).text())
folder = tempfile.mkdtemp()
emulator.export_c(program, folder, samples=test.images[:20])
print(f"C in {folder}; `make test` there compiles it and compares 20 recordings")
