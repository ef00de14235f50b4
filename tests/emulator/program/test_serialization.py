"""Program files: round trip, and bytes of any kind that give an error and never anything worse."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firstspike import emulator as em
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


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("version", lambda h: h.update(version=1)),
        ("steps", lambda h: h.update(steps=200)),
        ("steps", lambda h: h.pop("steps")),
        ("steps", lambda h: h.update(steps=0)),
        ("steps", lambda h: h.update(steps="8")),
        ("layers", lambda h: h.update(layers=[])),
        ("TypeError", lambda h: h.update(layers=7)),
        (r"layers\[0\]\.extra", lambda h: h["layers"][0].update(extra=1)),
        (r"layers\[0\]\.pool", lambda h: h["layers"][0].update(pool=True)),
        (r"layers\[0\]\.in_shape", lambda h: h["layers"][0].update(in_shape=[1, 1])),
        (r"layers\[0\]\.in_shape", lambda h: h["layers"][0].update(in_shape=[1 << 20, 1 << 20, 1 << 20])),
        (r"layers\[0\]\.weight", lambda h: h["layers"][0].update(kind="conv")),
        ("steps", lambda h: h["layers"][0].update(start=200)),
        (r"layers\[0\]\.membrane\.low", lambda h: h["layers"][0]["membrane"].update(low=5)),
        (r"membrane\.policy", lambda h: h["layers"][0]["membrane"].update(policy="grow")),
        (r"membrane\.bits", lambda h: h["layers"][0]["membrane"].update(bits=1 << 40, policy="wrap")),
        (r"readout\.kind", lambda h: h["readout"].update(kind="vote")),
        (r"encoder\.kind", lambda h: h["encoder"].update(kind="magic")),
        (r"profile\.weight_bits", lambda h: h["profile"].update(weight_bits=0)),
        (r"profile\.fire", lambda h: h["profile"].pop("fire")),
        ("profile", lambda h: h.update(profile=None)),
        ("table", lambda h: h.update(table=["x"])),
        ("table", lambda h: h["table"][0].update(rms_error=float("nan"))),
        ("table", lambda h: h["table"][0].update(layer=["a"])),
    ],
)
def test_wrong_headers_are_named(field, change):
    with pytest.raises(em.ProgramError, match=field):
        serialization.loads(rewritten(change))


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
