"""Formulas of docs/model.md in float64, against the reference and the package; other tests derive decoders and coding by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, init, nn, reference
from firstspike.reference import SpikeTrain
from firstspike.surrogate import Surrogate, atan, rectangle, sigmoid, triangle

from ..samples import SILENT, generator, spike_times

F64 = torch.float64
STEPS, DECAY, THRESHOLD = 9, 0.9, 1.2
SPARSE = [triangle(), rectangle()]
SURROGATES = [*SPARSE, triangle(2.0), atan(), sigmoid()]


def membranes(current: Tensor) -> Tensor:
    """V of section Neuron, [T, ...]."""
    v, steps = torch.zeros_like(current[0]), []
    for x in current:
        v = DECAY * v + x
        steps.append(v)
    return torch.stack(steps)


def first(v: Tensor) -> Tensor:
    """The time of each neuron, T where silent."""
    fires = v >= THRESHOLD
    clock = torch.arange(len(v)).view(-1, *[1] * (v.dim() - 1))
    return torch.where(fires, clock, len(v)).amin(0)


def test_neuron() -> None:
    g = generator(0)
    current = torch.randn(STEPS, 4, 50, generator=g, dtype=F64) * 0.5
    spikes = reference.fire(current, threshold=THRESHOLD, decay=DECAY)
    times = first(membranes(current))
    assert 0 < (times == STEPS).sum() < times.numel()
    assert torch.equal(SpikeTrain(spikes).times.long(), times.masked_fill(times == STEPS, SILENT))


def test_a_decay_above_1_is_a_falling_threshold() -> None:
    """Neurons that grow by 2 and those without a leak, whose spikes and threshold weigh 2^-t: exact in powers of two."""
    current = torch.randint(-8, 9, (6, 3, 50), generator=generator(2)) / 16
    scale = 2.0 ** -torch.arange(6.0)[:, None, None]
    fires = (current * scale).cumsum(0) >= scale
    first_step = torch.where(fires.any(0), fires.to(torch.int64).argmax(0), SILENT)
    for module in (reference, functional):
        got = SpikeTimes.from_dense(module.fire(current, decay=2.0)).times
        assert torch.equal(got.long(), first_step) and 0.05 < got.eq(SILENT).float().mean() < 0.95


def slope(u: float, surrogate: Surrogate) -> float:
    """The table of section Surrogate and support."""
    s = surrogate.scale
    p = 1 / (1 + math.exp(-s * u))
    return {
        "triangle": max(0, 1 - abs(u) / s) / s,
        "rectangle": 1 / s if abs(u) < s / 2 else 0.0,
        "atan": s / 2 / (1 + (math.pi * s * u / 2) ** 2),
        "sigmoid": s * p * (1 - p),
    }[surrogate.kind]


@pytest.mark.parametrize("surrogate", [*SURROGATES, rectangle(4.0), atan(4.0), sigmoid(1.0)], ids=str)
def test_surrogate(surrogate: Surrogate) -> None:
    at = torch.linspace(-2.9, 2.9, 59, dtype=F64)
    assert surrogate.derivative(at).tolist() == pytest.approx([slope(float(x), surrogate) for x in at], abs=1e-14)


def layer(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(times [B, N], weight, bias, gradient at the output's train)."""
    times = spike_times((3, 8), STEPS, "mixed", g)
    weight = torch.randn(6, 8, generator=g, dtype=F64) * 0.6
    return times, weight, torch.randn(6, generator=g, dtype=F64) / 20, torch.randn(STEPS, 3, 6, generator=g, dtype=F64)


def direct_of(
    times: Tensor, weight: Tensor, bias: Tensor, grad: Tensor, surrogate: Surrogate, synaptic_decay: float = 0.0
) -> Tensor:
    """`direct` [T, B, O] of section Backward pass."""
    current = SpikeTrain.from_times(times, STEPS).dense() @ weight.T + bias
    for t in range(1, STEPS):
        current[t] += synaptic_decay * current[t - 1]
    v = membranes(current)
    counts = torch.arange(STEPS).view(-1, 1, 1) <= first(v)
    return grad * surrogate.derivative(v - THRESHOLD) * counts


@pytest.mark.parametrize("surrogate", SPARSE, ids=str)
def test_the_support_is_where_the_surrogate_counts(surrogate: Surrogate) -> None:
    times, weight, bias, _ = layer(generator(1))
    expected = direct_of(times, weight, bias, torch.ones(STEPS, 3, 6, dtype=F64), surrogate)
    spikes = functional.linear(
        SpikeTimes(times, STEPS),
        weight.float().requires_grad_(),
        bias.float(),
        threshold=THRESHOLD,
        decay=DECAY,
        surrogate=surrogate,
    )
    assert spikes._support is not None
    assert sorted(spikes._support.slope.tolist()) == pytest.approx(sorted(expected[expected > 0].tolist()), rel=1e-4)


