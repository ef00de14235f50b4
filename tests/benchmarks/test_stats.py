import pytest
from benchmarks.stats import speedup, summarize


def test_median_and_quartiles_of_known_numbers():
    found = summarize([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (found.low, found.median, found.high, found.count) == (2.0, 3.0, 4.0, 5)


def test_one_sample_is_its_own_median():
    assert summarize([7.0]).median == summarize([7.0]).low == 7.0


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


def test_speedup_is_the_ratio_of_medians_with_the_spread_of_rounds():
    found = speedup([10.0, 20.0, 60.0], [1.0, 4.0, 5.0])
    assert found.median == 20 / 4  # the rounds' ratios are 10, 5, 12: their median would be 10
    assert (found.low, found.high) == (7.5, 11.0)


def test_speedup_needs_rounds_that_match():
    with pytest.raises(ValueError, match="same number of rounds, got 2 and 1"):
        speedup([1.0, 2.0], [1.0])
