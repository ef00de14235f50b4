"""torch.compile of a whole net, forward and backward, beside eager: the same scores and gradients."""

import torch
from torch.nn import functional as F

from firstspike import data, models

digits = data.load("digits", train=True)
net = models.mlp("64-100-10", input_shape=digits.input_shape, steps=8, generator=torch.Generator().manual_seed(0))
compiled = torch.compile(net, fullgraph=True)
x, y = digits.images[:64], digits.labels[:64]


def gradients(forward):
    net.zero_grad()
    scores = forward(x)
    F.cross_entropy(scores, y).backward()
    return [scores.detach(), *(p.grad.clone() for p in net.parameters())]


for eager, other in zip(gradients(net), gradients(compiled), strict=True):
    torch.testing.assert_close(other, eager)
print("compiled and eager agree")
