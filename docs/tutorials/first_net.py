# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A first net
#
# Train a small net on the 8 x 8 digits that come with scikit-learn (`pip install ".[all]"` in the clone). It takes seconds.

# %%
import torch

from firstspike import data, inspect, models, plot

torch.manual_seed(0)
train, test = data.load("digits", train=True), data.load("digits", train=False)
net = models.mlp("64-128-128-10", input_shape=train.input_shape, steps=8, readout="membrane-mean")
optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
for epoch in range(5):
    for index in torch.randperm(len(train)).split(64):
        loss = torch.nn.functional.cross_entropy(net(train.images[index]), train.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.2f}")

# %% [markdown]
# The string `64-128-128-10` names 64 inputs, two hidden layers of 128 neurons, and 10 classes. All layers share `steps=8` time
# steps. A net takes images [B, C, H, W], as uint8 pixels (which it divides by 255) or as floats, and returns scores
# [B, classes]. Everything around it is ordinary torch.

# %%
net.eval()
with torch.no_grad():
    scores = net(test.images)
accuracy = (scores.argmax(1) == test.labels).float().mean()
print(f"test accuracy {100 * accuracy:.1f} %")
assert accuracy > 0.8

# %% [markdown]
# ## What the net does
#
# `net.observe` returns the spikes of every layer, and the scores of a net that stops after each step.

# %%
seen = net.observe(test.images[:100])
for step, stopped in enumerate(seen.running, 1):
    print(f"stopped after step {step}: {(stopped.argmax(1) == test.labels[:100]).float().mean():.0%} right")
for layer in seen.layers:
    print(layer.times.shape, f"{(layer.times < 8).float().mean():.0%} of the neurons fire")

# %% [markdown]
# `inspect.Monitor` watches any net; `firstspike.plot` draws what it saw. Each dot is a neuron's only spike:

# %%
with inspect.Monitor(net) as monitor, torch.no_grad():
    net(test.images[:1])
plot.raster(monitor)

# %% [markdown]
# The scores of the ten classes over time, for the same digit:

# %%
plot.membrane(monitor)

# %% [markdown]
# ## Keep the net
#
# A file holds the weights and the description of the net.

# %%
import firstspike

firstspike.save(net, "digits.safetensors")
again = firstspike.load("digits.safetensors")
assert torch.equal(again(test.images), scores)

# %% [markdown]
# Next: [your images to a chip](images_to_chip.py), [custom nets](../start/own-net.md), or the same from the
# [command line](../start/command-line.md).
