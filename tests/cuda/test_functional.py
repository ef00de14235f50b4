"""The package's functions on the CUDA kernels, compared with their float64 references; run on the stand-in device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, encode, functional, ops
from firstspike.ops import _cuda, _operator
from firstspike.surrogate import Surrogate, atan, rectangle, triangle

from ..compare import check_layer
from ..functional.test_dropout import test_random_trains, test_support_of_a_fused_layer  # noqa: F401  # run here too
from ..functional.test_layers import cases, check
from ..functional.test_neurons import check as check_neurons
from ..functional.test_neurons import test_exact_currents  # noqa: F401
from ..nn.test_pool import test_max_agrees_with_torch_and_has_its_gradient  # noqa: F401
from ..samples import generator, layer, spike_times

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


@pytest.mark.parametrize("name", ["linear", "conv2d", "integrate"])
@settings(max_examples=20)
@given(data=st.data())
def test_random_layers(name: str, data: st.DataObject) -> None:
    check(name, data.draw(cases(name, synaptic=False)), **({} if name == "integrate" else {"enough": 0}))


@pytest.mark.parametrize("surrogate", [triangle(), rectangle(), atan()], ids=lambda s: s.kind)
@pytest.mark.parametrize(("decay", "steps"), [(0.5, 8), (0.9, 50), (0.99, 254), (1.5, 8)])
def test_neurons(decay: float, steps: int, surrogate: Surrogate) -> None:
    neuron = {"surrogate": surrogate, "decay": decay}
    check_neurons("fire", torch.randn(steps, 3, 21, generator=generator(0)) * 0.5, False, **neuron)
    current = torch.randn(6, 35, generator=generator(0)) * 2 * (1 - decay + 1 / steps)
    check_neurons("ramp", current, False, steps, threshold=0.75, **neuron)


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
    arguments = (times, None, None, None, weight, bias, (2, 1, 1, 3, 1, 1, 1, 1, 1, 0, 0, 5, 4), (1.0, 1.0, 0.0, 1.0, 0.0))
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
