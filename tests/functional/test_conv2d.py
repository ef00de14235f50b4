"""`functional.conv2d` against the float64 reference: times and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, functional
from firstspike.surrogate import Surrogate, atan, rectangle, sigmoid, triangle

from ..compare import check_layer
from ..samples import PATTERNS, REGIMES, decays, generator, layer, spike_times

STEPS = [1, 2, 8, 64, 254]
ROUND = [triangle(), triangle(0.5), rectangle(), rectangle(0.5), atan(), sigmoid()]  # less steep, for inexact sums
SURROGATES = [triangle(), triangle(0.25), rectangle(), atan(), sigmoid()]


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", STEPS)
def test_steps_and_patterns(steps: int, pattern: str, regime: str) -> None:
    case = layer((2, 3, 4, 5), (6, 3, 3, 3), steps, pattern=pattern, regime=regime, padding=1)
    got = check_layer("conv2d", case)
    if regime != "balanced":
        assert bool(got.silent.all() if regime == "quiet" else (~got.silent).all())


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, "same", "wide"])
def test_kernel_stride_padding(kernel: int, stride: int, padding: object) -> None:
    pad = {0: 0, "same": kernel // 2, "wide": kernel + 1}[padding]
    case = layer((2, 3, 9, 7), (5, 3, kernel, kernel), 8, stride=stride, padding=pad)
    check_layer("conv2d", case)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("inputs", "weight", "options"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1), {}),
        ((2, 3, 5, 8), (7, 3, 1, 4), {"stride": (1, 2), "padding": (0, 3)}),
        ((2, 5, 11, 4), (3, 5, 7, 2), {"stride": (3, 1), "padding": (2, 0)}),
        ((1, 17, 3, 3), (33, 17, 3, 3), {"padding": 1}),
        ((3, 2, 4, 4), (70, 2, 4, 4), {}),
        ((1, 40, 2, 3), (16, 40, 2, 3), {"padding": 2}),
        ((1, 4, 3, 17), (16, 4, 3, 3), {"padding": (1, 0)}),
    ],
    ids=str,
)
def test_shapes(inputs: tuple[int, ...], weight: tuple[int, ...], options: dict, exact: bool) -> None:
    check_layer("conv2d", layer(inputs, weight, 8, exact=exact, **options))
    check_layer("conv2d", layer(inputs, weight, 8, exact=exact, bias=False, seed=1, **options))


@pytest.mark.parametrize("steps", [1, 9, 254])
@pytest.mark.parametrize("width", [7, 8, 9, 31, 32, 33, 70])
def test_few_inputs_and_many_sites(width: int, steps: int) -> None:
    for pattern in ("mixed", "spread"):
        check_layer("conv2d", layer((2, 1, 3, width), (18, 1, 3, 3), steps, pattern=pattern, padding=1))
    check_layer("conv2d", layer((1, 2, 4, width), (5, 2, 2, 3), steps, avg_pool=2, stride=(1, 2), padding=(0, 1)))


@pytest.mark.parametrize(
    "weight", [(9, 1, 8, 8), (9, 7, 3, 3), (9, 13, 1, 5), (9, 64, 1, 1), (9, 65, 1, 1), (9, 16, 3, 3)], ids=str
)
def test_field_sizes(weight: tuple[int, ...]) -> None:
    for steps in (8, 16, 17):
        check_layer("conv2d", layer((2, weight[1], 9, 10), weight, steps, exact=False, padding=1))


@pytest.mark.parametrize("shape", [(70, 1, 3, 3), (70, 33, 3, 2)], ids=str)
def test_order_of_weights_in_memory_changes_nothing(shape: tuple[int, ...]) -> None:
    case = layer((2, shape[1], 6, 7), shape, 8, exact=False, padding=1)
    spikes = SpikeTimes(case.times, case.steps)
    expected = functional.conv2d(spikes, case.weight, case.bias, **case.options).times
    for order in [(2, 3, 1, 0), (0, 2, 3, 1), (1, 0, 2, 3)]:
        weight = case.weight.permute(order).contiguous().permute([order.index(i) for i in range(4)])
        assert torch.equal(functional.conv2d(spikes, weight, case.bias, **case.options).times, expected)


@pytest.mark.parametrize("channels", [1, 30])
def test_a_weight_that_is_no_number_silences_its_neuron_from_there(channels: int) -> None:
    case = layer((2, channels, 5, 6), (18, channels, 3, 3), 8, pattern="early", regime="firing", padding=1)
    spikes = SpikeTimes(case.times, case.steps)
    broken = case.weight.clone().requires_grad_()
    broken.data[3] = float("nan")
    times = functional.conv2d(spikes, case.weight, case.bias, **case.options).times.clone()
    times[:, 3] = 255
    assert torch.equal(functional.conv2d(spikes, broken, case.bias, **case.options).times, times)


@pytest.mark.parametrize("threshold", [0.5, 2.25])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.kind}-{s.scale}")
def test_surrogates_and_thresholds(surrogate: object, threshold: float) -> None:
    options = {"surrogate": surrogate, "threshold": threshold, "padding": 1}
    check_layer("conv2d", layer((2, 3, 5, 6), (9, 3, 3, 3), 8, **options))
    check_layer("conv2d", layer((2, 3, 5, 6), (9, 3, 3, 3), 33, exact=False, **options))


@pytest.mark.parametrize("surrogate", SURROGATES[1:], ids=lambda s: f"{s.kind}-{s.scale}")
@pytest.mark.parametrize(("decay", "steps", "exact"), [(0.5, 8, True), (0.9, 8, False), (0.99, 254, False)])
def test_decay(decay: float, steps: int, exact: bool, surrogate: object) -> None:
    case = layer((2, 3, 4, 4), (9, 3, 3, 3), steps, exact=exact, decay=decay, surrogate=surrogate, stride=2, padding=1)
    check_layer("conv2d", case)


@pytest.mark.parametrize("surrogate", [triangle(), sigmoid()], ids=lambda s: s.kind)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("inputs", "pool"), [((2, 3, 4, 6), 2), ((2, 5, 6, 3), 3), ((2, 3, 7, 5), 2), ((1, 1, 8, 8), 4)]
)
def test_pooling(inputs: tuple[int, ...], pool: int, stride: int, surrogate: object) -> None:
    for pattern in ("mixed", "tied", "early"):
        options = {"avg_pool": pool, "padding": 1, "stride": stride, "surrogate": surrogate}
        check_layer("conv2d", layer(inputs, (9, inputs[1], 3, 3), 8, pattern=pattern, exact=pool != 3, **options))


@settings(max_examples=80)
@given(data=st.data())
def test_random_layers(data: st.DataObject) -> None:
    kernel = (data.draw(st.integers(1, 7), "kernel height"), data.draw(st.integers(1, 7), "kernel width"))
    padding = (data.draw(st.integers(0, 4), "padding height"), data.draw(st.integers(0, 4), "padding width"))
    pool = data.draw(st.sampled_from([1, 1, 2, 3]), "pool")
    least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    size = [
        pool * (low + data.draw(st.integers(0, 4), "extra size")) + data.draw(st.integers(0, pool - 1)) for low in least
    ]
    inputs = (data.draw(st.integers(1, 3), "batch"), data.draw(st.integers(1, 6), "channels"), *size)
    steps = data.draw(st.sampled_from([1, 2, 8, 64]), "steps")
    case = layer(
        inputs,
        (data.draw(st.integers(1, 20), "outputs"), inputs[1], *kernel),
        steps,
        pattern=data.draw(st.sampled_from(PATTERNS), "pattern"),
        regime=data.draw(st.sampled_from(REGIMES), "regime"),
        exact=False,
        bias=data.draw(st.booleans(), "bias"),
        seed=data.draw(st.integers(0, 2**20), "seed"),
        avg_pool=pool,
        stride=(data.draw(st.integers(1, 3), "stride height"), data.draw(st.integers(1, 3), "stride width")),
        padding=padding,
        surrogate=data.draw(st.sampled_from(ROUND), "surrogate"),
        threshold=data.draw(st.floats(0.25, 3), "threshold"),
        decay=data.draw(st.sampled_from(decays(steps)), "decay"),
    )
    check_layer("conv2d", case, enough=0)


@pytest.mark.parametrize("decay", [1.0, 0.9])
@pytest.mark.parametrize("steps", [1, 8, 254])
@pytest.mark.parametrize(
    ("inputs", "weight", "options"),
    [
        ((3, 1, 9, 8), (7, 1, 3, 3), {"padding": 1}),
        ((2, 1, 9, 8), (70, 1, 3, 3), {"stride": (2, 1)}),
        ((2, 1, 5, 6), (5, 1, 2, 2), {"padding": (3, 2)}),
        ((1, 1, 8, 9), (33, 1, 3, 5), {"stride": (1, 2), "padding": (1, 0)}),
        ((2, 3, 6, 7), (20, 3, 3, 3), {"padding": 1}),
        ((2, 1, 8, 8), (9, 1, 7, 9), {"padding": 2, "stride": 2}),
        ((2, 4, 6, 6), (9, 4, 4, 4), {"padding": 1}),
    ],
    ids=str,
)
def test_few_weight_rows(
    inputs: tuple[int, ...], weight: tuple[int, ...], options: dict, steps: int, decay: float
) -> None:
    """One to sixty-four rows: both sides of what a tile of traces holds."""
    for pattern in ("mixed", "tied"):
        check_layer("conv2d", layer(inputs, weight, steps, pattern=pattern, exact=False, decay=decay, **options))


@settings(max_examples=60)
@given(data=st.data())
def test_random_layers_of_one_channel(data: st.DataObject) -> None:
    kernel = (data.draw(st.integers(1, 8), "kernel height"), data.draw(st.integers(1, 8), "kernel width"))
    padding = (data.draw(st.integers(0, 4), "padding height"), data.draw(st.integers(0, 4), "padding width"))
    size = [max(1, k - 2 * p) + data.draw(st.integers(0, 5)) for k, p in zip(kernel, padding, strict=True)]
    case = layer(
        (data.draw(st.integers(1, 10), "batch"), 1, *size),
        (data.draw(st.integers(1, 70), "outputs"), 1, *kernel),
        data.draw(st.sampled_from([1, 2, 8, 64]), "steps"),
        pattern=data.draw(st.sampled_from(PATTERNS), "pattern"),
        regime=data.draw(st.sampled_from(REGIMES), "regime"),
        exact=False,
        seed=data.draw(st.integers(0, 2**20), "seed"),
        stride=(data.draw(st.integers(1, 3), "stride height"), data.draw(st.integers(1, 3), "stride width")),
        padding=padding,
        surrogate=data.draw(st.sampled_from(ROUND), "surrogate"),
        decay=data.draw(st.sampled_from([1.0, 0.875]), "decay"),
    )
    check_layer("conv2d", case, enough=0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 0, 1), (1, 0, 3, 2)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_gradients_do_not_depend_on_the_order_of_the_weight_in_memory(kernel: int, order: tuple[int, ...]) -> None:
    case = layer((2, 20, 6, 7), (9, 20, kernel, kernel), 8, padding=kernel // 2)
    back = [order.index(i) for i in range(4)]
    gradients = []
    for weight in (case.weight, case.weight.permute(order).contiguous().permute(back)):
        x = SpikeTimes(case.times, case.steps).dense().requires_grad_()
        functional.conv2d(SpikeTimes.from_dense(x), weight, case.bias, **case.options).dense().square().sum().backward()
        gradients.append(x.grad)
    assert float(gradients[0].abs().max()) > 0
    assert torch.equal(*gradients)


def test_a_stride_far_beyond_the_map_makes_one_output() -> None:
    spikes = SpikeTimes(spike_times((2, 3, 4, 5), 8, "mixed", generator(0)), 8)
    weight = torch.randn(5, 3, 2, 2, generator=generator(1)).mul(0.5).requires_grad_()
    found = [functional.conv2d(spikes, weight, stride=stride) for stride in (5, 2**31 - 1)]
    assert found[1].shape == (2, 5, 1, 1) and found[0] == found[1]
    one, other = (torch.autograd.grad(spikes.dense().sum(), weight)[0] for spikes in found)
    assert torch.equal(one, other) and one.any()


@pytest.mark.parametrize("kind", [triangle(), atan()])
def test_shapes_without_data(kind: Surrogate) -> None:
    """On device meta, also where training takes the dense path."""
    spikes = SpikeTimes(torch.empty(2, 3, 6, 6, dtype=torch.uint8, device="meta"), 8)
    weight = torch.empty(5, 3, 3, 3, device="meta", requires_grad=True)
    assert functional.conv2d(spikes, weight, padding=1, surrogate=kind).shape == (2, 5, 6, 6)
    matrix = torch.empty(4, 3 * 36, device="meta", requires_grad=True)
    assert functional.linear(spikes, matrix, surrogate=kind).shape == (2, 4)
