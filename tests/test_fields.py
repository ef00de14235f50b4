"""Fields of dataclasses: numbers of NumPy become Python's, and what is of another type is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest

from firstspike._base import fields
from firstspike.train import Config


@dataclass(frozen=True)
class Some:
    count: int = 1
    rate: float = 0.5
    either: float | int = 0
    maybe: float | None = None
    on: bool = False
    sizes: tuple[int, ...] = ()

    def __post_init__(self):
        fields.check_types(self)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", np.int64(4), 4),
        ("count", np.uint8(4), 4),
        ("rate", np.float64(0.25), 0.25),
        ("rate", np.float32(0.25), 0.25),
        ("rate", np.int32(2), 2.0),
        ("rate", Fraction(1, 4), 0.25),
        ("either", np.int64(5), 5),
        ("either", np.float32(0.5), 0.5),
        ("maybe", np.float64(2.0), 2.0),
        ("maybe", np.int16(2), 2.0),
        ("sizes", [np.int64(1), 2], (1, 2)),
    ],
)
def test_numbers_of_numpy_become_pythons(name, value, expected):
    found = getattr(Some(**{name: value}), name)
    assert found == expected and type(found) is type(expected)
    assert name != "sizes" or all(type(each) is int for each in found)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("count", np.float64(4.0), TypeError, "count must be int, got 4.0"),
        ("count", np.True_, TypeError, "count must be int"),
        ("count", True, TypeError, "count must be int, got True"),
        ("rate", True, TypeError, "rate must be float, got True"),
        ("rate", "0.5", TypeError, "rate must be float, got '0.5'"),
        ("rate", 1j, TypeError, "rate must be float, got 1j"),
        ("rate", np.float32("nan"), ValueError, "rate must be finite, got nan"),
        ("rate", Fraction(10**400), ValueError, "rate must be finite, got inf"),
        ("rate", 10**400, TypeError, "rate must be float, got 1000"),
        ("on", np.int64(1), TypeError, "on must be bool, got 1"),
        ("maybe", "none", TypeError, "maybe must be float or none, got 'none'"),
    ],
)
def test_other_types_are_refused(name, value, error, message):
    with pytest.raises(error, match=message):
        Some(**{name: value})


def test_settings_of_numpy_are_those_of_python():
    config = Config(spec="64-10", lr=np.float64(0.1), steps=np.int64(4), validation=np.int64(5))
    assert config == Config(spec="64-10", lr=0.1, steps=4, validation=5)
    assert Config.from_dict(config.to_dict()) == config and "steps = 4\n" in config.to_toml()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"there is no setting epoch; did you mean epochs\?"):
        Config(spec="64-10").replace(epoch=3)


def test_a_field_without_a_default_must_be_given():
    fields.refuse_absent(["count", "rate"], Needy)
    with pytest.raises(ValueError, match=r"^in a: rate must be given$"):
        fields.refuse_absent({"count": 1}, Needy, "in a: ")


@dataclass
class Needy:
    count: int
    rate: float
    sizes: list = field(default_factory=list)
