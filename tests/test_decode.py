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


def test_bad_spikes() -> None:
    calls = [
        decode.first_spike,
        decode.decision_step,
        decode.ties,
        lambda s: decode.temporal_weighting(s, gamma=2.0),
        lambda s: decode.overshoot(s, torch.zeros(4, 1, 2)),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="spikes must be SpikeTimes, got Tensor"):
            call(torch.zeros(1, 2))
        with pytest.raises(ValueError, match=r"spikes must have shape \[batch, neurons\]"):
            call(SpikeTimes(torch.zeros(1, 2, 2, 2, dtype=torch.uint8), 4))
        with pytest.raises(ValueError, match=r"spikes must have shape \[batch, neurons\]"):
            call(SpikeTimes(torch.zeros(1, 0, dtype=torch.uint8), 4))


@pytest.mark.parametrize("call", [decode.membrane, decode.running_membrane])
def test_bad_membrane(call) -> None:
    with pytest.raises(ValueError, match="v must have 3 dimensions"):
        call(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="v must have at least one step"):
        call(torch.zeros(0, 2, 3))
    with pytest.raises(TypeError, match=r"v must be float32, got torch\.float64"):
        call(torch.zeros(1, 2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="mode must be one of last, mean, weighted, got 'first'"):
        call(torch.zeros(1, 2, 3), "first")


def test_other_bad_arguments() -> None:
    out = spikes([[0, 1]])
    with pytest.raises(ValueError, match="mode must be one of exp, linear"):
        decode.temporal_weighting(out, gamma=1.1, mode="log")
    with pytest.raises(ValueError, match=r"gamma \(mode exp\) must be a finite number of at least 1, got 0\.9"):
        decode.temporal_weighting(out, gamma=0.9)
    with pytest.raises(ValueError, match="gamma must be a finite number"):
        decode.temporal_weighting(out, gamma=0.0, mode="linear")
    with pytest.raises(ValueError, match=r"overshoot must have the spikes' shape \(1, 2\), got \(1, 3\)"):
        decode.first_spike(out, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"v must have shape \(4, 1, 2\), got \(3, 1, 2\)"):
        decode.overshoot(out, torch.zeros(3, 1, 2))
    with pytest.raises(ValueError, match="threshold must be a finite number above 0"):
        decode.overshoot(out, torch.zeros(4, 1, 2), threshold=-1.0)
    with pytest.raises(ValueError, match=r"scores must have shape \[\.\.\., 2 classes times k\], got \(1, 3\)"):
        decode.population(torch.zeros(1, 3), 2)
    with pytest.raises(TypeError, match=r"scores must be a torch\.Tensor"):
        decode.population([1.0], 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        decode.ties(out, 0)
    with pytest.raises(ValueError, match="classes must divide the 3 neurons of spikes, got 2"):
        decode.ties(spikes([[0, 1, 1]]), 2)
    with pytest.raises(TypeError, match=r"scores must be of a float type, got torch\.int64"):
        decode.population(torch.tensor([[1, 2, 3, 4]]), 2)
    with pytest.raises(ValueError, match="scores must have 3 dimensions"):
        decode.settled_step(torch.zeros(2, 3))
    with pytest.raises(
        ValueError, match=r"scores must have at least one step in \[steps, batch, classes\], got \(0, 2, 3\)"
    ):
        decode.settled_step(torch.zeros(0, 2, 3))
    with pytest.raises(ValueError, match=r"scores must have at least one class in .* got \(3, 2, 0\)"):
        decode.settled_step(torch.zeros(3, 2, 0))
    assert decode.settled_step(torch.zeros(3, 0, 2)).shape == (0,)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_overshoot_that_is_no_number_is_refused(value: float) -> None:
    """Before, a NaN made the class behind the last one win."""
    spikes = SpikeTimes(torch.zeros(1, 3, dtype=torch.uint8), 4)
    with pytest.raises(ValueError, match=r"overshoot must be finite, got (nan|inf) at \(0, 1\)"):
        decode.first_spike(spikes, torch.tensor([[0.0, value, 1.0]]))


def test_nan_is_the_smallest_overshoot_where_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA."""
    monkeypatch.setattr("firstspike._base.checks.finite", lambda name, value: None)
    out, nan = spikes([[1, 1, 0], [1, 1, 3], [1, 1, 3]], 4), float("nan")
    over = torch.tensor([[nan, 1.0, nan], [nan, -5.0, 9.0], [nan, nan, 9.0]])
    assert decode.first_spike(out, over).tolist() == [2, 1, 0]
