"""Program files: round trip, and bytes of any kind that give an error and never anything worse."""

from __future__ import annotations

import json
import struct

import pytest

from firstspike import emulator as em
from firstspike.emulator.program import serialization

from ..nets import SPECS, net

SMALL = serialization.dumps(em.quantize(net("30-20-5", encoder="latency"), "loihi-like"))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["generic8", "loihi-like"])
def test_round_trip(tmp_path, spec, name):
    program = em.quantize(net(spec), name)
    path = em.save(program, tmp_path / "deep" / "p.safetensors")
    assert serialization.dumps(em.load(path)) == serialization.dumps(program)
    assert [p.name for p in path.parent.iterdir()] == ["p.safetensors"]


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
        ("IndexError", lambda h: h.update(layers=[])),
        ("TypeError", lambda h: h.update(layers=7)),
        (r"layers\[0\]\.extra", lambda h: h["layers"][0].update(extra=1)),
        (r"layers\[0\]\.inputs\[0\]\.in_shape", lambda h: h["layers"][0]["inputs"][0].update(in_shape=[1 << 20] * 3)),
        ("layer 0:TTFSLinear: the weight", lambda h: h["layers"][0]["inputs"][0].update(kind="conv")),
        (r"layers\[0\]\.neuron", lambda h: h["layers"][0]["neuron"].update(kind="windowed")),
        ("steps", lambda h: h["layers"][0]["neuron"].update(start=200)),
        (r"layers\[0\]\.membrane\.low", lambda h: h["layers"][0]["membrane"].update(low=5)),
        (r"membrane\.bits", lambda h: h["layers"][0]["membrane"].update(bits=1 << 40, policy="wrap")),
        (r"profile\.weight_bits", lambda h: h["profile"].update(weight_bits=0)),
        ("table", lambda h: h["table"][0].update(layer=["a"])),
    ],
)
def test_wrong_headers_are_named(field, change):
    with pytest.raises(em.ProgramError, match=field):
        serialization.loads(rewritten(change))


@pytest.mark.parametrize("path", ["/dev/zero", "/", __file__])
def test_what_is_no_program_is_refused(path):
    with pytest.raises(em.ProgramError, match=path):
        em.load(path)
