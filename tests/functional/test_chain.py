"""Layers in a row: the gradient that a fused layer hands to the one before it, against autograd through the loop.

All weights and biases lie on a grid, so every membrane is exact in float32 and hidden times agree everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, reference
from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..compare import close
from ..samples import PATTERNS, generator, grid, spike_times

SURROGATES = [triangle(), triangle(0.5), rectangle(), atan(), sigmoid()]
Net = Callable[..., Tensor]


def mlp(f: ModuleType, spikes: object, w: list[Tensor], **options: object) -> Tensor:
    """Two hidden layers and an output layer of neurons."""
    spikes = f.linear(spikes, w[0], w[1], **options)
    spikes = f.linear(spikes, w[2], None, **options)
    return f.linear(spikes, w[3], w[4], **options).dense()


def cnn(f: ModuleType, spikes: object, w: list[Tensor], **options: object) -> Tensor:
    """Convolutions with pooling between, then a readout."""
    spikes = f.conv2d(spikes, w[0], w[1], padding=1, **options)
    spikes = f.conv2d(spikes, w[2], None, stride=2, padding=1, avg_pool=2, **options)
    spikes = f.linear(spikes, w[3], w[4], avg_pool=1, **options)
    return f.integrate(spikes, w[5])


def direct(f: ModuleType, current: Tensor, w: list[Tensor], **options: object) -> Tensor:
    """Direct coding of a convolution's current, a pooled layer, a readout."""
    spikes = f.ramp(torch.nn.functional.conv2d(current, w[0]), 8, **options)
    spikes = f.linear(spikes, w[1], w[2], avg_pool=2, **options)
    return f.integrate(spikes, w[3])


def reused(f: ModuleType, spikes: object, w: list[Tensor], **options: object) -> Tensor:
    """One hidden layer feeds two layers, its dense form and a flattened view: four gradients meet."""
    hidden = f.conv2d(spikes, w[0], None, **options)
    flat = hidden.flatten(1)
    a = f.linear(hidden, w[1], None, **options).dense()
    b = f.integrate(flat, w[1], None)
    c = f.conv2d(hidden, w[2], None, **options).dense()
    return torch.cat([a, b, c.flatten(2), hidden.dense().flatten(2), flat.dense()], 2)


NETS: dict[str, tuple[Net, tuple[int, ...], list[tuple[int, ...]]]] = {
    "mlp": (mlp, (4, 23), [(17, 23), (17,), (33, 17), (10, 33), (10,)]),
    "cnn": (cnn, (3, 3, 8, 10), [(7, 3, 3, 3), (7,), (17, 7, 3, 3), (19, 17 * 2 * 3), (19,), (10, 19)]),
    "reused": (reused, (3, 3, 4, 5), [(5, 3, 2, 2), (9, 60), (6, 5, 3, 2)]),
}


def parameters(shapes: list[tuple[int, ...]], seed: int) -> list[Tensor]:
    """Weights and biases (one dimension) on the grid."""
    g = generator(seed)
    fan_in = [max(1, torch.Size(shape[1:]).numel()) for shape in shapes]
    return [grid(s, 0.1 if len(s) == 1 else max(2 / n**0.5, 0.1), g) for s, n in zip(shapes, fan_in, strict=True)]


def check(
    net: Net,
    inputs: Tensor,
    counterpart_inputs: Tensor,
    wrap: Callable,
    counterpart_wrap: Callable,
    shapes: list,
    options: dict,
) -> None:
    """Outputs and all gradients of the fused net against the counterpart's."""
    weights = parameters(shapes, 3)
    counterparts = [w.double().requires_grad_() for w in weights]
    expected = net(reference, counterpart_wrap(counterpart_inputs), counterparts, **options)
    grad = torch.randn(expected.shape, generator=generator(5))
    expected.backward(grad.double())
    mine = [w.clone().requires_grad_() for w in weights]
    got = net(functional, wrap(inputs), mine, **options)
    assert torch.equal(got, expected.float())
    got.backward(grad)
    for i, (a, b) in enumerate(zip(mine, counterparts, strict=True)):
        close(a.grad, b.grad, f"gradient of parameter {i}")
    close(inputs.grad, counterpart_inputs.grad, "gradient of the input")


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize("name", NETS)
def test_nets(name: str, surrogate: object, pattern: str) -> None:
    net, shape, shapes = NETS[name]
    counterpart = (
        reference.SpikeTrain.from_times(spike_times(shape, 8, pattern, generator(1)), 8).dense().requires_grad_()
    )
    train = counterpart.detach().float().requires_grad_()
    options = {"surrogate": surrogate}
    check(net, train, counterpart, SpikeTimes.from_dense, reference.SpikeTrain, shapes, options)


