import gc

import pytest

from benchmarks import timing


def test_median_quartiles_and_the_ratio_of_medians():
    found = timing.summarize([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert timing.summarize([7.0]) == timing.Summary(7.0, 7.0, 7.0)
    assert timing.speedup([10.0, 20.0, 60.0], [1.0, 4.0, 5.0]) == 20 / 4  # the median of the rounds' ratios is 10


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a call says so."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def call(seconds, log=None, name=""):
        def run():
            now[0] += seconds
            if log is not None:
                log.append(name)

        return run

    return call


def test_sides_take_turns_and_the_first_one_changes(clock):
    log = []
    sides = {name: clock(1.0, log, name) for name in "abc"}
    samples = timing.alternate(sides, timing.Effort(rounds=3, seconds=0.0, most=10, block=0.5, warmup=1))
    assert "".join(log) == "abc" + "abc" + "bca" + "cab"
    assert samples == {"a": [1.0] * 3, "b": [1.0] * 3, "c": [1.0] * 3}


def test_quick_calls_are_repeated_until_a_block_is_full(clock):
    log = []
    samples = timing.alternate({"quick": clock(0.25, log, "q")}, timing.Effort(rounds=2, seconds=0.0, block=1.0, warmup=2))
    assert len(log) == 2 + 2 * 4
    assert samples["quick"] == pytest.approx([0.25, 0.25])  # a call, not a block


def test_rounds_go_on_until_the_time_is_over_or_the_most_is_reached(clock):
    effort = timing.Effort(rounds=2, seconds=10.0, most=5, block=0.0, warmup=1)
    assert len(timing.alternate({"slow": clock(4.0)}, effort)["slow"]) == 3  # after 3 rounds, 12 seconds
    assert len(timing.alternate({"fast": clock(1.0)}, effort)["fast"]) == 5


def test_the_garbage_collector_is_on_again_even_after_an_error(clock):
    def fail():
        raise RuntimeError("broken side")

    calls = iter([clock(1.0), fail])
    with pytest.raises(RuntimeError, match="broken side"):
        timing.alternate({"a": lambda: next(calls)()}, timing.Effort(rounds=1, warmup=1))
    assert gc.isenabled()
