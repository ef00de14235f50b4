"""Launch arithmetic: the same bits on every device, in every order of the threads, for every way to run a pass."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike.ops import _cuda

from ..samples import Layer, generator, layer

CASES = {
    "linear": layer((70, 40), (100, 40), 8, exact=False),
    "linear, long": layer((5, 600), (35, 600), 40, exact=False, decay=0.9),
    "conv2d": layer((3, 16, 8, 6), (70, 16, 3, 3), 8, exact=False, padding=1),
    "conv2d, pooled": layer((2, 5, 9, 8), (33, 5, 3, 3), 8, exact=False, padding=1, avg_pool=2),
}


def run(case: Layer, linear: bool) -> list[Tensor]:
    """Times, membranes and all gradients, behind a layer of direct coding."""
    call = functional.linear if linear else functional.conv2d
    weight, bias = case.weight.clone().requires_grad_(), case.bias.clone().requires_grad_()
    current = torch.rand(case.times.shape, generator=generator(4)).requires_grad_()
    first = functional.ramp(current, case.steps)
    out = call(first, weight, bias, **case.options)
    dense = out.dense()
    dense.backward(torch.randn(dense.shape, generator=generator(5)))
    results = [out.times, weight.grad, bias.grad, current.grad]
    if linear:
        results.append(functional.integrate(SpikeTimes(first.times, case.steps), case.weight, case.bias))
    return results


def same(got: list[Tensor], expected: list[Tensor], what: object) -> None:
    """Equal to the last bit."""
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert torch.equal(a, b), f"result {i} differs: {what}"


@pytest.mark.parametrize("name", CASES)
def test_same_bits_however_it_runs(on_host: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case, linear = CASES[name], name.startswith("linear")
    expected = run(case, linear)
    assert all(float(grad.abs().max()) > 0 for grad in expected[1:4])
    for processors, shared, order in ((1, 48 * 1024, 1), (132, 227 * 1024, 2), (108, 163 * 1024, 3)):
        on_host.set_device(processors, shared, order)
        same(run(case, linear), expected, f"{processors} processors, order {order}")
    on_host.set_device(7, 227 * 1024, 0)
    for variant in ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2)):
        monkeypatch.setattr(_cuda, "VARIANT", _cuda.Variant(*variant))
        same(run(case, linear), expected, f"variant {variant}")


def test_times_do_not_depend_on_recording(on_host: ModuleType) -> None:
    for name, case in CASES.items():
        call = functional.linear if name.startswith("linear") else functional.conv2d
        spikes = SpikeTimes(case.times, case.steps)
        trained = call(spikes, case.weight.clone().requires_grad_(), case.bias, **case.options)
        assert torch.equal(call(spikes, case.weight, case.bias, **case.options).times, trained.times)


def test_too_large_a_layer_is_refused(on_host: ModuleType) -> None:
    geometry = [2**22, 1, 1, 2**10, 1, 1, 1, 1, 1, 0, 0, 10, 8]
    with pytest.raises(ValueError, match="split the batch"):
        on_host.fire_layer(geometry, (1.0, 1.0, 0, 1.0), 0, 0, (1, 1, 1, 1), 0, 0, _cuda.NO_SLOTS, 0, _cuda.VARIANT, 0)
    with pytest.raises(ValueError, match="too many elements for one launch"):
        on_host.fire(8, 2**42, (1.0, 1.0, 0, 1.0), 0, 0, 0)


def test_a_bad_variant_is_refused(on_host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "VARIANT", _cuda.Variant(3, 1))
    case = CASES["linear"]
    with pytest.raises(ValueError, match="tiles_a_warp must be 1, 2 or 4"):
        functional.linear(SpikeTimes(case.times, case.steps), case.weight)