@pytest.mark.parametrize("steps", [1, 2, 64, 254])
@pytest.mark.parametrize("surrogate", [triangle(), sigmoid()], ids=lambda s: s.kind)
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_steps(name: str, surrogate: object, steps: int) -> None:
    net, shape, shapes = NETS[name]
    times = spike_times((1, *shape[1:]), steps, "mixed", generator(1))
    counterpart = reference.SpikeTrain.from_times(times, steps).dense().requires_grad_()
    train = counterpart.detach().float().requires_grad_()
    check(net, train, counterpart, SpikeTimes.from_dense, reference.SpikeTrain, shapes, {"surrogate": surrogate})


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_decay(name: str, surrogate: object) -> None:
    """Decay 0.5 keeps a membrane of 5 steps on the grid of 1/2048: still exact."""
    net, shape, shapes = NETS[name]
    counterpart = (
        reference.SpikeTrain.from_times(spike_times(shape, 5, "mixed", generator(1)), 5).dense().requires_grad_()
    )
    train = counterpart.detach().float().requires_grad_()
    options = {"surrogate": surrogate, "decay": 0.5, "threshold": 0.75}
    check(net, train, counterpart, SpikeTimes.from_dense, reference.SpikeTrain, shapes, options)


@pytest.mark.parametrize(
    ("steps", "at", "decay"), [(64, 63, 1.0), (64, 7, 1.0), (64, 0, 1.0), (5, 4, 0.5), (5, 2, 0.5)]
)
def test_gradient_from_one_step_of_the_readout(steps: int, at: int, decay: float) -> None:
    """It reaches the spikes of all steps before, and none after."""

    def net(f: ModuleType, spikes: object, w: list[Tensor], **options: object) -> Tensor:
        return f.integrate(f.linear(spikes, w[0], w[1], **options), w[2], decay=decay)[at]

    counterpart = reference.SpikeTrain.from_times(spike_times((70, 23), steps, "mixed", generator(1)), steps).dense()
    counterpart.requires_grad_()
    train = counterpart.detach().float().requires_grad_()
    shapes = [(70, 23), (70,), (10, 70)]
    options = {"surrogate": rectangle(), "decay": decay}
    check(net, train, counterpart, SpikeTimes.from_dense, reference.SpikeTrain, shapes, options)


@pytest.mark.parametrize("decay", [1.0, 0.5])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
def test_direct_coding(surrogate: object, decay: float) -> None:
    pixels = torch.round(torch.rand(3, 3, 6, 8, generator=generator(1)) * 16) / 16
    current, counterpart = pixels.clone().requires_grad_(), pixels.double().requires_grad_()
    shapes = [(5, 3, 3, 3), (18, 5 * 2 * 3), (18,), (10, 18)]
    options = {"surrogate": surrogate, "decay": decay}
    check(direct, current, counterpart, lambda x: x, lambda x: x, shapes, options)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize("first", ["linear", "conv2d", "ramp"])
def test_same_gradient_through_the_train(first: str, surrogate: object) -> None:
    """A layer's gradient is the same whether its consumer is fused or sees the dense train, also through views."""
    g = generator(2)
    shape = (6, 3, 4, 4)
    spikes = SpikeTimes(spike_times(shape, 8, "mixed", g), 8)
    weight = {"linear": grid((12, 48), 0.3, g), "conv2d": grid((3, 3, 3, 3), 0.4, g), "ramp": grid((6, 12), 0.3, g)}[
        first
    ]

    def hidden(w: Tensor) -> SpikeTimes:
        if first == "ramp":
            return functional.ramp(w, 8, surrogate=surrogate)
        made = getattr(functional, first)(spikes, w, surrogate=surrogate)
        return made.flatten(1)

    second = grid((7, 12), 0.5, g)
    routes = [
        lambda s: s,
        lambda s: SpikeTimes.from_dense(s.dense()),
        lambda s: s.reshape(-1, 3, 2, 2).flatten(1),
        lambda s: s.reshape(6, 3, 2, 2),
    ]
    grad = torch.randn(8, 6, 7, generator=g)
    gradients = []
    for route in routes:
        w = weight.clone().requires_grad_()
        functional.linear(route(hidden(w)), second, surrogate=surrogate).dense().backward(grad)
        gradients.append(w.grad)
    assert float(gradients[0].abs().max()) > 0
    for other in gradients[1:]:
        close(other, gradients[0].double(), "gradient by another route")
    halves = weight.clone().requires_grad_()
    for part in (slice(0, 2), slice(2, 6)):
        functional.linear(hidden(halves)[part], second, surrogate=surrogate).dense().backward(grad[:, part])
    close(halves.grad, gradients[0].double(), "gradient by slices")
