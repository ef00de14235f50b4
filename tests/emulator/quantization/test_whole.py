"""Whole weights: their common unit is found, and whole thresholds decide as real ones for every sum."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike.emulator.quantization.whole import Sums, common_unit, keep


@given(bits=st.integers(2, 8), unit=st.floats(1e-12, 1e6), entries=st.integers(1, 60), seed=st.integers(0, 999))
def test_the_unit_of_whole_weights(bits, unit, entries, seed):
    whole = np.random.default_rng(seed).integers(-(1 << bits - 1), 1 << bits - 1, (6, entries))
    whole[0] = 0
    weight = (whole.astype(np.float32) * np.float32(unit)).astype(float)
    units = common_unit(weight)
    for row, value in zip(whole, units, strict=True):
        divisor = np.gcd.reduce(row)
        assert np.isnan(value) if divisor == 0 else abs(value / (unit * divisor) - 1) < 1e-6


def test_weights_of_a_float_net_have_no_unit():
    assert np.isnan(common_unit(np.random.default_rng(0).normal(size=(50, 9)))).all()


@settings(max_examples=60)
@given(
    rise=st.floats(0.5, 300),
    offset=st.floats(-500, 500),
    steps=st.sampled_from([1, 3, 7, 15, 63]),
    limit=st.sampled_from([1, 5, 31, 1000, 1 << 20]),
)
def test_kept_thresholds_give_the_levels_of_every_sum(rise, offset, steps, limit):
    low, high = -400.0, 900.0
    sums = Sums(*(np.array([x]) for x in (rise, offset, low, high)), steps)
    kept = keep(sums, np.ones(1), np.array([float(limit)]), 1)
    totals = np.arange(low, high + 1)
    real = (totals + offset) / rise
    levels = np.clip(np.floor(real), 0, steps)
    factor = round(1 / kept.unit[0])
    whole = np.clip((totals.astype(int) * factor + kept.offset[0]) // max(kept.rise[0], 1), 0, steps)
    clear = abs(real - np.rint(real)) > 1e-4  # of ties
    if limit == 1 << 20:
        assert kept.exact[0]
    if kept.exact[0]:
        assert kept.rise[0] >= 1 and factor <= limit
        np.testing.assert_array_equal(whole[clear], levels[clear])
    elif kept.rows[0]:
        assert (whole != levels)[clear].mean() < 0.02
