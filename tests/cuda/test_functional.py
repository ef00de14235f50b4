"""The package's functions on the CUDA kernels, compared with their float64 references; run on the stand-in device."""

from __future__ import annotations

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
SURROGATES = [triangle(), triangle(0.5), rectangle()]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("regime", REGIMES)
def test_linear(pattern: str, regime: str) -> None:
    check_layer("linear", layer((3, 40), (50, 40), 8, pattern=pattern, regime=regime))


@pytest.mark.parametrize(("features", "outputs"), [(1, 1), (33, 32), (700, 5), (16, 130)])
@pytest.mark.parametrize("exact", [True, False])
def test_linear_shapes(features: int, outputs: int, exact: bool) -> None:
    check_layer("linear", layer((2, features), (outputs, features), 8, exact=exact))


@pytest.mark.parametrize("steps", [1, 2, 31, 64, 254])
def test_steps(steps: int) -> None:
    check_layer("linear", layer((2, 40), (35, 40), steps, decay=0.95, exact=False))
    check_layer("conv2d", layer((1, 3, 4, 4), (9, 3, 3, 3), steps, padding=1))


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize(
    ("inputs", "weight", "options"),
    [
        ((2, 3, 5, 8), (7, 3, 1, 4), {"stride": (1, 2), "padding": (0, 3)}),
        ((2, 5, 11, 4), (3, 5, 7, 2), {"stride": (3, 1), "padding": (2, 0)}),
        ((1, 17, 3, 3), (33, 17, 3, 3), {"padding": 1}),
        ((1, 16, 7, 5), (70, 16, 3, 3), {"padding": 1, "avg_pool": 2, "decay": 0.5}),
        ((2, 40, 4, 4), (16, 40, 2, 2), {"avg_pool": 2}),
        ((1, 1, 9, 9), (5, 1, 6, 6), {"padding": 2, "threshold": 0.5}),
    ],
    ids=str,
)
def test_conv2d(inputs: tuple[int, ...], weight: tuple[int, ...], options: dict, surrogate: object) -> None:
    check_layer("conv2d", layer(inputs, weight, 8, surrogate=surrogate, **options))


def test_pooled_map_into_a_linear_layer() -> None:
    check_layer("linear", layer((3, 16, 5, 7), (20, 16 * 2 * 3), 8, avg_pool=2))


def test_wide_kernels_have_more_taps_than_lanes() -> None:
    check_layer("conv2d", layer((1, 2, 9, 9), (40, 2, 7, 7), 8, padding=3, exact=False))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_layers(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    kernel, padding, pool = (draw(1, 4), draw(1, 4)), (draw(0, 2), draw(0, 2)), draw(1, 3)
    least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    size = [pool * (low + draw(0, 2)) + draw(0, pool - 1) for low in least]
    inputs = (draw(1, 2), data.draw(st.sampled_from([1, 3, 16, 35])), *size)
    case = layer(
        inputs,
        (data.draw(st.sampled_from([1, 20, 40])), inputs[1], *kernel),
        data.draw(st.sampled_from([1, 8, 40])),
        pattern=data.draw(st.sampled_from(PATTERNS)),
        exact=False,
        seed=draw(0, 2**20),
        avg_pool=pool,
        stride=(draw(1, 3), draw(1, 3)),
        padding=padding,
        surrogate=data.draw(st.sampled_from(SURROGATES)),
        decay=data.draw(st.sampled_from([1.0, 0.9, 1.05])),
    )
    check_layer("conv2d", case)


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
    given = {
        "times": torch.zeros(2, 1, 1, 3, dtype=torch.uint8),
        "weight": torch.zeros(5, 3),
        "bias": torch.zeros(5),
        **changed,
    }
    geometry = (2, 1, 1, 3, 1, 1, 1, 1, 1, 0, 0, 5, 4)
    neuron = (1.0, 1.0, 0.0, 1.0)
    implementation = _operator.CUDA_IMPLEMENTATIONS["fire_layer"]
    inputs = (given["times"], None, None, None, given["weight"], given["bias"])
    return implementation(*inputs, geometry, neuron, False, _cuda.TILE)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"bias": torch.zeros(5, device="meta")}, "bias must be on cpu, got meta"),
        ({"bias": torch.zeros(4)}, "bias must have 5 elements, got 4"),
        ({"bias": torch.zeros(5, dtype=torch.float64)}, "bias must be torch.float32, got torch.float64"),
        ({"times": torch.zeros(1, 1, 1, 3, dtype=torch.uint8)}, "times must have 6 elements, got 3"),
        ({"times": torch.zeros(2, 1, 1, 3, dtype=torch.int8)}, "times must be torch.uint8, got torch.int8"),
        ({"weight": torch.zeros(5, 4)}, r"weight must have shape \(5, 3, 1, 1\), flat or not, got \(5, 4\)"),
        ({"weight": torch.zeros(5, 3, dtype=torch.float16)}, "weight must be torch.float32, got torch.float16"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_no_wrong_tensor_reaches_a_kernel(changed: dict[str, torch.Tensor], says: str) -> None:
    """Kernels get addresses: what they belong to is looked at before."""
    fire_layer()
    with pytest.raises(ValueError, match=says):
        fire_layer(**changed)


def test_gradients_are_checked_as_well() -> None:
    case = layer((2, 13), (19, 13), 8)
    out = functional.linear(SpikeTimes(case.times, 8), case.weight.clone().requires_grad_())
    assert out._anchor is not None and out._support is not None
    offset, slope, place = out._support
    given = (SpikeTimes(case.times, 8).times.reshape(2, 1, 1, 13), None, None, case.weight)
    geometry, entries = (2, 1, 1, 13, 1, 1, 1, 1, 1, 0, 0, 19, 8), len(slope)
    backward = ops.layer.fire_layer_backward
    backward(torch.zeros(entries), *given, offset, slope, place, geometry, 1.0, (False, True, True))
    with pytest.raises(ValueError, match=f"gradient must have {entries} elements"):
        backward(torch.zeros(1), *given, offset, slope, place, geometry, 1.0, (False, True, True))
    with pytest.raises(ValueError, match="offset must have 3 elements"):
        backward(torch.zeros(entries), *given, offset[1:], slope, place, geometry, 1.0, (False, True, True))
