# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Convert a ReLU net
#
# `firstspike.convert` turns a trained net of torch into spiking [layers of windows](../windowed.md), without training again. Here
# a small convolutional net learns the digits of scikit-learn first; take your own in its place.

# %%
import torch
from torch import nn

import firstspike
from firstspike import data, emulator, train

torch.manual_seed(0)
digits, test = data.load("digits", train=True), data.load("digits", train=False)
relu = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, 10),
)
optimizer = torch.optim.Adam(relu.parameters(), lr=4e-3)
for _ in range(10):
    for index in torch.randperm(len(digits)).split(64):
        loss = nn.functional.cross_entropy(relu(digits.images[index] / 255), digits.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
relu.eval()
with torch.no_grad():
    right = relu(test.images / 255).argmax(1) == test.labels
print(f"ReLU: {right.float().mean():.1%}")

# %% [markdown]
# ## Convert
#
# Some hundred training images calibrate each channel's range. A spike time in a window of T steps is a value of T + 1 levels, so
# more steps round less. The latency is T for each layer that fires.

# %%
for steps in (2, 4, 16, 64):
    net = firstspike.convert(relu, digits.images[:300] / 255, steps=steps)
    print(f"T = {steps:2}: {train.evaluate(net, test).accuracy:.1%}")

# %% [markdown]
# The report says for each layer which share of values was clipped, and how large the errors are.

# %%
net = firstspike.convert(relu, digits.images[:300] / 255, steps=16)
net.report

# %% [markdown]
# The result is made of layers of `firstspike.nn`, so it can be trained further.
#
# ## On a chip, and in integers
#
# The emulator runs the net step by step. `IntegerNet` computes the same scores in closed form, with weights of 8 bits.

# %%
program = emulator.quantize(net, "loihi-like", bits=8)
done = emulator.run(program, test.images, labels=test.labels)
fast = emulator.IntegerNet(program)
assert (fast(test.images).numpy() == done.scores).all()
print(f"8 bits: {done.accuracy:.1%}")
assert abs(done.accuracy - right.float().mean()) < 0.05

# %% [markdown]
# Next: [what can be converted](../windowed.md#convert-a-trained-relu-net), [accuracy by number of steps](../accuracy.md), or
# [fast inference](../howto/inference.md).
