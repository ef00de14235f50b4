"""Safetensors files: the same bytes in every process, and a clear error for every damage."""

import random
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from firstspike._base import tensors

TENSORS = {"b": torch.arange(3.0), "a": torch.tensor([[1, 2]], dtype=torch.uint8)}
METADATA = {name: name.upper() for name in ("format", "config", "seed", "zeta", "ä")}


def test_round_trip_also_by_the_library_itself(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(tensors.dumps(TENSORS, METADATA))
    found = tensors.read(path)
    assert found.metadata == METADATA and found.numel == 5
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == METADATA
        for name, value in TENSORS.items():
            assert torch.equal(found.tensors[name], value) and torch.equal(opened.get_tensor(name), value)


def test_other_processes_write_the_same_bytes():
    code = (
        "import sys, torch; from firstspike._base import tensors\n"
        "sys.stdout.buffer.write(tensors.dumps({'w': torch.ones(2)}, {c: c for c in 'abcdefgh'}))"
    )
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(found) == 1 and b'"a":"a","b":"b","c":"c"' in found.pop()


def test_damage_is_a_value_error():
    raw = tensors.dumps(TENSORS, METADATA)
    draw = random.Random(0)
    refused = 0
    for _ in range(300):
        bad = bytearray(raw)
        for _ in range(draw.choice((1, 1, 3))):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        bad = bad[: draw.choice((len(bad), draw.randrange(len(bad))))]
        try:
            tensors.loads(bytes(bad), "net.safetensors")
        except ValueError as error:
            assert "net.safetensors" in str(error)
            refused += 1
    assert refused > 100
    for bad in (b"", b"\x08" + bytes(7) + b"[[[[[[[[", (100_000).to_bytes(8, "little") + b"{" + b'"a":[' * 20_000):
        with pytest.raises(ValueError, match="net"):
            tensors.loads(bad, "net")
