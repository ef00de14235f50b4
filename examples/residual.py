"""Train a residual net on the handwritten digits of scikit-learn: `nn.Residual` by its string, R(...).

A block is one layer with two inputs: its last layer gets the block's own input as well, as current, so that every neuron still
fires at most once.
"""

import torch

from firstspike import data, models, train

digits, test = data.load("digits", train=True), data.load("digits", train=False)
spec = "16C3-R(16C3-16C3)-AP2-R(16C3s2-16C3)-10"
net = models.build(spec, input_shape=digits.input_shape, steps=8, generator=torch.Generator().manual_seed(0))
optimizer = torch.optim.AdamW(net.parameters(), lr=0.004)
order = torch.Generator().manual_seed(1)
for epoch in range(5):
    for index in torch.randperm(len(digits), generator=order).split(64):
        loss = torch.nn.functional.cross_entropy(net(digits.images[index]), digits.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss {float(loss.detach()):.3f}")
print(f"test accuracy {train.evaluate(net, test).accuracy:.1%}")
