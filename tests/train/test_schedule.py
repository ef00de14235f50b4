"""The learning rate, by hand."""

import math

import pytest

from firstspike.train.schedule import learning_rate


def rates(schedule, total=10, warmup=0.0):
    return [learning_rate(s, total=total, peak=2.0, schedule=schedule, warmup=warmup) for s in range(total)]


def test_cosine():
    found = rates("cosine")
    assert found[0] == 2.0
    assert found[5] == pytest.approx(1.0)
    assert found[9] == pytest.approx(1 + math.cos(0.9 * math.pi))
    assert found == sorted(found, reverse=True)


def test_linear_and_constant():
    assert rates("linear", total=4) == [2.0, 1.5, 1.0, 0.5]
    assert rates("constant", total=3) == [2.0, 2.0, 2.0]


def test_warmup_rises_to_the_peak():
    assert rates("constant", total=6, warmup=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert rates("linear", total=8, warmup=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 1.5, 1.0, 0.5]
    assert max(rates("cosine", total=20, warmup=2.5)) <= 2.0


def test_all_warmup():
    assert rates("cosine", total=4, warmup=4) == [0.5, 1.0, 1.5, 2.0]


def test_unknown():
    with pytest.raises(ValueError, match=r"schedule must be"):
        rates("steps")
