"""Small nets of functional layers, as modules, for the tests of how the ops live with the rest of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from firstspike import SpikeTimes, functional
from firstspike.surrogate import Surrogate, triangle

from ..samples import generator, grid


class Mlp(nn.Module):
    """Spike times [B, 24] uint8, two layers of neurons and a readout: scores [B, 5]."""

    def __init__(self, surrogate: Surrogate | None = None, steps: int = 8) -> None:
        super().__init__()
        g = generator(1)
        self.surrogate, self.steps = surrogate or triangle(), steps
        self.w1, self.b1 = nn.Parameter(grid((18, 24), 0.4, g)), nn.Parameter(grid((18,), 0.1, g))
        self.w2, self.w3 = nn.Parameter(grid((17, 18), 0.4, g)), nn.Parameter(grid((5, 17), 0.4, g))

    def forward(self, times: Tensor) -> Tensor:
        """Scores."""
        spikes = functional.linear(SpikeTimes(times, self.steps), self.w1, self.b1, surrogate=self.surrogate)
        spikes = functional.linear(spikes, self.w2, surrogate=self.surrogate)
        return functional.integrate(spikes, self.w3)[-1]


class Cnn(nn.Module):
    """Images [B, 2, 6, 8], direct coding, a pooled convolution, a layer of neurons: weighted output spikes [B, 5]."""

    def __init__(self, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        g = generator(2)
        self.surrogate = surrogate or triangle()
        self.w1, self.w2 = nn.Parameter(grid((4, 2, 3, 3), 0.3, g)), nn.Parameter(grid((6, 4, 3, 3), 0.6, g))
        self.w3, self.b3 = nn.Parameter(grid((5, 6 * 3 * 4), 0.3, g)), nn.Parameter(grid((5,), 0.1, g))

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        options = {"surrogate": self.surrogate}
        spikes = functional.ramp(nn.functional.conv2d(x, self.w1, padding=1), 8, **options)
        spikes = functional.conv2d(spikes, self.w2, padding=1, avg_pool=2, **options)
        out = functional.linear(spikes, self.w3, self.b3, decay=0.75, **options).dense()
        return (out * torch.linspace(1, 0.5, 8).reshape(-1, 1, 1)).sum(0)


class Neurons(nn.Module):
    """Dense train in, dense train out: `from_dense`, `fire` and `dense` in one graph; current [8, B, 7]."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(7))

    def forward(self, current: Tensor) -> Tensor:
        """Dense spikes, twice over."""
        train = functional.fire(current * self.scale)
        return SpikeTimes.from_dense(train).flatten(1).dense() + functional.fire(train * self.scale * 2, decay=0.5)


def inputs(net: nn.Module, batch: int, seed: int = 0) -> Tensor:
    """What each net takes."""
    g = generator(seed)
    if isinstance(net, Mlp):
        return torch.randint(0, net.steps, (batch, 24), generator=g).to(torch.uint8)
    if isinstance(net, Cnn):
        return torch.round(torch.rand(batch, 2, 6, 8, generator=g) * 16) / 16
    return grid((8, batch, 7), 0.5, g)


def learn(net: nn.Module, call: nn.Module, x: Tensor) -> list[Tensor]:
    """Output and the gradients of all parameters."""
    net.zero_grad()
    out = call(x)
    out.backward(torch.linspace(-1, 1, out.numel()).reshape(out.shape))
    return [out.detach(), *[p.grad.clone() for p in net.parameters()]]
