"""Train a time-to-first-spike network on MNIST."""

import torch

from firstspike import data, models

train, test = data.load("mnist", train=True), data.load("mnist", train=False)
net = models.mlp("784-400-400-10", input_shape=train.input_shape, steps=8, readout="membrane-mean")
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for _ in range(2):
    for index in torch.randperm(len(train)).split(128):
        loss = torch.nn.functional.cross_entropy(net(train.images[index]), train.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    print(f"test accuracy {100 * (net(test.images).argmax(1) == test.labels).float().mean():.2f} %")
