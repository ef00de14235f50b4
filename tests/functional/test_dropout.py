"""`functional.dropout` against its readable float64 reference: what is lost, and the gradients of what is left."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike import SpikeTimes, functional, reference
from firstspike.surrogate import triangle

from ..compare import close, same_on_threads
from ..samples import SILENT, generator, spike_times


def seed_of(value: int) -> torch.Tensor:
    """A seed as the function takes it."""
    return torch.tensor([value])


def check(shape: tuple[int, ...], steps: int, p: float, seed: int) -> None:
    """The times of a train, and the gradient of the train that they came from."""
    train = SpikeTimes(spike_times(shape, steps, "mixed", generator(seed)), steps).dense()
    mine, expected = train.clone().requires_grad_(), train.double().requires_grad_()
    got = functional.dropout(SpikeTimes.from_dense(mine), p, seed=seed_of(seed))
    counterpart = reference.dropout(reference.SpikeTrain(expected), p, seed=seed_of(seed))
    assert torch.equal(got.times, counterpart.times) and got.steps == steps
    gradient = torch.randn(train.shape, generator=generator(1))
    got.dense().backward(gradient)
    counterpart.dense().backward(gradient.double())
    close(mine.grad, expected.grad, "gradient of the train")


@settings(max_examples=40)
@given(
    batch=st.integers(0, 3),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).filter(lambda s: len(s) != 2),
    steps=st.sampled_from([1, 2, 8, 254]),
    p=st.floats(0, 1),
    seed=st.integers(0, 2**62),
)
def test_random_trains(batch: int, shape: list[int], steps: int, p: float, seed: int) -> None:
    check((batch, *shape), steps, p, seed)


@pytest.mark.parametrize("channels", [5, 64, 70])
@pytest.mark.parametrize("size", [(), (4, 3)], ids=str)
def test_support_of_a_fused_layer(channels: int, size: tuple[int, ...]) -> None:
    """Behind a fused layer the gradients travel at its support; they are those of the dense way, bit for bit."""
    current = torch.randn(4, channels, *size, generator=generator(0))
    gradient = torch.randn(8, *current.shape, generator=generator(1))
    found = []
    for dense in (False, True):
        x = current.clone().requires_grad_()
        spikes = functional.ramp(x, 8, surrogate=triangle(2.0))
        spikes = SpikeTimes.from_dense(spikes.dense()) if dense else spikes
        left = functional.dropout(spikes, 0.4, seed=seed_of(7))
        left.dense().backward(gradient)
        found.append((left.times, x.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    lost = found[0][0] == SILENT
    assert lost.any() and not found[0][1][lost & (functional.ramp(current, 8).times != SILENT)].any()


@pytest.mark.parametrize("shape", [(4, 7), (3, 5, 4, 2)])
def test_values_of_windows(shape: tuple[int, ...]) -> None:
    """Dropped neurons of layers of windows have the value and the gradient 0; the others keep theirs."""
    x = torch.rand(shape, generator=generator(0)).requires_grad_()
    spikes = functional.windowed_encode(x, 255)
    left = functional.dropout(spikes, 0.4, seed=seed_of(3))
    kept = ~functional.dropout(SpikeTimes(torch.zeros(shape, dtype=torch.uint8), 4), 0.4, seed=seed_of(3)).silent
    assert torch.equal(left.times, spikes.times.where(kept, SILENT)) and left.steps == 255
    gradient = torch.randn(shape, generator=generator(1))
    functional.windowed_values(left).backward(gradient)
    assert torch.equal(x.grad, gradient * kept)


def test_share_and_independence() -> None:
    """As many stay as asked for, in every channel, and neighbours and seeds do not go together."""
    ones = SpikeTimes(torch.zeros(4096, 33, dtype=torch.uint8), 4)
    stay = [(functional.dropout(ones, 0.25, seed=seed_of(seed)).times == 0).double() for seed in (1, 2)]
    for x in stay:
        assert (x.mean(0) - 0.75).abs().max() < 5 * (0.75 * 0.25 / 4096) ** 0.5
    pairs = torch.corrcoef(torch.cat(stay, 1).T) - torch.eye(66)
    assert pairs.abs().max() < 5 / 4096**0.5


def test_threads_change_nothing() -> None:
    spikes = functional.ramp(torch.rand(16, 40, 9, 7, generator=generator(0)), 8)
    same_on_threads(lambda: [functional.dropout(spikes, 0.3, seed=seed_of(11)).times])


def test_seed_comes_from_torchs_generator() -> None:
    spikes = SpikeTimes(torch.zeros(8, 64, dtype=torch.uint8), 4)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(functional.dropout(spikes, 0.5).times)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
