"""The package's functions on the CUDA kernels, compared with their float64 references; run on the stand-in device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, encode, functional, nn, ops, reference
from firstspike.ops import _cuda, _operator
from firstspike.surrogate import atan, rectangle, triangle

from ..compare import check_layer, clear_neurons, close
from ..samples import PATTERNS, REGIMES, generator, layer, spike_times

pytestmark = pytest.mark.usefixtures("on_host")


CASES = {
    "one step": ("linear", layer((2, 40), (35, 40), 1, decay=0.95, exact=False)),
    "all steps": ("linear", layer((2, 40), (35, 40), 254, decay=0.95, exact=False)),
    "many inputs": ("linear", layer((2, 700), (5, 700), 8, exact=False)),
    "many outputs": ("linear", layer((2, 16), (130, 16), 31)),
    "pooled map": ("linear", layer((3, 16, 5, 7), (20, 16 * 2 * 3), 8, avg_pool=2)),
    "more taps than lanes": ("conv2d", layer((1, 2, 9, 9), (40, 2, 7, 7), 64, padding=3, exact=False)),
    "threshold": ("conv2d", layer((1, 1, 9, 9), (5, 1, 6, 6), 8, padding=2, threshold=0.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    check_layer(*CASES[name])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_layers(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    def choose(*values: object) -> Any:
        return data.draw(st.sampled_from(values))

    options = {"surrogate": choose(triangle(), triangle(0.5), rectangle()), "decay": choose(1.0, 0.9, 1.05)}
    common = {"pattern": choose(*PATTERNS), "regime": choose(*REGIMES), "exact": False, "seed": draw(0, 2**20)}
    steps, outputs, channels, batch = choose(1, 8, 40), choose(1, 20, 40), choose(1, 3, 16, 35), draw(1, 2)
    if choose(False, True):
        case = layer((batch, channels), (outputs, channels), steps, **common, **options)
        check_layer("linear", case, enough=0.0)
        return
    kernel, padding, pool = (draw(1, 4), draw(1, 4)), (draw(0, 2), draw(0, 2)), draw(1, 3)
    least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    size = [pool * (low + draw(0, 2)) + draw(0, pool - 1) for low in least]
    options |= {"avg_pool": pool, "stride": (draw(1, 3), draw(1, 3)), "padding": padding}
    case = layer((batch, channels, *size), (outputs, channels, *kernel), steps, **common, **options)
    check_layer("conv2d", case, enough=0.0)


@pytest.mark.parametrize("decay", [1.0, 0.9])
@pytest.mark.parametrize(("shape", "steps"), [((3, 50), 8), ((2, 3, 4, 4), 16), ((0, 5), 8), ((1, 33), 254)])
def test_ramp(shape: tuple[int, ...], steps: int, decay: float) -> None:
    current = torch.rand(shape, generator=generator(0)).mul(0.8).requires_grad_()
    exact = current.detach().double().requires_grad_()
    got, expected = (f.ramp(x, steps, decay=decay) for f, x in ((functional, current), (reference, exact)))
    clear = clear_neurons(exact.detach().expand(steps, *shape), {"decay": decay})
    assert torch.equal(got.times[clear], expected.times[clear])
    grad = torch.randn((steps, *shape), generator=generator(1)) * clear
    got.dense().backward(grad)
    expected.dense().backward(grad.double())
    close(current.grad, exact.grad, "gradient of current")


@pytest.mark.parametrize("shape", [(3, 50), (2, 3, 4, 4), (0, 5), (2, 70)], ids=str)
@pytest.mark.parametrize("fused", [True, False])
def test_dropout(shape: tuple[int, ...], fused: bool) -> None:
    """The spikes that the copy loses, and the gradients of the others, at a support and at every step."""
    current = torch.rand(shape, generator=generator(0)).mul(0.8).requires_grad_()
    seed, gradient = torch.tensor([9]), torch.randn((8, *shape), generator=generator(1))
    spikes = functional.ramp(current, 8)
    if not fused:
        spikes = SpikeTimes.from_dense(spikes.dense())
    got = functional.dropout(spikes, 0.4, seed=seed)
    stays = reference.dropout(reference.SpikeTrain(torch.ones(1, *shape)), 0.4, seed=seed).train[0].bool()
    assert torch.equal(got.times, spikes.times.masked_fill(~stays, 255))
    got.dense().backward(gradient)
    copy = current.detach().clone().requires_grad_()
    functional.ramp(copy, 8).dense().backward(gradient * stays)
    assert torch.equal(current.grad, copy.grad)


@pytest.mark.parametrize("shape", [(2, 70, 5, 4), (1, 3, 4, 6), (0, 5, 4, 4)])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("fused", [True, False])
def test_max_pooling(shape: tuple[int, ...], size: int, fused: bool) -> None:
    x = torch.randn(shape, generator=generator(0), dtype=torch.float32).mul(0.6).requires_grad_()
    spikes = functional.ramp(x, 8)
    if not fused:
        x = spikes.dense().detach().requires_grad_()
        spikes = SpikeTimes.from_dense(x)
    pooled = nn.PooledSpikes(spikes, size)
    dense = torch.nn.functional.max_pool2d(spikes.dense().flatten(0, 1), size).unflatten(0, (8, shape[0]))
    assert torch.equal(pooled.dense(), dense) and int(pooled.repeated) == int((dense.sum(0) > 1).sum())
    factor = torch.randn(dense.shape, generator=generator(1), dtype=torch.float32)
    got, expected = (torch.autograd.grad((y * factor).sum(), x, retain_graph=True)[0] for y in (pooled.dense(), dense))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("surrogate", [triangle(), rectangle(), atan()], ids=lambda s: s.kind)
@pytest.mark.parametrize("steps", [1, 4, 7, 16, 30, 50])
def test_fire(steps: int, surrogate: object) -> None:
    x = (torch.randn(steps, 3, 100, generator=generator(steps)) * 0.4).requires_grad_()
    exact = x.detach().double().requires_grad_()
    got, expected = (f.fire(c, decay=0.9, surrogate=surrogate) for f, c in ((functional, x), (reference, exact)))
    clear = clear_neurons(exact.detach(), {"decay": 0.9, "surrogate": surrogate})
    assert torch.equal(got[:, clear].double(), expected[:, clear])
    grad = torch.randn(x.shape, generator=generator(1)) * clear
    got.backward(grad)
    expected.backward(grad.double())
    close(x.grad, exact.grad, "gradient of current")


@pytest.mark.parametrize(("features", "outputs", "decay"), [(40, 10, 1.0), (33, 70, 0.9)])
def test_integrate(features: int, outputs: int, decay: float) -> None:
    case = layer((3, features), (outputs, features), 12)
    train = SpikeTimes(case.times, 12).dense()
    tensors = [t.clone().requires_grad_() for t in (train, case.weight, case.bias)]
    references = [t.detach().double().requires_grad_() for t in tensors]
    got = functional.integrate(SpikeTimes.from_dense(tensors[0]), *tensors[1:], decay=decay)
    expected = reference.integrate(reference.SpikeTrain(references[0]), *references[1:], decay=decay)
    close(got.detach(), expected.detach(), "membrane")
    grad = torch.randn(got.shape, generator=generator(2))
    got.backward(grad)
    expected.backward(grad.double())
    for name, tensor, exact in zip(("train", "weight", "bias"), tensors, references, strict=True):
        close(tensor.grad, exact.grad, f"gradient of {name}")


def test_trains_to_times_and_back() -> None:
    times = spike_times((3, 5, 4, 2), 9, "mixed", generator(0))
    dense = SpikeTimes(times, 9).dense()
    assert torch.equal(dense, (torch.arange(9).reshape(-1, 1, 1, 1, 1) == times).float())
    assert torch.equal(SpikeTimes.from_dense(dense).times, times)


@pytest.mark.parametrize("curve", encode.CURVES)
@pytest.mark.parametrize("steps", [1, 2, 8, 254])
def test_latency(curve: str, steps: int) -> None:
    x = torch.linspace(0, 1, 256).reshape(2, 128)
    times = encode.latency(x, steps, curve).times
    assert torch.equal(times, ops.latency._forward(x, steps, encode.CURVES.index(curve)))
    assert bool((times[x == 0] == 255).all()) and times[-1, -1] == 0


def fire_layer(**changed: torch.Tensor) -> object:
    """The implementation of `fire_layer` on three inputs and five neurons, some of its tensors changed."""
    given = {"times": torch.zeros(2, 1, 1, 3, dtype=torch.uint8), "weight": torch.zeros(5, 3), "bias": torch.zeros(5)}
    times, weight, bias = {**given, **changed}.values()
    arguments = (
        times,
        None,
        None,
        None,
        weight,
        bias,
        (2, 1, 1, 3, 1, 1, 1, 1, 1, 0, 0, 5, 4),
        (1.0, 1.0, 0.0, 1.0, 0.0),
    )
    return _operator.CUDA_IMPLEMENTATIONS["fire_layer"](*arguments, False, _cuda.TILE)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bias", [torch.zeros(5, device="meta"), torch.zeros(4), torch.zeros(5).double()]),
        ("times", [torch.zeros(1, 1, 1, 3, dtype=torch.uint8), torch.zeros(2, 1, 1, 3, dtype=torch.int8)]),
        ("weight", [torch.zeros(5, 4), torch.zeros(5, 3).half()]),
    ],
)
def test_no_wrong_tensor_reaches_a_kernel(name: str, wrong: list[torch.Tensor]) -> None:
    """Kernels get addresses: what they belong to is looked at before."""
    fire_layer()
    for tensor in wrong:
        with pytest.raises(ValueError, match=f"{name} must"):
            fire_layer(**{name: tensor})


def test_gradients_are_checked_as_well() -> None:
    case = layer((2, 13), (19, 13), 8)
    out = functional.linear(SpikeTimes(case.times, 8), case.weight.clone().requires_grad_())
    assert out._support is not None
    offset, slope, place = out._support
    source = (case.times.reshape(2, 1, 1, 13), None, None, case.weight)
    rest = (slope, place, (2, 1, 1, 13, 1, 1, 1, 1, 1, 0, 0, 19, 8), (1.0, 0.0), (False, True, True))
    backward, gradient = ops.layer.fire_layer_backward, torch.zeros(len(slope))
    backward(gradient, *source, offset, *rest)
    for name, wrong in (("gradient", (gradient[:-1], *source, offset)), ("offset", (gradient, *source, offset[1:]))):
        with pytest.raises(ValueError, match=f"{name} must have"):
            backward(*wrong, *rest)
