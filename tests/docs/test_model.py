"""Every formula of docs/model.md, written with its own loops in float64 and compared with the reference and the package."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, decode, encode, functional, init, nn, reference
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


def test_an_equal_membrane_fires() -> None:
    assert functional.fire(torch.ones(1, 1, 1)).item() == 1


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


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_surrogate(surrogate: Surrogate) -> None:
    u = torch.linspace(-400, 400, 800_001, dtype=F64)  # atan falls slowly
    derivative = surrogate.derivative(u)
    assert float(torch.trapezoid(derivative, u)) == pytest.approx(1, abs=2e-3)
    at = torch.linspace(-2.9, 2.9, 59, dtype=F64)
    assert surrogate.derivative(at).tolist() == pytest.approx([slope(float(x), surrogate) for x in at], abs=1e-14)
    outside = derivative[u.abs() >= surrogate.half_width]
    assert not outside.any()


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


def test_average_pooling_folds_into_the_weight() -> None:
    g = generator(5)
    times = spike_times((2, 3, 5, 4), STEPS, "mixed", g)  # the fifth row is dropped
    weight = torch.randn(6, 12, generator=g, dtype=F64)
    train = SpikeTrain.from_times(times, STEPS).dense()[:, :, :, :4].reshape(STEPS, 2, 3, 2, 2, 2, 2)
    expected = torch.einsum("tbcyixj,ocyx->tbo", train, weight.view(6, 3, 2, 2) / 4)
    got = reference.linear_current(SpikeTrain.from_times(times, STEPS), weight, avg_pool=2)
    torch.testing.assert_close(got, expected)


def test_dropout_mask() -> None:
    times = torch.zeros(2, 6, 3, 5, dtype=torch.uint8)
    seed, p, kept = 1234, 0.3, torch.empty(2, 6, 3, 5, dtype=torch.bool)
    for site, (b, y, x) in enumerate((b, y, x) for b in range(2) for y in range(3) for x in range(5)):
        for c in range(6):
            z = (seed + 0x9E3779B97F4A7C15 * (site * 2 + c // 4 + 1)) % 2**64
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
            kept[b, c, y, x] = ((z ^ z >> 31) >> 16 * (c % 4)) % 65536 < round((1 - p) * 65536)
    left = functional.dropout(SpikeTimes(times, 4), p, seed=torch.tensor([seed]))
    assert torch.equal(~left.silent, kept)


def test_dropout_keeps_the_mean_current() -> None:
    layer = nn.TTFSLinear(8, 5, steps=4, dropout=0.25, affine=None, bias=False)
    spikes = SpikeTimes(torch.zeros(20_000, 8, dtype=torch.uint8), 4)
    left = functional.dropout(spikes, 0.25, seed=torch.tensor([1])).dense()[0]
    weight = layer.weight.detach()
    torch.testing.assert_close((left @ weight.T / 0.75).mean(0), weight.sum(1), rtol=0.02, atol=0.05)


def uniform(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Dense train in which every neuron fires once, at a uniform time."""
    return SpikeTimes(torch.randint(STEPS, shape, generator=g).to(torch.uint8), STEPS).dense()


def test_initialisation() -> None:
    g = generator(6)
    weight = init.ettfs_(torch.empty(500, 400), STEPS, generator=g)
    bound = math.sqrt(3 * STEPS / 400)
    assert 0.999 * bound < float(weight.abs().max()) <= bound
    assert float(weight.var()) == pytest.approx(STEPS / 400, rel=0.01)
    assert (uniform((300, 400), g) @ weight.T).var((1, 2)).tolist() == pytest.approx([1] * STEPS, rel=0.05)
    for fill, variance in ((init.kaiming_, 2 / STEPS), (init.torch_default_, 1 / (3 * STEPS))):
        current = uniform((300, 400), g) @ fill(torch.empty(500, 400), generator=g).T
        assert current.var((1, 2)).tolist() == pytest.approx([variance] * STEPS, rel=0.05)


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
    """The last potential has the variance 1; that of a constant current is as large as without a synaptic current."""
    neuron, g = {"decay": decay, "synaptic_decay": synaptic_decay}, generator(7)
    kernel = reference.membrane(torch.eye(1, STEPS, dtype=F64).T, **neuron).flatten()
    alone = decay ** torch.arange(STEPS, dtype=F64)
    gain, constant = (init.synaptic_gain(STEPS, **neuron, constant=constant) for constant in (False, True))
    assert gain == pytest.approx(float(kernel.square().sum()) ** -0.5 if synaptic_decay else 1)
    assert constant == pytest.approx(float(alone.sum() / kernel.sum()))
    scale = init.bias_scale(STEPS, **neuron)
    assert math.frexp(scale)[0] == 0.5 and 0.7 < scale / constant < 1.42
    layer = nn.TTFSLinear(400, 500, steps=STEPS, **neuron, generator=g)
    assert layer.gain == gain
    times = torch.randint(STEPS, (300, 400), generator=g).to(torch.uint8)
    last = functional.integrate(SpikeTimes(times, STEPS), layer.weight.detach(), **neuron)[-1]
    assert float(last.square().mean()) == pytest.approx(1 if synaptic_decay else STEPS, rel=0.1)
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


