"""Profiles: every parameter has a source, users' files load, wrong values are refused with the field's name."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from firstspike import emulator as em
from firstspike import energy, models
from firstspike.emulator import profile

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


@pytest.mark.parametrize("name", profile.names())
def test_every_parameter_has_a_source(name):
    p = profile.load(name)
    plain = set(em.Profile.model_fields) - {"name", "description", "cores", "sources"}
    given = {n for n in plain if getattr(p, n) not in (None, False, "scale")} | set(p.sources)
    assert given <= set(p.sources), given - set(p.sources)
    assert all(text for text in p.sources.values()) and all(core.source for core in p.cores)
    assert em.Profile.from_dict(p.to_dict()) == p


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("energy", {"energy": 3}),
        ("energy", {"energy": "gone.toml"}),
        ("threshold_shift", {"threshold_shift": 7}),
        ("membrane_overflow", {"membrane_values": "symmetric", "membrane_overflow": "wrap"}),
        ("membrane_bits", {"membrane_values": "unsigned", "membrane_bits": 61}),
        ("pools", {"pools": (1, 0)}),
        ("step_nanoseconds", {"step_nanoseconds": (465, 5)}),
        ("step_nanoseconds", {"step_nanoseconds": (5, float("nan"))}),
        ("cores", {"convolution_cores": True}),
        ("cores", {"cores": [profile.CoreKind(count=1, kernel_entries=4)]}),
        ("cores", {"cores": [profile.CoreKind(count=40000), profile.CoreKind(count=40000)]}),
    ],
)
def test_values_that_no_chip_has(field, changes):
    with pytest.raises(ValueError, match=rf"^{field}\b"):
        profile.load("loihi-like").replace(**changes)


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("weight_bits", 'source = "chosen: the width that most digital cores share"', ""),
        (r"fires: .* did you mean fire\?", "[fire]", "[fires]"),
        (r"cores\[0\]\.axon_in: .* did you mean axons_in\?", "axons_in =", "axon_in ="),
        ("cores", "[[cores]]", "[cores]"),
        ("bias_bits", "[bias_bits]\nvalue", "[bias_bits]\nvaule"),
        ("threshold_bits", "value = 23\n", ""),
        ("threshold_bits", "value = 23", "unknown = false"),
        ("threshold_bits", "value = 23", "unknown = true\nvalue = 23"),
        ("energy", 'value = "45nm-integer"', 'value = "tables/mine.toml"'),
    ],
)
def test_errors_name_the_file_and_the_field(tmp_path, field, old, new):
    path = written(tmp_path, (old, new))
    with pytest.raises(ValueError, match=rf"^profile {re.escape(str(path))}\b.*{field}"):
        profile.load(path)


def test_profile_and_program_hold_the_energy_table_of_a_file(tmp_path, monkeypatch):
    """A profile's file names it from its own folder, `replace` from the working folder; later nothing needs the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TABLE)
    replaced = profile.load("generic8").replace(energy=Path("mine.toml"))
    monkeypatch.chdir("/")
    (tmp_path / "other").mkdir()
    path = written(tmp_path / "other", ('value = "45nm-integer"', 'value = "../mine.toml"'))
    (tmp_path / "chip.toml").write_text(replaced.to_toml())
    loaded = [replaced, profile.load(path)]
    (tmp_path / "mine.toml").unlink()
    program = em.quantize(models.mlp("6-4-3", steps=4), profile=replaced)
    loaded += [profile.load(tmp_path / "chip.toml"), em.load(em.save(program, tmp_path / "net.program")).profile]
    for each in loaded:
        assert each.energy == each.energy_table() and each.energy_table().synaptic_operation_pj == 2.0
    assert profile.load("generic8").to_dict()["energy"] == "45nm-integer"
    assert profile.load("speck-like").to_dict()["energy"] is None is profile.load("speck-like").energy_table()


def changed():
    """Profiles as users make them, without and with what the ones that ship lack."""
    loihi, speck = profile.load("loihi-like"), profile.load("speck-like")
    kinds = [profile.CoreKind(count=2, kernel_entries=0), speck.cores[0]]
    return [
        loihi.replace(name="mine", weight_bits=4, step_nanoseconds=(0.5, 3), accumulator_bits=None, max_kernel=5),
        loihi.replace(description='two\nlines, "quoted"', step_nanoseconds=None, energy=None, strides=[1, 2]),
        loihi.replace(name="own table", energy=energy.load("loihi-sanafe")),
        speck.replace(energy="45nm-integer", cores=kinds),
    ]


@pytest.mark.parametrize("made", [*map(profile.load, profile.names()), *changed()], ids=lambda made: made.name)
def test_written_and_read_again(tmp_path, made):
    path = tmp_path / "profile.toml"
    path.write_text(made.to_toml(), encoding="utf-8")
    back = profile.load(path)
    assert back == made and back.sources == made.sources and back.to_dict() == made.to_dict()
    assert back.unknown() == made.unknown()
