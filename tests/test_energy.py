"""Energy tables: every table that ships is cited, users' files work, and errors name what is wrong."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from firstspike import emulator, energy


@pytest.mark.parametrize("name", energy.names())
def test_tables_are_cited(name):
    table = energy.load(name)
    assert table.name == name and table.source and table.note


def test_tables_that_disagree_both_ship():
    assert energy.load("45nm-float").synaptic_operation_pj != energy.load("45nm-integer").synaptic_operation_pj


def test_bad_tables(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\ntitle = "t"\nsource = "s"\nnote = "n"\nsynaptic_operation_pj = -1.0\n')
    with pytest.raises(ValueError, match=r"t\.toml: t: synaptic_operation_pj must be at least 0, got -1\.0"):
        energy.load(path)
    path.write_text('name = "t"\ntitle = "t"\nsource = "s"\nnote = "n"\nsynaptic_operation_pj = 1.0\nwatts = 3\n')
    with pytest.raises(ValueError, match="watts"):
        energy.load(path)
    path.write_text('name = "t"\ntitle = "t"\nsource = ""\nnote = "n"\nsynaptic_operation_pj = 1.0\n')
    with pytest.raises(ValueError, match="source must be a text that is not empty"):
        energy.load(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (('spike_pj = ', 'spikes_pj = '), "t.toml has no spikes_pj; did you mean spike_pj"),
        (('source = ', '# '), "t.toml: source must be given"),
        (('spike_pj = 1.0', 'all_inclusive = "no"'), "t.toml: t: all_inclusive must be bool, got 'no'"),
        (('note = "n"', 'note = "n"\nall_inclusive = true'), "t: spike_pj must be left out where all_inclusive is true"),
        (('spike_pj = 1.0', 'spike_pj = nan'), "t.toml: t: spike_pj must be finite, got nan"),
        (('spike_pj = 1.0', 'mesh_rows = 2.0'), "t.toml: t: mesh_rows must be int or none, got 2.0"),
        (('spike_pj = 1.0', 'spike_pj = true'), "t.toml: t: spike_pj must be float or none, got True"),
    ],
)  # fmt: skip
def test_fields_that_are_wrong_are_named(tmp_path, change, text):
    lines = ['name = "t"', 'title = "t"', 'source = "s"', 'note = "n"', "synaptic_operation_pj = 1.0", "spike_pj = 1.0"]
    (tmp_path / "t.toml").write_text("\n".join(lines).replace(*change))
    with pytest.raises((TypeError, ValueError), match=text):
        energy.load(tmp_path / "t.toml")


def test_a_name_that_is_not_there():
    with pytest.raises(ValueError, match=r"energy table must be one of 45nm-float, .* got 'free'"):
        energy.load("free")


def test_a_file_that_is_no_text_or_nested_too_deeply(tmp_path):
    path = tmp_path / "t.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"t\.toml cannot be read as text"):
        energy.load(path)
    path.write_text("a = " + "[" * 20000 + "]" * 20000)
    with pytest.raises(ValueError, match=r"t\.toml is nested too deeply"):
        energy.load(path)


def test_the_emulator_shows_the_same_class():
    assert emulator.EnergyTable is energy.EnergyTable


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("mesh_rows = 0", "mesh_rows must be at least 1, got 0"),
        ("mesh_rows = 4", "hops need all of hop_east_west_pj, hop_north_south_pj, mesh_rows, cores_per_tile"),
        ("message_pj = -1.0", "message_pj must be at least 0, got -1.0"),
    ],
)
def test_bad_meshes(tmp_path, line, text):
    path = tmp_path / "t.toml"
    path.write_text(f'name = "t"\ntitle = "t"\nsource = "s"\nnote = "n"\nsynaptic_operation_pj = 1.0\n{line}\n')
    with pytest.raises(ValueError, match=text):
        energy.load(path)


def test_numbers_of_numpy_and_whole_ones_become_floats():
    made = energy.EnergyTable("t", "t", "s", "n", np.float32(0.5), spike_pj=2, static_mw=np.int64(3))
    assert made == energy.EnergyTable("t", "t", "s", "n", 0.5, spike_pj=2.0, static_mw=3.0)
    assert type(made.synaptic_operation_pj) is type(made.spike_pj) is type(made.static_mw) is float


def test_the_page_on_energy_has_every_key():
    page = (Path(__file__).parents[1] / "docs" / "howto" / "energy.md").read_text(encoding="utf-8")
    table = page.partition("| key | unit | meaning |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(energy.EnergyTable))


def test_an_operation_of_a_convolution_has_its_own_figure_where_there_is_one():
    finer, plain = energy.load("loihi-sanafe"), energy.load("45nm-integer")
    assert (finer.operation_pj(convolution=True), finer.operation_pj(convolution=False)) == (24.0, 35.5)
    assert plain.operation_pj(convolution=True) == plain.operation_pj(convolution=False) == 1.35
