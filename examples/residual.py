"""Train a residual net on the handwritten digits of scikit-learn: `nn.Residual` by its string, R(...).

A block is one layer with two inputs: its last layer gets the block's own input as well, as current, so that every neuron still
fires at most once. Run: python examples/residual.py [epochs]
"""

import sys

import torch

from firstspike import data, models


def main(epochs: int = 5) -> float:
    """Train for some epochs; prints and returns the accuracy on the test set."""
    (x, labels), (test, test_labels) = (
        (part.images.float() / 255, part.labels)
        for part in (data.load("digits", train=train) for train in (True, False))
    )
    spec = "16C3-R(16C3-16C3)-AP2-R(16C3s2-16C3)-10"
    net = models.build(spec, input_shape=tuple(x.shape[1:]), steps=8, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.004)
    order = torch.Generator().manual_seed(1)
    for epoch in range(epochs):
        net.train()
        for batch in torch.randperm(len(x), generator=order).split(64):
            loss = torch.nn.functional.cross_entropy(net(x[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            right = net(test).argmax(1) == test_labels
        print(f"epoch {epoch + 1}: loss {float(loss.detach()):.3f}, test accuracy {float(right.double().mean()):.1%}")
    return float(right.double().mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
