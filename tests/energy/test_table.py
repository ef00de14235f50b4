"""Energy tables: every table that ships is cited, users' files work, and errors name what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from firstspike import emulator, energy

LINES = ['name = "t"', 'title = "t"', 'source = "s"', 'note = "n"', "synaptic_operation_pj = 1.0", "spike_pj = 1.0"]
PLAIN = {"name": "t", "title": "t", "source": "s", "note": "n"}


@pytest.mark.parametrize("name", energy.names())
def test_tables_are_cited(name):
    table = energy.load(name)
    assert table.name == name and table.source and table.note


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("spike_pj = ", "spikes_pj = ", "spikes_pj.*did you mean spike_pj"),
        ('source = "s"', 'source = ""', "source"),
        ("spike_pj = 1.0", 'all_inclusive = "no"', "all_inclusive"),
        ('note = "n"', 'note = "n"\nall_inclusive = true', "spike_pj"),
        ("spike_pj = 1.0", "message_pj = -1.0", "message_pj"),
        ("spike_pj = 1.0", "mesh_rows = 0", "mesh_rows"),
        ("spike_pj = 1.0", "mesh_rows = 4", "hop_east_west_pj"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_field(tmp_path, old, new, named):
    (tmp_path / "t.toml").write_text("\n".join(LINES).replace(old, new))
    with pytest.raises(ValueError, match=f"t.toml.*{named}"):
        energy.load(tmp_path / "t.toml")


def test_a_table_that_is_not_there():
    with pytest.raises(ValueError, match="45nm-float, .*'free'"):
        energy.load("free")


def test_numbers_of_numpy_and_whole_ones_become_floats():
    made = energy.EnergyTable(**PLAIN, synaptic_operation_pj=np.float32(0.5), spike_pj=2, static_mw=np.int64(3))
    assert made == energy.EnergyTable(**PLAIN, synaptic_operation_pj=0.5, spike_pj=2.0, static_mw=3.0)
    assert type(made.synaptic_operation_pj) is type(made.spike_pj) is type(made.static_mw) is float
    assert emulator.EnergyTable is energy.EnergyTable and energy.load(made.to_dict()) == made


def test_the_page_on_energy_has_every_key():
    page = (Path(__file__).parents[2] / "docs" / "howto" / "energy.md").read_text(encoding="utf-8")
    table = page.partition("| key | unit | meaning |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(listed) == sorted(energy.EnergyTable.model_fields)


def test_an_operation_of_a_convolution_has_its_own_figure_where_there_is_one():
    finer, plain = energy.load("loihi-sanafe"), energy.load("45nm-integer")
    assert (finer.operation_pj(convolution=True), finer.operation_pj(convolution=False)) == (24.0, 35.5)
    assert plain.operation_pj(convolution=True) == plain.operation_pj(convolution=False) == 1.35
