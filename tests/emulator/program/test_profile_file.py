"""Profiles as files: what a file must say, errors that name it, its energy table, and the way back to TOML."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources

import pytest

from firstspike import emulator as em
from firstspike import energy, models
from firstspike.emulator.program import profile

GENERIC = (resources.files("firstspike.emulator.program") / "profiles" / "generic8.toml").read_text()
TABLE = 'name = "mine"\ntitle = "t"\nsource = "s"\nnote = "n"\nsynaptic_operation_pj = 2.0\n'


def written(folder, *changes):
    """A file with the text of generic8 in which each (old, new) is replaced."""
    text = GENERIC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_users_file(tmp_path):
    changes = ('name = "generic8"', 'name = "mine"'), ("[weight_bits]\nvalue = 8", "[weight_bits]\nvalue = 5")
    mine = profile.load(written(tmp_path, *changes))
    assert mine.name == "mine" and mine.weight_bits == 5


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[weight_bits]\nvalue = 8", "[weight_bits]\nvalue = 99", "weight_bits must be an int from 2 to 31, got 99"),
        ("[weight_bits]\nvalue = 8", '[weight_bits]\nvalue = "8"', "weight_bits must be an int"),
        ('[fire]\nvalue = "ge"', '[fire]\nvalue = "eq"', "fire must be one of ge, gt"),
        ("[fire]", "[fires]", r"has no parameter fires; did you mean fire\?"),
        ("axons_in =", "axon_in =", r"has no parameter cores\[0\]\.axon_in; did you mean cores\[0\]\.axons_in\?"),
        ('source = "chosen: the width that most digital cores share"', "", "weight_bits must be a table with a source"),
        ("[weight_bits]", "[weight_bits", "not valid TOML"),
        (
            "[threshold_shift]\nvalue = 0",
            "[threshold_shift]\nvalue = 3",
            "threshold_shift must be at most weight_shift",
        ),
        (
            'value = "signed"\nsource = "chosen"\n[weight_shift]',
            'value = "odd"\nsource = "chosen"\n[weight_shift]',
            "weight_sign must be one of",
        ),
    ],
)
def test_broken_files_are_named(tmp_path, old, new, text):
    with pytest.raises(ValueError, match=text):
        profile.load(written(tmp_path, (old, new)))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[bias_bits]\nvalue", "[bias_bits]\nvaule", r"no key bias_bits\.vaule; did you mean bias_bits\.value\?"),
        ("value = 23", "value = 23\nnote = 3", r"there is no key threshold_bits\.note"),
        (
            "value = 23\n",
            "",
            "threshold_bits must have one of value, unknown = true, or low and high together, got none",
        ),
        ("value = 23", "unknown = false", "threshold_bits must have one of .* got unknown = False"),
        (
            "value = 23",
            "unknown = true\nvalue = 23",
            "threshold_bits must have one of .* got unknown = True and value = 23",
        ),
        ("value = 23", "value = 1\nlow = 1\nhigh = 23", "threshold_bits must have one of .* got value = 1"),
        ("value = 23", "low = 1", "threshold_bits must have one of .* got low = 1"),
        ("value = 23", "low = 1\nhigh = 23", "threshold_bits must be an int from 1 to 60, got"),
        ('name = "generic8"\n', "", "name must be given, and be a text that is not empty, got None"),
        ('name = "generic8"', 'name = ""', "name must be given"),
        ('name = "generic8"', "name = 8", "name must be given"),
        ("[fire]", "[sources]", "sources must be a dict of texts|fire must be given"),
        ('[fire]\nvalue = "ge"\nsource = "the', '[x]\nvalue = "ge"\nsource = "the', "has no parameter x"),
        ("count = 256\n", "", r"generic8: cores\[0\]\.count must be given"),
        ("count = 256", "count = 0", r"generic8: cores\[0\]: count of cores must be from 1 to 65536, got 0"),
        ("neurons = 4096", 'neurons = "many"', r"generic8: cores\[0\]: neurons of a core must be an int, got 'many'"),
        ("[[cores]]", "[cores]", r"cores must be at least one kind of core, in TOML \[\[cores\]\]"),
        ("[[cores]]", "[core]", "core must be a table with a source|there is no key core.count"),
    ],
)
def test_errors_name_the_file_the_parameter_and_the_key(tmp_path, old, new, text):
    path = written(tmp_path, (old, new))
    with pytest.raises(ValueError, match=f"^profile {re.escape(str(path))}: .*({text})"):
        profile.load(path)


def test_a_parameter_that_is_missing_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(re.sub(r"\[membrane_bits\]\n.*\n.*\n", "", GENERIC))
    with pytest.raises(ValueError, match=r"mine\.toml: generic8: membrane_bits must be given"):
        profile.load(path)


def test_a_description_may_be_left_out(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(re.sub("description = .*\n", "", GENERIC))
    assert profile.load(path).description == ""


def test_an_energy_table_is_found_beside_the_profile(tmp_path, monkeypatch):
    path = written(tmp_path, ('value = "45nm-integer"', 'value = "tables/mine.toml"'))
    with pytest.raises(
        ValueError, match=r"profile .*mine\.toml: generic8: energy: energy table: there is no file .*mine\.toml"
    ):
        profile.load(path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.toml").write_text(TABLE + "watts = 3\n")
    with pytest.raises(ValueError, match=r"generic8: energy: energy table .* has no watts"):
        profile.load(path)
    (tmp_path / "tables" / "mine.toml").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    found = profile.load("mine.toml")
    monkeypatch.chdir("/")
    (tmp_path / "tables" / "mine.toml").unlink()
    assert found.energy == found.energy_table() and found.energy.synaptic_operation_pj == 2.0


def test_no_energy_table_and_one_of_another_kind(tmp_path):
    assert profile.load("speck-like").energy_table() is None
    with pytest.raises(ValueError, match="generic8: energy must be the name of an energy table, an Energy"):
        profile.load(written(tmp_path, ('value = "45nm-integer"', "value = 3")))
    generic = profile.load("generic8")
    with pytest.raises(ValueError, match="profile generic8: energy: energy table: there is no file"):
        generic.replace(energy="gone.toml")
    with pytest.raises(ValueError, match="profile generic8: energy: energy table: there is no file"):
        replace(generic, energy="gone.toml").energy_table()


def changed():
    """Profiles as users make them, without and with what the ones that ship lack."""
    loihi, speck = profile.load("loihi-like"), profile.load("speck-like")
    return [
        loihi.replace(name="mine", weight_bits=4, step_nanoseconds=(0.5, 3), accumulator_bits=None, max_kernel=5),
        loihi.replace(description='two\nlines, "quoted"', step_nanoseconds=None, energy=None, strides=[1, 2]),
        loihi.replace(name="own table", energy=energy.load("loihi-sanafe")),
        speck.replace(energy="45nm-integer", cores=[em.profile.CoreKind(2, kernel_entries=0), speck.cores[0]]),
    ]


@pytest.mark.parametrize("made", [*map(profile.load, profile.names()), *changed()], ids=lambda made: made.name)
def test_written_and_read_again(tmp_path, made):
    path = tmp_path / "profile.toml"
    path.write_text(made.to_toml(), encoding="utf-8")
    back = profile.load(path)
    assert back == made and back.sources == made.sources and back.to_dict() == made.to_dict()
    assert back.unknown() == made.unknown()


def test_profile_and_program_hold_the_energy_table_of_a_file(tmp_path, monkeypatch):
    """`replace` reads a path from the working folder; what is written later needs the file no more."""
    (tmp_path / "mine.toml").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    made = profile.load("generic8").replace(energy="mine.toml")
    (tmp_path / "mine.toml").unlink()
    (tmp_path / "chip.toml").write_text(made.to_toml())
    program = em.quantize(models.mlp("6-4-3", steps=4), profile=made)
    back = em.load(em.save(program, tmp_path / "net.program"))
    for found in (made, profile.load("chip.toml"), back.profile):
        assert found.energy_table().synaptic_operation_pj == 2.0


def test_an_energy_table_inside_a_profile_is_checked(tmp_path):
    table = 'value = { name = "mine", title = "Mine", source = "me", note = "", synaptic_operation_pj = %s }'
    path = written(tmp_path, ('value = "45nm-integer"', table.replace('note = ""', 'note = "typical"') % 3.5))
    assert profile.load(path).energy_table().synaptic_operation_pj == 3.5
    path = written(tmp_path, ('value = "45nm-integer"', table % 3.5))
    with pytest.raises(ValueError, match=r"mine\.toml: generic8: energy: energy table mine: note must be a text"):
        profile.load(path)


def test_a_parameter_without_a_source_is_written_as_such(tmp_path):
    path = tmp_path / "profile.toml"
    bare = replace(profile.load("generic8"), sources={})
    path.write_text(bare.to_toml())
    back = profile.load(path)
    assert back == bare and back.sources["fire"] == back.sources["step_nanoseconds"] == "none given"
    assert "max_kernel" not in back.sources
