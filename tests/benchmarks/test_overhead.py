"""The overhead section times what users call, and sets it against the very kernel that the call runs."""

import pytest
import torch
from benchmarks.sections import overhead

from firstspike import SpikeTimes, functional

SIZE = 16


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_every_side_does_what_its_name_says() -> None:
    sides, failures = overhead._sides(SIZE)
    assert failures == {}
    results = {side: call() for side, call in sides.items()}
    for side in ("functional", "module"):
        kept, light = results[f"{side}, recording"], results[side]
        assert kept.requires_grad and not light.requires_grad
        assert torch.equal(kept.times, light.times)
        assert torch.equal(kept.times, results["compiled, 1"]), "the same layer in all"
    assert results[f"compiled, {overhead.DEEP}"].shape == (1, SIZE)


@pytest.mark.parametrize("record", [False, True])
def test_the_kernel_alone_gives_what_the_call_gives(record: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    spikes = SpikeTimes(torch.randint(0, 8, (1, SIZE), generator=generator).to(torch.uint8), 8)
    weight, bias = torch.randn(SIZE, SIZE, generator=generator), torch.randn(SIZE, generator=generator)
    fired = torch.empty((1, 1, 1, SIZE), dtype=torch.uint8)
    found = overhead._kernel(spikes, weight, bias, fired, record=record)()
    expected = functional.linear(spikes, weight.requires_grad_(), bias)
    assert torch.equal(fired.flatten(1), expected.times)
    assert (found is not None) == record
    if record:
        for got, want in zip(found, expected._support, strict=True):
            assert torch.equal(torch.from_numpy(got), want)
