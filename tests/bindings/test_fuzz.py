"""Random calls of the bound functions, a few of those that `fuzz.py` makes; under AddressSanitizer in `nox -s sanitize`."""

from __future__ import annotations

import pytest

from . import calls, fuzz


def test_every_bound_function_is_called() -> None:
    assert {*calls.recorded(), "IntegerNet", "Prepacked"} == calls.bound()


@pytest.mark.parametrize("seed", range(4))
def test_random_calls_succeed_or_are_refused(seed: int) -> None:
    outcomes = fuzz.run(0, 1000, seed)
    assert all(outcomes[kind.__name__] >= 3 for kind, _ in fuzz.KINDS), outcomes
    assert outcomes["succeeded"] > 300 and outcomes["ValueError"] > 100 and outcomes["TypeError"] > 30, outcomes
