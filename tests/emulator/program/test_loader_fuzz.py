"""Mutated program files: each is refused with ProgramError, or loads and runs, and no byte outside an array is touched.

The last is what AddressSanitizer sees in `nox -s sanitize`. FIRSTSPIKE_FUZZ_FILES is the number of mutated files.
`corpus/` holds the files that mutation starts from, and files that once did harm; their names say what must happen.
"""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from firstspike import emulator as em
from firstspike.emulator.program import pixels, serialization

from ..fuzz import change_one

CORPUS = {path.name: path.read_bytes() for path in sorted((Path(__file__).parents[1] / "corpus").iterdir())}
FILES = int(os.environ.get("FIRSTSPIKE_FUZZ_FILES", "400"))
PART = 100  # files per test, so that the tests spread over processes
LARGEST = 1 << 18  # neurons of a layer that is still run


def attempt(data: bytes) -> bool:
    """Load, and run what loads on all times of the input, silent ones too; whether it loaded."""
    try:
        program = serialization.loads(data)
    except em.ProgramError:
        return False
    sources = int(np.prod(program.input_shape))
    if max(sources, *(layer.neurons for layer in program.layers)) > LARGEST:
        return True
    if program.pixels is not None:
        pixels.times(program.pixels, np.full((2, int(np.prod(program.pixels.in_shape))), 255, np.uint8))
    late = np.full(sources, program.steps - 1, np.uint8)
    spread = np.arange(sources) % (program.steps + 1)
    times = np.stack([late, np.where(spread == program.steps, 255, spread).astype(np.uint8), late * 0 + 255])
    engine = program.engine()
    try:
        engine.run(times, threads=1, all_times=True, trace=True)
        engine.run(times, threads=2, early_exit=program.layers[-1].fires)
    except em.OverflowRefused:
        pass
    return True


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The file with a few changes to its header's text, its JSON values, its arrays or its length."""
    for _ in range(draw.randint(1, 3)):
        data = draw.choice((_value, _value, _bytes, _array, _end, _swap))(data, draw)
    return data


def _parts(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:8], "little")
    return data[8 : 8 + size], data[8 + size :]


def _joined(header: bytes, rest: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + rest


def _value(data: bytes, draw: random.Random) -> bytes:
    """Another value somewhere in the program's header."""
    header, rest = _parts(data)
    try:
        outer = json.loads(header)
        program = json.loads(outer["__metadata__"][serialization.KEY])
        change_one(draw.choice, program, depth=7)  # into the shapes of a layer's synapses
    except (ValueError, KeyError, TypeError, IndexError):
        return _bytes(data, draw)
    outer["__metadata__"][serialization.KEY] = json.dumps(program)
    return _joined(json.dumps(outer).encode(), rest)


def _bytes(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _array(data: bytes, draw: random.Random) -> bytes:
    """Other bytes in the arrays, often the largest values."""
    header, rest = _parts(data)
    changed = bytearray(rest)
    for _ in range(draw.randint(1, 16)):
        if changed:
            changed[draw.randrange(len(changed))] = draw.choice((0, 127, 128, 255, draw.randrange(256)))
    return _joined(header, bytes(changed))


def _end(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)] if draw.random() < 0.5 else data + bytes(draw.randint(1, 64))


def _swap(data: bytes, draw: random.Random) -> bytes:
    """The header of one file with the arrays of another."""
    return _joined(_parts(data)[0], _parts(draw.choice(list(CORPUS.values())))[1])


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus(name):
    assert attempt(CORPUS[name]) == name.startswith("good-")


@pytest.mark.parametrize("part", range((FILES + PART - 1) // PART))
def test_mutated_files(part):
    draw = random.Random(part)
    loaded = sum(attempt(mutated(draw.choice(list(CORPUS.values())), draw)) for _ in range(PART))
    assert 0 < loaded < PART, "mutations must leave some files valid, and spoil some"