@pytest.mark.parametrize("synaptic_decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_backward_pass(surrogate: Surrogate, synaptic_decay: float) -> None:
    times, weight, bias, grad = layer(generator(2))
    direct = direct_of(times, weight, bias, grad, surrogate, synaptic_decay)
    (d, e), (inner, at_train) = torch.zeros(2, STEPS + 1, 3, 6, dtype=F64), torch.zeros(2, STEPS + 1, 3, 8, dtype=F64)
    h = direct @ weight
    for t in reversed(range(STEPS)):
        d[t] = direct[t] + DECAY * d[t + 1]
        e[t] = d[t] + synaptic_decay * e[t + 1]
        inner[t] = h[t] + DECAY * inner[t + 1]
        at_train[t] = inner[t] + synaptic_decay * at_train[t + 1]
    at_weight = torch.zeros_like(weight)
    for b, j in (times != SILENT).nonzero().tolist():
        at_weight[:, j] += e[int(times[b, j]), b]

    train = SpikeTrain.from_times(times, STEPS).dense().requires_grad_()
    weight.requires_grad_(), bias.requires_grad_()
    neuron = {"threshold": THRESHOLD, "decay": DECAY, "synaptic_decay": synaptic_decay}
    options: dict[str, Any] = {**neuron, "surrogate": surrogate}
    reference.linear(SpikeTrain(train), weight, bias, **options).dense().backward(grad)
    for got, want in ((weight.grad, at_weight), (bias.grad, e.sum((0, 1))), (train.grad, at_train[:STEPS])):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)

    dense = train.detach().float().requires_grad_()
    w, b = weight.detach().float().requires_grad_(), bias.detach().float().requires_grad_()
    functional.linear(SpikeTimes.from_dense(dense), w, b, **options).dense().backward(grad.float())
    for got, want in ((w.grad, at_weight), (b.grad, e.sum((0, 1))), (dense.grad, at_train[:STEPS])):
        torch.testing.assert_close(got, want.float(), rtol=1e-4, atol=1e-4)


def test_gradient_anchor() -> None:
    weight = torch.randn(6, 8, generator=generator(3)).requires_grad_()
    source = SpikeTimes(spike_times((3, 8), STEPS, "mixed", generator(4)), STEPS)
    spikes = functional.linear(source, weight)
    assert spikes._anchor is not None and spikes._support is not None and spikes._dense_anchor() is not None
    assert spikes._anchor.untyped_storage().nbytes() == 4 and not spikes._anchor.any()
    assert spikes._anchor.shape == spikes._support.slope.shape
    turned = spikes.reshape(3, 2, 3)
    assert turned._anchor is not None and turned._anchor.shape == (STEPS, 3, 2, 3)


def uniform(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Dense train in which every neuron fires once, at a uniform time."""
    return SpikeTimes(torch.randint(STEPS, shape, generator=g).to(torch.uint8), STEPS).dense()


@pytest.mark.parametrize("pool", [2, 3])
def test_gain_behind_pooling(pool: int) -> None:
    g = generator(7)
    gain = init.pool_gain(pool, STEPS)
    assert gain == 1 / math.sqrt((1 - 1 / STEPS) / pool**2 + 1 / STEPS)
    weight = init.ettfs_(torch.empty(400, 300), STEPS, gain=gain, generator=g)
    current = uniform((200, 300, pool * pool), g).mean(-1) @ weight.T
    assert float(current.square().mean()) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(("decay", "synaptic_decay"), [(1.0, 1.0), (0.75, 0.5), (1.25, 1.0), (1.0, 0.0)])
def test_gain_with_a_synaptic_current(decay: float, synaptic_decay: float) -> None:
    """Spikes: the last potential has the variance 1. A constant current: it is as large as without a synaptic current."""
    neuron, g = {"decay": decay, "synaptic_decay": synaptic_decay}, generator(7)
    kernel = reference.membrane(torch.eye(1, STEPS, dtype=F64).T, **neuron).flatten()
    alone = decay ** torch.arange(STEPS, dtype=F64)
    gain, constant = (init.synaptic_gain(STEPS, **neuron, constant=constant) for constant in (False, True))
    assert gain == pytest.approx(float(kernel.square().sum()) ** -0.5 if synaptic_decay else 1)
    assert constant == pytest.approx(float(alone.sum() / kernel.sum()))
    scale = init.bias_scale(STEPS, **neuron)
    assert math.frexp(scale)[0] == 0.5 and 0.7 < scale / constant < 1.42
    weight = init.ettfs_(torch.empty(500, 400), STEPS, gain=gain, generator=g)
    times = torch.randint(STEPS, (300, 400), generator=g).to(torch.uint8)
    last = functional.integrate(SpikeTimes(times, STEPS), weight, **neuron)[-1]
    assert float(last.square().mean()) == pytest.approx(1 if synaptic_decay else STEPS, rel=0.1)
    layer = nn.TTFSLinear(400, 500, steps=STEPS, **neuron, generator=g)
    assert layer.gain == init.firing_gain(1, STEPS, **neuron)
    if synaptic_decay:  # a third of the inputs lets a third of the neurons fire
        third = times.masked_fill(torch.rand(times.shape, generator=g) > 1 / 3, 255)
        last = functional.integrate(SpikeTimes(third, STEPS), layer.weight.detach(), **neuron)[-1]
        assert float((last >= 1).float().mean()) == pytest.approx(1 / 3, abs=0.03)
    if decay == synaptic_decay == 1:
        assert gain == pytest.approx((6 / (STEPS * (STEPS + 1) * (2 * STEPS + 1))) ** 0.5)


def test_gain_of_direct_coding_and_of_the_readout() -> None:
    g = generator(8)
    direct = nn.DirectLinear(400, 500, steps=STEPS, generator=g)
    readout = nn.Integrate(400, 500, steps=STEPS, generator=g)
    assert direct.gain == readout.gain == STEPS**-0.5
    first_current = torch.randn(300, 400, generator=g) @ direct.weight.detach().T
    assert float(first_current.var()) == pytest.approx(1, rel=0.03)
    times = torch.randint(STEPS, (300, 400), generator=g).to(torch.uint8)
    last = functional.integrate(SpikeTimes(times, STEPS), readout.weight.detach())[-1]
    assert float(last.square().mean()) == pytest.approx(1, rel=0.1)  # the same sum of weights in every sample
