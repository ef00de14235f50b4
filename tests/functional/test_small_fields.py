"""Convolutions with few units in a field: the same times with and without a record, whole batches and single samples."""

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional

from ..samples import SILENT, generator, spike_times


def maps(shape: tuple[int, ...], steps: int) -> Tensor:
    """Times of which the left half of each map is silent, and all of the first one."""
    times = spike_times(shape, steps, "mixed", generator(0))
    times[0] = SILENT
    times[..., : shape[-1] // 2] = SILENT
    return times


@pytest.mark.parametrize(("decay", "synaptic_decay"), [(1.0, 0.0), (0.9, 0.0), (1.05, 0.0), (1.0, 0.75)])
@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("steps", [1, 8, 9, 254])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 3), (1, 32), (2, 70), (7, 33)])
def test_times_with_and_without_a_record(
    channels: int, outputs: int, steps: int, shortcut: bool, decay: float, synaptic_decay: float
) -> None:
    g = generator(1)
    times = maps((3, channels, 6, 19), steps)
    weight = torch.randn(outputs, channels, 3, 3, generator=g) * channels**-0.5
    bias = torch.randn(outputs, generator=g) * 1.5 / steps  # some neurons fire without a spike, at different steps
    options = {"padding": 1, "decay": decay, "synaptic_decay": synaptic_decay}
    beside = maps((3, outputs, 6, 19), steps) if shortcut else None

    def run(samples: slice, learn: bool) -> Tensor:
        if beside is not None:
            options["shortcut"] = SpikeTimes(beside[samples], steps)
        spikes = SpikeTimes(times[samples], steps)
        return functional.conv2d(spikes, weight.clone().requires_grad_(learn), bias, **options).times

    whole = run(slice(None), learn=True)
    assert torch.equal(run(slice(None), learn=False), whole)
    assert torch.equal(torch.cat([run(slice(i, i + 1), learn=False) for i in range(3)]), whole)
    if decay == 1.0 and not shortcut and not synaptic_decay:
        reached = bias * torch.arange(1, steps + 1)[:, None] >= 1  # the first map has no spike
        first = torch.where(reached.any(0), reached.int().argmax(0), SILENT)
        assert outputs == 3 or len(first.unique()) > 1
        assert torch.equal(whole[0], first.to(torch.uint8)[:, None, None].expand(-1, 6, 19))
