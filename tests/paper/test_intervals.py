import math

import pytest
from paper.intervals import NO, NOT_RESOLVED, YES, Interval, paired


def test_an_interval_is_students_t_over_seeds():
    found = Interval.of([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.seeds == 3
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t with two degrees of freedom
    assert found.text() == "+2.00 (-0.48 to +4.48)" and found.text(1, sign=False) == "2.0 (-0.5 to 4.5)"
    with pytest.raises(ValueError, match="at least one number"):
        Interval.of([])


@pytest.mark.parametrize(
    ("values", "bound", "answer"),
    [
        ([1.0, 1.1, 0.9], 0.0, YES),
        ([-1.0, -1.1, -0.9], 0.0, NO),
        ([1.0, -1.0, 0.5], 0.0, NOT_RESOLVED),
        ([1.0, 1.1, 0.9], 1.0, NOT_RESOLVED),
        ([92.9, 92.9, 92.9], 92.5, YES),
        ([-50.0], 0.0, NOT_RESOLVED),
    ],
)
def test_an_answer_needs_an_interval_on_one_side_and_never_comes_from_one_seed(values, bound, answer):
    assert Interval.of(values).above(bound) == answer


def test_differences_are_paired_by_seed():
    first, second = {0: 91.0, 1: 92.0, 5: 10.0}, {1: 90.0, 0: 89.0, 7: 0.0}
    found = paired(first, second)
    assert found is not None and found.mean == 2.0 and found.half_width == 0.0 and found.seeds == 2
    assert paired({0: 1.0}, {1: 1.0}) is None
