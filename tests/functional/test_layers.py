"""`linear`, `conv2d` and `integrate` against the float64 reference: times, membranes and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, functional, reference
from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..compare import Operators, check_layer, close
from ..samples import PATTERNS, REGIMES, Layer, decays, generator, layer, spike_times

STEPS = [1, 2, 8, 64, 254]
STEEP = [triangle(), triangle(0.25), triangle(3.0), rectangle(), rectangle(0.5), atan(), sigmoid(), sigmoid(1.5)]
ROUND = [triangle(), triangle(0.5), rectangle(), rectangle(0.5), atan(), sigmoid()]  # less steep, for inexact sums


def check(name: str, case: Layer, **options: Any) -> SpikeTimes | None:
    """Compare a function with its reference."""
    return check_integrate(case) if name == "integrate" else check_layer(name, case, **options)


def check_integrate(case: Layer) -> None:
    """Membrane and the gradients of weight, bias and input train."""
    train = reference.SpikeTrain.from_times(case.times, case.steps).dense().requires_grad_()
    weight = case.weight.double().requires_grad_()
    bias = None if case.bias is None else case.bias.double().requires_grad_()
    expected = reference.integrate(reference.SpikeTrain(train), weight, bias, **case.options)
    grad = torch.randn(expected.shape, generator=generator(1))
    expected.backward(grad.double())
    x, w = train.detach().float().requires_grad_(), case.weight.clone().requires_grad_()
    b = None if case.bias is None else case.bias.clone().requires_grad_()
    got = functional.integrate(SpikeTimes.from_dense(x), w, b, **case.options)
    close(got, expected.detach(), "membrane")
    assert not case.exact or torch.equal(got, expected.detach().float())
    got.backward(grad)
    close(w.grad, weight.grad, "gradient of weight")
    close(x.grad, train.grad, "gradient of the input spikes")
    if bias is not None:
        close(b.grad, bias.grad, "gradient of bias")


@st.composite
def cases(draw: Any, name: str, synaptic: bool = True) -> Layer:
    """A layer of any size, with silent, early, late and tied neurons, and any surrogate, stride, padding and pool."""
    size = st.integers(1, 6)
    pool, steps = draw(st.sampled_from([1, 1, 2, 3]), "pool"), draw(st.sampled_from(STEPS[:4]), "steps")
    outputs, batch = draw(st.integers(1, 40), "outputs"), draw(st.integers(1, 5), "batch")
    options: dict[str, Any] = {"avg_pool": pool, "decay": draw(st.sampled_from(decays(steps)), "decay")}
    currents = [0.0, 0.0, 0.5, 1.0 if steps < 64 else 0.75] if synaptic else [0.0]
    options["synaptic_decay"] = draw(st.sampled_from(currents), "synaptic_decay")
    if name == "conv2d":
        kernel, padding = ([draw(st.integers(low, high), what) for _ in "yx"] for low, high, what in
                           ((1, 8, "kernel"), (0, 4, "padding")))  # fmt: skip
        least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
        maps = [pool * (low + draw(st.integers(0, 4))) + draw(st.integers(0, pool - 1)) for low in least]
        inputs = (batch, draw(size, "channels"), *maps)
        weight = (outputs, inputs[1], *kernel)
        options |= {"padding": tuple(padding), "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3)))}
    elif pool > 1 or draw(st.booleans(), "map"):
        inputs = (batch, draw(size), pool * draw(size), pool * draw(size) + draw(st.integers(0, pool - 1)))
        weight = (outputs, inputs[1] * (inputs[2] // pool) * (inputs[3] // pool))
    else:
        inputs = (batch, draw(st.integers(1, 130), "inputs"))
        weight = (outputs, inputs[1])
    halved = {options["decay"], options["synaptic_decay"]} <= {0.0, 0.5, 1.0}
    exact = steps <= 8 and pool < 3 and halved and draw(st.booleans(), "exact")
    if name != "integrate":
        threshold = draw(st.integers(16, 192), "threshold") / 64 if exact else draw(st.floats(0.25, 3), "threshold")
        options |= {"threshold": threshold, "surrogate": draw(st.sampled_from(STEEP if exact else ROUND))}
    more = {"pattern": st.sampled_from(PATTERNS), "regime": st.sampled_from(REGIMES), "bias": st.booleans()}
    drawn = {what: draw(strategy, what) for what, strategy in more.items()}
    return layer(inputs, weight, steps, exact=exact, seed=draw(st.integers(0, 2**20), "seed"), **drawn, **options)


@pytest.mark.parametrize("name", ["linear", "conv2d", "integrate"])
@settings(max_examples=120)
@given(data=st.data())
def test_any_layer(name: str, data: st.DataObject) -> None:
    check(name, data.draw(cases(name)), **({} if name == "integrate" else {"enough": 0}))


@pytest.mark.parametrize("padding", [0, (1, 2)])
def test_kernels_of_one_pixel_are_a_product(padding: Any) -> None:
    """oneDNN of torch 2.13 writes past its buffer in the float32 gradient of such convolutions with a stride."""
    case = layer((8, 2, 2, 10), (2, 2, 1, 1), 4, stride=(1, 2), padding=padding, surrogate=atan())
    with Operators() as calls:
        check("conv2d", case)
        train = reference.SpikeTrain.from_times(case.times, case.steps)
        weight = case.weight.clone().requires_grad_()
        reference.conv2d(train, weight, stride=(1, 2), padding=padding).dense().sum().backward()
    assert not [name for name in calls.names if "convolution" in name or "conv2d" in name]
    expected = torch.conv2d(train.dense().flatten(0, 1), case.weight.double(), None, (1, 2), padding)
    close(reference.conv2d_current(train, weight, stride=(1, 2), padding=padding).flatten(0, 1), expected, "current")


# At the borders of blocks, tiles and groups: input, weight, options.
SIZES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    *[((batch, n), (outputs, n), {}) for batch, n, outputs in
      [(1, 1, 1), (2, 3, 5), (3, 17, 16), (4, 40, 33), (1, 130, 70), (9, 8, 129), (40, 300, 20)]],
    *[((2, n), (9, n), {}) for n in (63, 64, 65)],
    *[((35, *size), (19, torch.Size(size).numel()), {}) for size in [(1, 12, 12), (2, 13, 11), (150, 2, 2), (37, 7, 7)]],
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((2, 3, 5, 8), (7, 3, 1, 4), {"stride": (1, 2), "padding": (0, 3)}),
    ((2, 5, 11, 4), (3, 5, 7, 2), {"stride": (3, 1), "padding": (2, 0)}),
    ((1, 17, 3, 3), (33, 17, 3, 3), {"padding": 1}),
    ((3, 2, 4, 4), (70, 2, 4, 4), {}),
    ((1, 40, 2, 3), (16, 40, 2, 3), {"padding": 2}),
    *[((2, 1, 3, width), (18, 1, 3, 3), {"padding": 1}) for width in (7, 8, 9, 31, 32, 33, 70)],
    *[((1, 2, 4, width), (5, 2, 2, 3), {"avg_pool": 2, "stride": (1, 2), "padding": (0, 1)}) for width in (31, 32, 33)],
    *[((2, channels, 9, 10), (9, channels, *kernel), {"padding": 1}) for channels, kernel in
      [(1, (8, 8)), (7, (3, 3)), (13, (1, 5)), (64, (1, 1)), (65, (1, 1)), (16, (3, 3))]],
    ((2, 1, 9, 8), (70, 1, 3, 3), {"stride": (2, 1)}),
    ((2, 1, 5, 6), (5, 1, 2, 2), {"padding": (3, 2)}),
    ((1, 1, 8, 9), (33, 1, 3, 5), {"stride": (1, 2), "padding": (1, 0)}),
    ((2, 1, 8, 8), (9, 1, 7, 9), {"padding": 2, "stride": 2}),
    ((2, 4, 6, 6), (9, 4, 4, 4), {"padding": 1}),
]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 8, 16, 17, 254])
@pytest.mark.parametrize(("inputs", "weight", "options"), SIZES, ids=str)
def test_sizes(inputs: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], steps: int) -> None:
    if steps > 8 and torch.Size(inputs).numel() > (200 if steps == 254 else 1500):
        return  # the reference is slow
    name = "linear" if len(weight) == 2 else "conv2d"
    for pattern, exact, decay in (("mixed", False, 0.9), ("tied", False, 1.0), ("spread", True, 1.0)):
        check(name, layer(inputs, weight, steps, pattern=pattern, exact=exact, decay=decay, **options))
    if name == "linear":
        check("integrate", layer(inputs, weight, steps))


def test_more_support_entries_than_one_chunk_holds() -> None:
    """Every neuron that has not fired has an entry at every step."""
    for exact in (True, False):
        check("linear", layer((160, 9), (70, 9), 64, exact=exact, regime="quiet", surrogate=rectangle(64.0)))


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (2, 3, 0, 1), (2, 3, 1, 0), (1, 0, 3, 2)], ids=str)
@pytest.mark.parametrize("shape", [(9, 20, 1, 1), (9, 20, 5, 5), (70, 1, 3, 3), (70, 33, 3, 2)], ids=str)
def test_the_order_of_weights_in_memory_changes_nothing(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    case = layer((2, shape[1], 6, 7), shape, 8, exact=False, padding=shape[2] // 2)
    permuted = case.weight.permute(order).contiguous().permute([order.index(i) for i in range(4)])
    results = []
    for weight in (case.weight, permuted):
        x = SpikeTimes(case.times, case.steps).dense().requires_grad_()
        out = functional.conv2d(SpikeTimes.from_dense(x), weight, case.bias, **case.options)
        out.dense().square().sum().backward()
        results.append((out.times, x.grad))
    assert float(results[0][1].abs().max()) > 0 and all(map(torch.equal, *results))


@pytest.mark.parametrize("channels", [1, 30])
def test_a_weight_of_nan_silences_its_neuron_from_there(channels: int) -> None:
    case = layer((2, channels, 5, 6), (18, channels, 3, 3), 8, pattern="early", regime="firing", padding=1)
    spikes = SpikeTimes(case.times, case.steps)
    broken = case.weight.clone().requires_grad_()
    broken.data[3] = float("nan")
    times = functional.conv2d(spikes, case.weight, case.bias, **case.options).times.clone()
    times[:, 3] = 255
    assert torch.equal(functional.conv2d(spikes, broken, case.bias, **case.options).times, times)


def test_a_stride_far_beyond_the_map_makes_one_output() -> None:
    spikes = SpikeTimes(spike_times((2, 3, 4, 5), 8, "mixed", generator(0)), 8)
    weight = torch.randn(5, 3, 2, 2, generator=generator(1)).mul(0.5).requires_grad_()
    one, other = (functional.conv2d(spikes, weight, stride=stride) for stride in (5, 2**31 - 1))
    assert other.shape == (2, 5, 1, 1) and one == other
    a, b = (torch.autograd.grad(out.dense().sum(), weight)[0] for out in (one, other))
    assert torch.equal(a, b) and a.any()
