"""Profiles: every parameter has a source, users' files work, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from firstspike.emulator.program import profile
from firstspike.report import markdown


@pytest.mark.parametrize("name", profile.names())
def test_every_parameter_has_a_source(name):
    p = profile.load(name)
    plain = {f.name for f in dataclasses.fields(p)} - {"name", "description", "cores", "sources"}
    given = {n for n in plain if getattr(p, n) not in (None, False)} | set(p.sources)
    assert given <= set(p.sources), given - set(p.sources)
    assert all(text for text in p.sources.values()) and all(core.source for core in p.cores)
    assert profile.Profile.from_dict(p.to_dict()) == p


def test_the_four_profiles_ship():
    assert profile.names() == ["generic8", "loihi-like", "odin-like", "speck-like"]


def test_unknown_parameters_are_said():
    assert any(text.startswith("bias_bits: ") for text in profile.load("speck-like").unknown())


def test_names_that_are_not_there():
    with pytest.raises(ValueError, match=r"profile must be one of generic8, .* got 'loihi2'"):
        profile.load("loihi2")


def test_the_table_in_the_docs_is_that_of_the_profiles():
    text = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- profiles -->\n")[2].partition("<!-- end profiles -->")[0]
    assert shown == markdown(profile.table())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": 5}, "name must be a text"),
        ({"sources": {"fire": None}}, "sources must be a dict of texts"),
        ({"energy": 3}, "energy must be the name of an energy table, an EnergyTable or None, got 3"),
        ({"shared_weights": "no"}, "shared_weights must be one of True, False"),
        ({"shared_weights": 1}, "shared_weights must be one of True, False"),
        ({"membrane_values": "odd"}, "membrane_values must be one of signed, symmetric, unsigned"),
        ({"accumulator_bits": "24"}, "accumulator_bits must be an int from 2 to 61"),
        ({"bias_bits": 2.5}, "bias_bits must be an int from 0 to 40"),
        ({"bias_bits": -13}, "bias_bits must be an int from 0 to 40"),
        ({"single_spike_steps": "63"}, "single_spike_steps must be an int from 1 to 254"),
        ({"threshold_groups": "16"}, "threshold_groups must be an int"),
        ({"threshold_groups": None}, 'threshold_groups must be a number where thresholds is "group"'),
        ({"membrane_values": "symmetric", "membrane_overflow": "wrap"}, 'membrane_overflow must be no "wrap" where'),
        ({"membrane_values": "unsigned", "membrane_bits": 61}, "membrane_bits must be at most 60 where"),
        ({"strides": 2}, "strides must be a list of positive ints"),
        ({"pools": (1, 0)}, "pools must be a list of positive ints"),
        ({"step_nanoseconds": (465, -5)}, "step_nanoseconds must be two numbers, above 0 and in order"),
        ({"step_nanoseconds": (5, float("nan"))}, "step_nanoseconds must be two numbers"),
        ({"step_nanoseconds": (1,)}, "step_nanoseconds must be two numbers"),
        ({"cores": [1]}, r"cores must be at least one kind of core, in TOML \[\[cores\]\]"),
        ({"cores": {"count": 1}}, "cores must be at least one kind of core"),
        ({"convolution_cores": True}, "its cores are convolution cores, neurons says nothing of them"),
        (
            {"cores": (profile.CoreKind(1, kernel_entries=4),)},
            "its cores are no convolution cores, kernel_entries says",
        ),
    ],
)
def test_values_that_no_chip_has(changes, text):
    with pytest.raises(ValueError, match=f"profile .*: {text}"):
        profile.load("loihi-like").replace(**changes)


def test_numbers_of_numpy_become_pythons():
    made = profile.load("speck-like").replace(weight_bits=np.int64(4), strides=[np.int64(1), 2], bias_bits=np.uint8(3))
    assert type(made.weight_bits) is int and made.strides == (1, 2) and type(made.strides[0]) is int
    timed = profile.load("loihi-like").replace(
        step_nanoseconds=(np.float32(1), np.int64(2)), cores=(profile.CoreKind(np.int64(3), neurons=np.int32(8)),)
    )
    assert timed.step_nanoseconds == (1.0, 2) and timed.cores == (profile.CoreKind(3, neurons=8),)
    for each in (made, timed):
        assert profile.Profile.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_an_unknown_parameter_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"profile has no parameter weight_bit; did you mean weight_bits\?"):
        profile.load("generic8").replace(weight_bit=4)


def test_a_profile_without_steps_in_time_may_leave_them_out():
    values = profile.load("generic8").to_dict()
    del values["step_nanoseconds"]
    assert profile.Profile.from_dict(values).step_nanoseconds is None


def test_half_of_a_range_is_named(tmp_path):
    text = (resources.files("firstspike.emulator.program") / "profiles" / "loihi-like.toml").read_text()
    assert text.count("\nhigh = ") == 1
    (tmp_path / "mine.toml").write_text("\n".join(line for line in text.split("\n") if not line.startswith("high = ")))
    with pytest.raises(ValueError, match="step_nanoseconds must have one of value, .* got low = 113"):
        profile.load(tmp_path / "mine.toml")


def test_a_list_of_cores_is_kept_as_a_tuple():
    """So that the profile of a saved program is the one that it was made for."""
    loihi = profile.load("loihi-like")
    listed = loihi.replace(cores=list(loihi.cores))
    assert listed.cores == loihi.cores
    assert profile.Profile.from_dict(json.loads(json.dumps(listed.to_dict()))) == listed
