"""Decoders and latency coding against the reference (by hand in test_reference.py), and what it does not have by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from firstspike import SpikeTimes, decode, encode, reference

from .samples import PATTERNS, generator, spike_times

S = 255


def spikes(rows: list[list[int]], steps: int = 4) -> SpikeTimes:
    """Output spikes [B, C]."""
    return SpikeTimes(torch.tensor(rows, dtype=torch.uint8), steps)


@pytest.mark.parametrize("mode", decode.MEMBRANE_MODES)
def test_running_membrane_ends_with_the_scores(mode: str) -> None:
    v = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    running = decode.running_membrane(v, mode)
    assert running.shape == v.shape
    torch.testing.assert_close(running[-1], decode.membrane(v, mode))
    if mode != "weighted":  # there, up to a factor
        torch.testing.assert_close(running[2], decode.membrane(v[:3], mode))


def test_overshoot_by_hand() -> None:
    v = torch.tensor([[[0.5, 1.5, 0.1]], [[1.25, 3.0, 0.2]]])
    for threshold, expected in ((1.0, [[0.25, 0.5, -0.8]]), (0.5, [[0.75, 1.0, -0.3]])):
        got = decode.overshoot(spikes([[1, 0, S]], 2), v, threshold=threshold)
        torch.testing.assert_close(got, torch.tensor(expected))


def test_settled_step_by_hand() -> None:
    a, b = [1.0, 0.0], [0.0, 1.0]
    running = torch.tensor([[a, b, a, b], [a, b, b, a], [a, a, b, b]])  # [3 steps, 4 samples, 2 classes]
    assert decode.settled_step(running).tolist() == [0, 2, 1, 2]


SHAPES = st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 6, 12]))
STEPS = st.sampled_from([1, 2, 8, 64, 254])
SEEDS = st.integers(0, 2**20)


@given(values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), steps=STEPS, curve=st.sampled_from(["linear", "log"]))
def test_latency(values: list[float], steps: int, curve: str) -> None:
    """Equal, except that float32 may round the other way within 1e-4 of a half."""
    x = torch.tensor([values])
    got, expected = encode.latency(x, steps, curve), reference.latency(x.double(), steps, curve)
    assert torch.equal(got.silent, x == 0) and torch.equal(expected.silent, x == 0)
    depth = x.double().clamp(min=1 / 255).log() / torch.tensor(1 / 255, dtype=torch.float64).log() if curve == "log" else 1 - x
    exact = depth.clamp(0, 1) * (steps - 1)
    clear = ((exact - exact.floor() - 0.5).abs() > 1e-4) | (x == 0)
    assert torch.equal(got.times[clear], expected.times[clear])
    assert bool(((got.times.int() - expected.times.int()).abs() <= 1).all())


@given(levels=st.lists(st.integers(0, 8), min_size=1, max_size=20))
def test_latency_halves_to_even(levels: list[int]) -> None:
    """Eighths are exact in float32: every time is equal, the halves included."""
    x = torch.tensor([levels]) / 8
    assert torch.equal(encode.latency(x, 5).times, reference.latency(x, 5).times)


@given(shape=SHAPES, steps=STEPS, pattern=st.sampled_from(PATTERNS), seed=SEEDS, classes=st.sampled_from([1, 2, 3, 6]))
def test_first_spike_and_its_relatives(shape: tuple[int, int], steps: int, pattern: str, seed: int, classes: int) -> None:
    g = generator(seed)
    spikes = SpikeTimes(spike_times(shape, min(steps, 8), pattern, g), steps)
    over = torch.randint(-2, 3, shape, generator=g).float()
    assert torch.equal(decode.first_spike(spikes), reference.first_spike(spikes))
    assert torch.equal(decode.first_spike(spikes, over), reference.first_spike(spikes, over))
    assert torch.equal(decode.decision_step(spikes), reference.decision_step(spikes))
    assert torch.equal(decode.ties(spikes), reference.ties(spikes))
    if shape[1] % classes == 0:
        assert torch.equal(decode.ties(spikes, classes), reference.ties(spikes, classes))


@pytest.mark.parametrize("mode", ["exp", "linear"])
@given(shape=SHAPES, steps=STEPS, seed=SEEDS, gamma=st.floats(1, 2, width=32))
def test_temporal_weighting(mode: str, shape: tuple[int, int], steps: int, seed: int, gamma: float) -> None:
    """Scores, and the gradient of every step of the train."""
    times = spike_times(shape, steps, "mixed", generator(seed))
    counterpart = reference.SpikeTrain.from_times(times, steps).dense().requires_grad_()
    x = counterpart.detach().float().requires_grad_()
    expected = reference.temporal_weighting(reference.SpikeTrain(counterpart), gamma=gamma, mode=mode)
    got = decode.temporal_weighting(SpikeTimes.from_dense(x), gamma=gamma, mode=mode)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-30)
    grad = torch.randn(shape, generator=generator(1))
    got.backward(grad)
    expected.backward(grad.double())
    torch.testing.assert_close(x.grad.double(), counterpart.grad, rtol=1e-4, atol=1e-30)


@given(shape=SHAPES, steps=STEPS, seed=SEEDS, mode=st.sampled_from(["last", "mean", "weighted"]))
def test_membrane(shape: tuple[int, int], steps: int, seed: int, mode: str) -> None:
    v = torch.randn(steps, *shape, generator=generator(seed))
    torch.testing.assert_close(
        decode.membrane(v, mode).double(), reference.decode_membrane(v.double(), mode), rtol=1e-4, atol=1e-5
    )


@given(batch=st.integers(1, 5), classes=st.integers(1, 6), k=st.integers(1, 5), seed=SEEDS)
def test_population(batch: int, classes: int, k: int, seed: int) -> None:
    scores = torch.randn(batch, classes * k, generator=generator(seed))
    torch.testing.assert_close(decode.population(scores, classes), reference.population(scores, classes))
