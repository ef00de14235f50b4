# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Your images to a chip
#
# From a folder of images to C code for a microcontroller, by way of an emulated chip. Replace `folder` with yours: one folder
# per class in `train` and `test`. Here two classes of striped images are drawn first.

# %%
from pathlib import Path

import torch
from PIL import Image

folder = Path("pictures")
draw = torch.Generator().manual_seed(0)
for part, count in (("train", 100), ("test", 20)):
    for name in ("across", "along"):
        (folder / part / name).mkdir(parents=True)
        for index in range(count):
            pixels = torch.randint(0, 120, (16, 16), generator=draw, dtype=torch.uint8)
            (pixels if name == "across" else pixels.T)[index % 4 :: 4] += 120
            Image.fromarray(pixels.numpy()).save(folder / part / name / f"{index}.png")

# %% [markdown]
# ## Check before you train
#
# Chips refuse some nets: ODIN has no biases, and few inputs per neuron. `emulator.check` says so before any training.

# %%
from firstspike import data, emulator, models, train

images = data.load_images(folder, train=True)
settings = {"spec": f"16C3-AP2-32-{images.classes}", "steps": 8}
print(emulator.check(models.build(**settings, input_shape=images.input_shape), "loihi-like").text())

# %% [markdown]
# ## Train
#
# `train.fit` measures every epoch on the test images, writes a checkpoint, and resumes if interrupted. The same from the command
# line: `firstspike train CONFIG.toml --images pictures`.

# %%
config = train.Config(**settings, epochs=5, batch=20, lr=5e-3)
result = train.fit(config, images=folder, directory="run", progress=False)
print(f"test accuracy {result.test.accuracy:.1%}")
assert result.test.accuracy > 0.9

# %% [markdown]
# ## Predict
#
# The answer is the number of a class; the record of the data has the names.

# %%
net = train.load_model("run")  # the same as result.model
(first,) = train.predict(net, images.images[:1])
print(f"the first image is of class {images.recipe['classes'][int(first)]!r}")

# %% [markdown]
# ## Run it on an emulated chip
#
# `quantize` makes integers of weights and thresholds, `place` puts them on cores, `run` computes every spike as the chip would.
# The report has accuracy, spikes, operations, latency and energy.

# %%
test = data.load_images(folder, train=False)
program = emulator.quantize(net, "loihi-like", bits=8)
done = emulator.run(program, test.images, labels=test.labels)
report = emulator.report(done, placement=emulator.place(program))
print(report.text())
assert done.accuracy > 0.9

# %% [markdown]
# ## Export C
#
# The folder `chip` gets C99 without floats, heap or library. `make -C chip test` compiles it and compares it with the emulator.

# %%
exported = emulator.export_c(program, "chip", samples=test.images[:10])
print(f"tables {exported.table_bytes:,} bytes, RAM {exported.state_bytes:,} bytes")
print(sorted(path.name for path in exported.files))

# %% [markdown]
# Next: [convert a ReLU net](convert_relu.py), [quantise and deploy](../howto/deploy.md), or
# [a profile of your chip](../howto/deploy.md#write-a-chip-profile).
