"""The energy table of a profile whose path was not read: what is written holds its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firstspike import emulator as em
from firstspike import energy, models
from firstspike.emulator.program import profile

from .test_profile_file import TABLE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with an energy table in it."""
    (tmp_path / "mine.toml").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_is_written_as_the_table(folder):
    made = replace(profile.load("generic8"), energy="mine.toml")
    program = em.quantize(models.mlp("6-4-3", steps=4), profile=made)
    em.save(program, folder / "net.program")
    (folder / "chip.toml").write_text(made.to_toml())
    assert program.synapse_difference(em.load("net.program")) is None  # the path is that table
    (folder / "mine.toml").unlink()
    for found in (em.load("net.program").profile, profile.load("chip.toml")):
        assert found.energy_table().synaptic_operation_pj == 2.0


def test_replace_takes_a_path(folder):
    made = profile.load("generic8").replace(energy=Path("mine.toml"))
    assert made.energy == energy.load("mine.toml")
    with pytest.raises(ValueError, match="profile generic8: energy: energy table: there is no file"):
        made.replace(energy=Path("45nm-integer"))


def test_the_path_of_a_table_that_is_gone_is_kept(folder):
    """So that a program of an older version, which had the path, can be saved again."""
    gone = replace(profile.load("generic8"), energy="gone.toml")
    back = profile.Profile.from_dict(gone.to_dict())
    assert back.energy == str(folder / "gone.toml") and back.to_dict() == gone.to_dict()
    assert str(folder / "gone.toml") in gone.to_toml()
    program = em.quantize(models.mlp("6-4-3", steps=4), profile=gone)
    assert em.load(em.save(program, "net.program")).profile == back


def test_a_file_that_is_no_table_is_named(folder):
    (folder / "mine.toml").write_text(TABLE + "watts = 3\n")
    made = replace(profile.load("generic8"), energy="mine.toml")
    for write in (made.to_dict, made.to_toml):
        with pytest.raises(ValueError, match=r"profile generic8: energy: energy table mine\.toml has no watts"):
            write()


def test_a_table_that_ships_is_written_by_its_name():
    assert profile.load("generic8").to_dict()["energy"] == "45nm-integer"
    assert profile.load("speck-like").to_dict()["energy"] is None
