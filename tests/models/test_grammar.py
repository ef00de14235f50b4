"""The string grammar: what it reads, and that an error's carets point at the token."""

from __future__ import annotations

import pickle

import hypothesis.strategies as st
import pytest
from hypothesis import given

from firstspike import models
from firstspike.models import GrammarError
from firstspike.models.grammar import POOLS, Conv, Linear, Pool

NUMBERS = st.integers(1, 300)
CONVS = st.builds("{}C{}".format, NUMBERS, st.sampled_from([1, 3, 5, 7]))
WINDOWS = st.tuples(NUMBERS, NUMBERS).map(lambda n: f"{n[0]}" if n[0] == n[1] else f"{n[0]}x{n[1]}")
POOLED = st.builds("{}-{}{}".format, CONVS, st.sampled_from(sorted(POOLS)), WINDOWS)
WIDTHS = st.lists(NUMBERS.map(str), min_size=1, max_size=4)
NETS = st.one_of(
    st.lists(NUMBERS.map(str), min_size=2, max_size=5),
    st.tuples(st.lists(CONVS | POOLED, min_size=1, max_size=4), WIDTHS).map(lambda parts: parts[0] + parts[1]),
).map("-".join)


def test_cnn() -> None:
    assert models.parse("32C3-AP2-64C5-MP3-10") == [
        Conv(0, 4, 32, (3, 3), (1, 1), (1, 1)),
        Pool(5, 8, "avg", (2, 2)),
        Conv(9, 13, 64, (5, 5), (1, 1), (2, 2)),
        Pool(14, 17, "max", (3, 3)),
        Linear(18, 20, 10),
    ]
    assert models.parse("8C1-EP2-10")[1] == Pool(4, 7, "earliest", (2, 2))
    assert models.parse("8C1-MP1x2-10")[1] == Pool(4, 9, "max", (1, 2))


@given(NETS)
def test_reads_what_it_writes(spec: str) -> None:
    tokens = models.parse(spec)
    assert "-".join(map(str, tokens)) == spec
    assert [spec[token.start : token.end] for token in tokens] == spec.split("-")


@given(st.text(alphabet="0123456789CAMESPR()s-x ", max_size=12))
def test_any_other_text_is_an_error_that_points_into_it(spec: str) -> None:
    try:
        tokens = models.parse(spec)
    except GrammarError as error:
        _, shown, carets = str(error).rsplit("\n", 2)
        assert shown == f"    {spec}"
        assert 0 <= error.start <= error.end <= len(spec)
        assert carets == " " * (4 + error.start) + "^" * max(1, error.end - error.start)
    else:
        assert "-".join(map(str, tokens)) == spec


WRONG = [
    ("8C3-R(8C3-8C3-10", ""),
    ("8C3-R(R(8C3))-10", "("),
    ("8C3-R(8C3-AP2)-10", "R(8C3-AP2)"),
    ("R(8C3)-10", "R(8C3)"),
    ("784-R(784)-10", "R(784)"),
    ("8C3-10-R(8C3)-10", "R(8C3)"),
    ("8C3x4-10", "8C3x4"),
    ("8C3x3-10", "8C3x3"),
    ("8C3s1-10", "8C3s1"),
    ("8C3s0-10", "8C3s0"),
    ("8C3-AP2x2-10", "AP2x2"),
    ("8C3-AP1x0-10", "AP1x0"),
    ("784-4x0-10", "4x0"),
    ("32C3-AX2-10", "AX2"),
    ("32C3-XP2-10", "XP2"),
    ("32c3-10", "32c3"),
    ("784- 400-10", " 400"),
    ("784-010-10", "010"),
    ("784-9999999999-10", "9999999999"),
    ("784-0-10", "0"),
    ("0C3-10", "0C3"),
    ("32C4-10", "32C4"),
    ("784-32C3-10", "32C3"),
    ("32C3-64-AP2-10", "AP2"),
    ("AP2-32C3-10", "AP2"),
    ("8C3-AP2-EP2-10", "EP2"),
    ("32C3-AP2", "AP2"),
    ("10", "10"),
]


@pytest.mark.parametrize(("spec", "token"), WRONG)
def test_error_points_at_the_token(spec: str, token: str) -> None:
    with pytest.raises(GrammarError) as caught:
        models.parse(spec)
    error = caught.value
    assert error.spec[error.start : error.end] == token
    assert isinstance(error, ValueError)


def test_a_pickled_error_says_the_same() -> None:
    with pytest.raises(GrammarError) as caught:
        models.parse("784-4x0-10")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