def test_weight_normalisation() -> None:
    g = generator(9)
    weight = torch.randn(4, 7, generator=g, dtype=F64, requires_grad=True)
    gamma = torch.rand(4, generator=g, dtype=F64, requires_grad=True)
    grad = torch.randn(4, 7, generator=g, dtype=F64)
    reference.normalize_weight(weight, 0.3, gamma).backward(grad)
    w, deviation = weight.detach(), (weight.detach().var(correction=0) + 1e-12).sqrt()
    z = (w - w.mean()) / deviation
    p = gamma.detach()[:, None] * 0.3 * grad
    torch.testing.assert_close(weight.grad, (p - p.mean() - z * (z * p).mean()) / deviation)
    torch.testing.assert_close(gamma.grad, 0.3 * (grad * z).sum(1))
    assert nn.WeightNormalization(STEPS, 28, 2.0).deviation == 2 * math.sqrt(STEPS / 28)


def test_direct_coding() -> None:
    g = generator(10)
    current = torch.randn(3, 40, generator=g, dtype=F64, requires_grad=True)
    grad = torch.randn(STEPS, 3, 40, generator=g, dtype=F64)
    reference.ramp(current, STEPS, threshold=THRESHOLD, decay=DECAY).dense().backward(grad)
    i, gain = current.detach(), torch.tensor([sum(DECAY**k for k in range(t + 1)) for t in range(STEPS)], dtype=F64)
    v = gain.view(-1, 1, 1) * i
    counts = torch.arange(STEPS).view(-1, 1, 1) <= first(v)
    direct = grad * triangle().derivative(v - THRESHOLD) * counts
    torch.testing.assert_close(current.grad, (direct * gain.view(-1, 1, 1)).sum(0))

    times = (THRESHOLD / i).ceil() - 1
    fires = (i > 0) & (times < STEPS)
    got = functional.ramp(i.float(), STEPS, threshold=THRESHOLD).times
    assert torch.equal(got.double(), torch.where(fires, times, SILENT))


def test_latency_coding() -> None:
    x = torch.rand(1, 500, generator=generator(11))
    linear = ((1 - x.double()) * (STEPS - 1)).round()
    log = ((STEPS - 1) * (x.double().log() / math.log(1 / 255)).clamp(max=1)).round()
    assert torch.equal(encode.latency(x, STEPS).times.double(), linear)
    assert torch.equal(encode.latency(x, STEPS, "log").times.double(), log)
    assert encode.latency(torch.zeros(1, 1), STEPS).silent.all()


def test_decoders() -> None:
    g = generator(12)
    spikes = SpikeTimes(spike_times((20, 10), STEPS, "mixed", g), STEPS)
    train, clock = spikes.dense().double(), torch.arange(STEPS, dtype=F64)
    for mode, weights in (("exp", 1.3**-clock), ("linear", 1.3 * (STEPS - clock) / STEPS)):
        want = torch.einsum("t,tbc->bc", weights, train)
        torch.testing.assert_close(decode.temporal_weighting(spikes, gamma=1.3, mode=mode).double(), want)
    v = torch.randn(STEPS, 20, 10, generator=g)
    early = 2 * (STEPS - clock) / (STEPS * (STEPS + 1))
    assert float(early.sum()) == pytest.approx(1)
    for mode, want in (("last", v[-1]), ("mean", v.mean(0)), ("weighted", torch.einsum("t,tbc->bc", early.float(), v))):
        torch.testing.assert_close(decode.membrane(v, mode), want)
    torch.testing.assert_close(decode.population(v[-1], 5), v[-1].view(20, 5, 2).mean(-1))
    scores = torch.where(spikes.silent, 0.0, (STEPS - spikes.times.float()) / STEPS)
    torch.testing.assert_close(nn.FirstSpike()(spikes), scores)
    torch.testing.assert_close(decode.temporal_weighting(spikes, gamma=1.0, mode="linear"), scores)


def test_the_last_potential_ignores_the_order() -> None:
    g = generator(13)
    times = spike_times((4, 30), STEPS, "mixed", g)
    other = torch.where(times == SILENT, times, torch.randint(STEPS, times.shape, generator=g).to(torch.uint8))
    weight = torch.randn(5, 30, generator=g)
    last = [functional.integrate(SpikeTimes(t, STEPS), weight)[-1] for t in (times, other)]
    torch.testing.assert_close(*last, rtol=1e-4, atol=1e-5)
