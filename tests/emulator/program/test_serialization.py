"""Program files: round trip, and bytes of any kind that give an error and never anything worse."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firstspike import emulator as em
from firstspike import models
from firstspike.emulator.program import serialization

from ..fuzz import change_one, run_once
from ..nets import SPECS, images, net

SMALL = serialization.dumps(em.quantize(net("30-20-5", encoder="latency"), "loihi-like"))


def same(a, b):
    assert serialization.dumps(a) == serialization.dumps(b)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["generic8", "loihi-like"])
def test_round_trip(tmp_path, spec, name):
    model = net(spec)
    program = em.quantize(model, name)
    path = em.save(program, tmp_path / "deep" / "p.safetensors")
    back = em.load(path)
    same(program, back)
    x = images(model)
    a, b = em.run(program, x), em.run(back, x)
    np.testing.assert_array_equal(a.counters, b.counters)
    np.testing.assert_array_equal(a.scores, b.scores)
    assert [p.name for p in path.parent.iterdir()] == ["p.safetensors"]


def test_it_is_an_open_format():
    size = int.from_bytes(SMALL[:8], "little")
    header = json.loads(SMALL[8 : 8 + size])
    inside = json.loads(header["__metadata__"][serialization.KEY])
    assert inside["version"] == 2 and inside["layers"][0]["kind"] == "linear"
    assert header["layer.0.weight"]["dtype"] in ("I8", "I16")
    assert b"pickle" not in SMALL


def rewritten(change):
    size = int.from_bytes(SMALL[:8], "little")
    outer = json.loads(SMALL[8 : 8 + size])
    inner = json.loads(outer["__metadata__"][serialization.KEY])
    change(inner)
    outer["__metadata__"][serialization.KEY] = json.dumps(inner)
    text = json.dumps(outer).encode()
    return struct.pack("<Q", len(text)) + text + SMALL[8 + size :]


def test_rewriting_alone_is_harmless():
    same(serialization.loads(rewritten(lambda h: None)), serialization.loads(SMALL))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda h: h.update(version=3), "version must be 1 or 2, got 3"),
        (lambda h: h.update(steps=200), "steps"),
        (lambda h: h.pop("steps"), "steps"),
        (lambda h: h.update(steps=0), "steps"),
        (lambda h: h.update(steps="8"), "whole number"),
        (lambda h: h.update(layers=[]), "at least one layer"),
        (lambda h: h["layers"][0].update(extra=1), "extra"),
        (lambda h: h["layers"][0].update(pool=True), "whole number"),
        (lambda h: h["layers"][0].update(in_shape=[1, 1]), "in_shape"),
        (lambda h: h["layers"][0].update(kind="conv"), "weight"),
        (lambda h: h["layers"][0].update(start=200), "steps"),
        (lambda h: h["layers"][0]["membrane"].update(low=5), "hold 0"),
        (lambda h: h["layers"][0]["membrane"].update(policy="grow"), "policy"),
        (lambda h: h["layers"][0]["membrane"].update(bits=1 << 40, policy="wrap"), "bits must be from 1 to 61"),
        (lambda h: h["readout"].update(kind="vote"), "readout"),
        (lambda h: h["encoder"].update(kind="magic"), "encoder"),
        (lambda h: h["profile"].update(weight_bits=0), "weight_bits"),
        (lambda h: h["profile"].pop("fire"), "fire must be given"),
        (lambda h: h.update(profile=None), "profile"),
        (lambda h: h.update(layers=7), "not a valid program: TypeError"),
        (lambda h: h.update(table=["x"]), "table must be a list of objects with plain values"),
        (lambda h: h["table"][0].update(rms_error=float("nan")), "table must be a list of objects with plain values"),
        (lambda h: h["table"][0].update(layer=["a"]), "table must be a list of objects with plain values"),
    ],
)
def test_wrong_headers_are_named(change, text):
    with pytest.raises(em.ProgramError, match=text):
        serialization.loads(rewritten(change))


def test_a_file_of_version_1_loads():
    """Version 1 said granularity = step | event and deviation."""

    def old(header):
        header["version"] = 1
        for values in (header["profile"], *header["layers"]):
            assert values.pop("update") == "clocked"
            values["granularity"] = "step"
        encoder = header["encoder"]
        encoder["deviation"] = encoder.pop("std")
        encoder["stride"], encoder["padding"] = encoder["stride"][0], encoder["padding"][0]

    made, expected = serialization.loads(rewritten(old)), serialization.loads(SMALL)
    assert made.profile == expected.profile and made.table == []
    assert serialization.dumps(replace(made, table=expected.table)) == serialization.dumps(expected)


def test_steps_of_numpy_are_saved(tmp_path):
    made = replace(em.quantize(net()), steps=np.int64(6))
    assert em.load(em.save(made, tmp_path / "program")).steps == 6


def test_a_device_or_a_folder_is_no_program(tmp_path):
    with pytest.raises(em.ProgramError, match="/dev/zero is not a regular file"):
        em.load("/dev/zero")
    with pytest.raises(em.ProgramError, match=f"{tmp_path} is a folder, not a file"):
        em.load(tmp_path)


def test_a_missing_or_foreign_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        em.load(tmp_path / "none.safetensors")
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(b"not a program at all")
    with pytest.raises(em.ProgramError, match=r"foreign\.safetensors: not a safetensors file"):
        em.load(path)


def attempt(data):
    """A file is refused as it should be, or its program runs."""
    try:
        program = serialization.loads(data)
    except em.ProgramError:
        return
    run_once(program)


@settings(max_examples=400)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff" * 8)
@example(struct.pack("<Q", 2) + b"{}")
def test_any_bytes(data):
    attempt(data)


@settings(max_examples=600)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, len(SMALL)),
)
def test_damaged_bytes(changes, end):
    damaged = bytearray(SMALL)
    for at, value in changes:
        damaged[at] = value
    attempt(bytes(damaged))
    attempt(bytes(damaged[:end]))


@settings(max_examples=800)
@given(st.data())
def test_any_value_at_any_place_of_the_header(data):
    attempt(rewritten(lambda header: change_one(data, header)))


@pytest.mark.parametrize("classes", [0, -1, 3, 20, "4"])
def test_classes_that_do_not_divide_the_outputs(classes):
    program = em.quantize(net("30-20-10", encoder="latency"), "generic8")
    with pytest.raises((ValueError, TypeError), match="classes"):
        replace(program, readout=replace(program.readout, classes=classes))


def test_time_weights_that_do_not_tell_the_steps_apart():
    def made(steps, gamma):
        options = {"readout": "twd-exp", "encoder": "latency", "gamma": gamma, "population": 1}
        return em.quantize(models.mlp("6-5-3", steps=steps, **options), "generic8")

    assert made(100, 1.2).steps == 100 and made(20, 2.0).steps == 20
    for steps, gamma in ((254, 1.2), (110, 1.2), (40, 2.0)):
        with pytest.raises(
            ValueError, match="temporal weighting with gamma = .* use a gamma nearer to 1, or fewer steps"
        ):
            made(steps, gamma)
    assert not em.check(models.mlp("6-5-3", steps=254, readout="twd-exp", encoder="latency"), "generic8").fits


def test_layers_built_with_numbers_of_numpy(tmp_path):
    """Sizes that are computed with NumPy: whatever an engine takes can be saved."""
    plain = em.quantize(models.build("4-6-R(6-6)-3", input_shape=(4,), steps=3, encoder="latency"), "loihi-like")

    def with_numpy(value):
        if isinstance(value, tuple):
            return tuple(map(with_numpy, value))
        return np.int64(value) if type(value) is int else value

    def rebuilt(made):
        return replace(made, **{f.name: with_numpy(getattr(made, f.name)) for f in fields(made)})

    layers = [
        replace(
            rebuilt(layer),
            accumulator=rebuilt(layer.accumulator),
            membrane=rebuilt(layer.membrane),
            shortcut=layer.shortcut and rebuilt(layer.shortcut),
            fires=np.bool_(layer.fires),
        )
        for layer in plain.layers
    ]
    made = replace(plain, layers=layers)
    assert any(layer.shortcut for layer in layers) and type(layers[0].in_shape[2]) is np.int64
    made.engine()
    same(em.load(em.save(made, tmp_path / "p.safetensors")), plain)
