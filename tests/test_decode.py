"""Decoders by hand: scores, gradients, ties, decision steps, and bad input."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from firstspike import SpikeTimes, decode

S = 255


def spikes(rows: list[list[int]], steps: int = 4) -> SpikeTimes:
    """Output spikes [B, C]."""
    return SpikeTimes(torch.tensor(rows, dtype=torch.uint8), steps)


def close(got: Tensor, expected: list) -> None:
    """Equal to rounding."""
    torch.testing.assert_close(got, torch.tensor(expected))


def test_temporal_weighting_by_hand() -> None:
    out = spikes([[0, 1, 3, S]])
    close(decode.temporal_weighting(out, gamma=2.0), [[1.0, 0.5, 0.125, 0.0]])
    close(decode.temporal_weighting(out, gamma=2.0, mode="linear"), [[2.0, 1.5, 0.5, 0.0]])
    close(decode.temporal_weighting(out, gamma=1.0), [[1.0, 1.0, 1.0, 0.0]])


@pytest.mark.parametrize("mode", decode.TEMPORAL_MODES)
@pytest.mark.parametrize("steps", [1, 8, 254])
def test_temporal_weights_fall(mode: str, steps: int) -> None:
    weights = decode.temporal_weights(steps, gamma=1.1, mode=mode)
    assert weights.shape == (steps,) and (weights.diff() < 0).all() and (weights > 0).all()


def test_temporal_weighting_sends_its_weights_back() -> None:
    x = torch.zeros(3, 1, 2)
    x[1, 0, 0] = 1
    x.requires_grad_()
    scores = decode.temporal_weighting(SpikeTimes.from_dense(x), gamma=2.0)
    scores.backward(torch.tensor([[1.0, 10.0]]))
    close(x.grad[:, 0], [[1.0, 10.0], [0.5, 5.0], [0.25, 2.5]])


def test_membrane_by_hand() -> None:
    v = torch.tensor([[[3.0, 0.0]], [[0.0, 6.0]], [[6.0, 0.0]]])
    close(decode.membrane(v), [[6.0, 0.0]])
    close(decode.membrane(v, "mean"), [[3.0, 2.0]])
    close(decode.membrane(v, "weighted"), [[2.5, 2.0]])  # weights 3/6, 2/6, 1/6


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
    close(decode.overshoot(spikes([[1, 0, S]], 2), v), [[0.25, 0.5, -0.8]])
    close(decode.overshoot(spikes([[1, 0, S]], 2), v, threshold=0.5), [[0.75, 1.0, -0.3]])


def test_first_spike_ties_and_silence() -> None:
    out = spikes([[2, 1, 3], [1, 1, 3], [S, S, S], [S, 3, 3]])
    assert decode.first_spike(out).tolist() == [1, 0, 0, 1]
    over = torch.tensor([[9.0, 0.1, 9.0], [0.1, 0.2, 9.0], [-0.5, -0.2, -0.1], [9.0, 0.3, 0.3]])
    assert decode.first_spike(out, over).tolist() == [1, 1, 2, 1]


def test_population_by_hand() -> None:
    close(decode.population(torch.tensor([[1.0, 3.0, 5.0, 6.0]]), 2), [[2.0, 5.5]])
    close(decode.population(torch.tensor([[1.0, 3.0]]), 2), [[1.0, 3.0]])


def test_decision_step_by_hand() -> None:
    assert decode.decision_step(spikes([[2, 1, S], [S, S, S], [0, 0, 0]])).tolist() == [1, 4, 0]


def test_settled_step_by_hand() -> None:
    a, b = [1.0, 0.0], [0.0, 1.0]
    running = torch.tensor([[a, b, a, b], [a, b, b, a], [a, a, b, b]])  # [3 steps, 4 samples, 2 classes]
    assert decode.settled_step(running).tolist() == [0, 2, 1, 2]


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=6))
def test_settled_step_is_the_first_step_without_a_later_change(answers: list[list[int]]) -> None:
    running = torch.nn.functional.one_hot(torch.tensor(answers), 3).float()
    for sample, step in enumerate(decode.settled_step(running).tolist()):
        column = [row[sample] for row in answers]
        assert set(column[step:]) == {column[-1]}
        assert step == 0 or column[step - 1] != column[-1]


def test_ties_by_hand() -> None:
    out = spikes([[1, 1, 3, S], [1, 2, 2, 2], [S, S, S, S], [1, 3, 1, S]])
    assert decode.ties(out).tolist() == [True, False, False, True]
    assert decode.ties(out, classes=2).tolist() == [False, False, False, True]  # neurons 0 and 1 are one class


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**31))
def test_first_spike_is_one_of_the_earliest(batch: int, k: int, classes: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    times = torch.randint(0, 5, (batch, classes * k), generator=g, dtype=torch.int64)
    out = SpikeTimes(times.where(times < 4, S).to(torch.uint8), 4)
    chosen = decode.first_spike(out, torch.rand(batch, classes * k, generator=g))
    first = out.times.gather(1, chosen.unsqueeze(1)).squeeze(1)
    assert torch.equal(first, out.times.amin(1))
    assert torch.equal(decode.decision_step(out) == 4, first == S)


def test_nan_is_the_smallest_overshoot_where_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA."""
    monkeypatch.setattr("firstspike._base.checks.finite", lambda name, value: None)
    out, nan = spikes([[1, 1, 0], [1, 1, 3], [1, 1, 3]], 4), float("nan")
    over = torch.tensor([[nan, 1.0, nan], [nan, -5.0, 9.0], [nan, nan, 9.0]])
    assert decode.first_spike(out, over).tolist() == [2, 1, 0]
