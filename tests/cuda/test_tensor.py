"""The forward pass on tensor cores, with the stand-in's own product of matrices."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional
from firstspike.ops import _cuda
from firstspike.surrogate import rectangle, triangle

from ..compare import check_layer
from ..samples import Layer, layer

TENSOR = _cuda.Variant(product=2)
CASES: dict[str, tuple[str, Layer]] = {
    "one input": ("linear", layer((1, 1), (1, 1), 3)),
    "several tiles": ("linear", layer((11, 37), (70, 37), 8, exact=False, decay=0.9)),
    "whole products": ("linear", layer((8, 32), (32, 32), 5, exact=False, bias=False)),
    "all steps": ("linear", layer((2, 20), (5, 20), 254, exact=False, decay=0.95)),
    "pooled map": ("linear", layer((3, 5, 5, 7), (20, 5 * 2 * 3), 8, avg_pool=2)),
    "conv2d": ("conv2d", layer((2, 17, 5, 4), (33, 17, 3, 3), 6, exact=False, padding=1)),
    "stride": ("conv2d", layer((2, 3, 5, 8), (7, 3, 1, 4), 8, stride=(1, 2), padding=(0, 3), surrogate=rectangle())),
    "pooled by 2": ("conv2d", layer((1, 16, 7, 5), (40, 16, 3, 3), 8, padding=1, avg_pool=2, decay=0.5)),
    "pooled by 3": ("conv2d", layer((1, 6, 9, 10), (9, 6, 2, 2), 9, exact=False, avg_pool=3, surrogate=triangle(0.5))),
}
each_case = pytest.mark.parametrize("name", CASES)


def use(monkeypatch: pytest.MonkeyPatch, variant: tuple[int, ...]) -> None:
    """From now on the layers run so."""
    monkeypatch.setattr(_cuda, "VARIANT", variant)


def results(name: str) -> list[Tensor]:
    """Times without a record, times with one, and the record."""
    kind, case = CASES[name]
    call, spikes = getattr(functional, kind), SpikeTimes(case.times, case.steps)
    out = call(spikes, case.weight.clone().requires_grad_(), case.bias, **case.options)
    assert out._support is not None
    return [call(spikes, case.weight, case.bias, **case.options).times, out.times, *out._support]


@each_case
@pytest.mark.usefixtures("on_host")
def test_as_the_reference(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    use(monkeypatch, TENSOR)
    check_layer(*CASES[name])


@each_case
@pytest.mark.usefixtures("on_host")
def test_as_event_by_event(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    times, _, offset, slope, place = results(name)
    use(monkeypatch, TENSOR)
    got = results(name)
    assert torch.equal(got[0], times) and torch.equal(got[1], times)
    assert torch.equal(got[2], offset) and torch.equal(got[4], place)
    torch.testing.assert_close(got[3], slope, rtol=1e-4, atol=1e-4)


@each_case
def test_the_same_bits_however_it_runs(on_host: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    use(monkeypatch, TENSOR)
    expected = results(name)
    assert torch.equal(expected[0], expected[1])

    def same(what: str) -> None:
        for i, (got, wanted) in enumerate(zip(results(name), expected, strict=True)):
            assert torch.equal(got, wanted), f"result {i} differs: {what}"

    for processors, shared, order in ((1, 163 * 1024, 1), (132, 227 * 1024, 3)):
        on_host.set_device(processors, shared, order)
        for staging in (1, 2):
            use(monkeypatch, TENSOR._replace(staging=staging))
            for slot in (0, 1, 4):  # 0 and 1: groups are walked again
                monkeypatch.setattr(_cuda, "SLOT", slot)
                same(f"{processors} processors, staging {staging}, slot {slot}")


@pytest.mark.parametrize(("terms", "bound"), [(1, 2**-8), (2, 2**-16), (3, 2**-23)])
@pytest.mark.usefixtures("on_host")
def test_precision_of_the_terms(monkeypatch: pytest.MonkeyPatch, terms: int, bound: float) -> None:
    """One input spikes, so that a neuron's membrane is its weight, and the slope of a wide triangle tells it."""
    weight = torch.linspace(0.1, 0.9, 60)[:, None].requires_grad_()
    use(monkeypatch, TENSOR._replace(terms=terms))
    out = functional.linear(SpikeTimes(torch.zeros(1, 1, dtype=torch.uint8), 1), weight, surrogate=triangle(1.0))
    assert out._support is not None
    membrane = out._support[1].double()  # 1 - |V - 1|
    error = (membrane / weight[:, 0].detach().double() - 1).abs()
    assert float(error.max()) <= bound + 2**-21  # the slope's own rounding
    assert terms == 3 or float(error.max()) > bound / 8, "the weights are finer than the terms"


def test_terms_add_up_to_the_weight(host: ModuleType) -> None:
    assert host.bfloat16_terms(1.0, 3) == [1.0, 0.0, 0.0]
    # 1 + 2^-8 is half way between 1 and 1 + 2^-7: to even. 1 + 3 2^-8 goes up.
    assert host.bfloat16_terms(1 + 2**-8, 2) == [1.0, 2**-8]
    assert host.bfloat16_terms(1 + 3 * 2**-8, 2) == [1 + 2**-6, -(2**-8)]
    largest = float(torch.finfo(torch.float32).max)
    scale = (
        torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-30, 30).repeat(34)[:2000]
    )
    for value in (largest, -largest, 2.0**-110, *scale.tolist()):
        terms = host.bfloat16_terms(value, 3)
        assert sum(terms) == value and all(abs(b) <= abs(a) * 2**-7 for a, b in pairwise(terms))
    assert host.bfloat16_terms(float("inf"), 2) == [float("inf"), 0.0]
    assert host.bfloat16_terms(float("nan"), 2)[0] != host.bfloat16_terms(float("nan"), 2)[0]


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ((0, 0, 3, 0), "product must be 0, 1 .* got 3"),
        ((0, 0, -1, 0), "product must be"),
        ((0, 0, 2, 4), "terms must be 1, 2 or 3.* got 4"),
        ((0, 0, 1, 2), "terms must be 0"),
        ((0, 3, 2, 0), "staging must be 0, 1 or 2, got 3"),
    ],
)
@pytest.mark.usefixtures("on_host")
def test_a_bad_variant_is_refused(monkeypatch: pytest.MonkeyPatch, variant: tuple[int, ...], message: str) -> None:
    use(monkeypatch, variant)
    with pytest.raises(ValueError, match=message):
        results("one input")


@pytest.mark.usefixtures("on_host")
def test_too_large_a_pool_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, TENSOR)
    case = layer((1, 1, 16, 16), (2, 1, 1, 1), 2, avg_pool=16)
    with pytest.raises(ValueError, match="avg_pool of at most 15, got 16"):
        functional.conv2d(SpikeTimes(case.times, 2), case.weight, avg_pool=16)
