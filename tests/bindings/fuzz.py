"""Random calls of every bound function, good and hostile: `python -m tests.bindings.fuzz --calls 100000 --seed 0`.

A call succeeds or raises ValueError, TypeError or MemoryError; all else is a failure, above all a report of
AddressSanitizer, which ends the process. Each call has a separate random source: `--note FILE` keeps the number of
the last one, `--first N --calls 1` repeats it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from firstspike._base import _core, _emulator
from firstspike._base.kernels import cpu

from . import calls, emulated
from .draws import HOSTILE_INTEGERS, Draw, as_given

REFUSALS = (ValueError, TypeError, MemoryError, KeyError)  # KeyError: a layer of the emulator without one of its fields


def spoil(draw: Draw, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, in two calls of three with one or a few that were changed."""
    arguments = dict(arguments)
    while draw.some(0.5):
        name = draw.choice(sorted(arguments))
        arguments[name] = (
            spoil_numpy(draw, arguments[name])
            if isinstance(arguments[name], np.ndarray)
            else draw.spoiled(arguments[name])
        )
    return arguments


def spoil_numpy(draw: Draw, x: np.ndarray) -> Any:
    """Of another size, type, order or alignment, or with other elements."""
    wide = np.zeros((*x.shape, 2), x.dtype)
    shifted = np.frombuffer(bytearray(1 + x.nbytes), np.uint8)[1:].view(x.dtype).reshape(x.shape) if x.size else x
    changed = x.copy()
    if x.size:
        info = np.iinfo(x.dtype)
        changed.reshape(-1)[draw.randrange(x.size)] = draw.choice(
            [n for n in HOSTILE_INTEGERS if info.min <= n <= info.max]
        )
    return draw.choice(
        (
            wide[..., 0],
            shifted,
            changed,
            x[:-1],
            x[None],
            x.astype(np.float64),
            np.asfortranarray(x),
            x.byteswap(),
            x.tolist(),
        )
    )


def call_kernel(draw: Draw) -> None:
    """One of the CPU kernels."""
    name = draw.choice(sorted(calls.CPU))
    arguments = spoil(draw, calls.CPU[name](draw))
    getattr(cpu, name)(**{key: as_given(value) for key, value in arguments.items()})


def call_prepacked(draw: Draw) -> None:
    """Layers packed once, run twice."""
    made, run = calls.prepacked(draw)
    net = cpu.Prepacked(**{key: as_given(value) for key, value in spoil(draw, made).items()})
    for arguments in (spoil(draw, run), run):
        net.run(**{key: as_given(value) for key, value in arguments.items()})


def call_integers(draw: Draw) -> None:
    """A net in integers, made once and run twice."""
    made, run = calls.integers(draw)
    net = cpu.IntegerNet(**{key: as_given(value) for key, value in spoil(draw, made).items()})
    for arguments in (spoil(draw, run), run):
        net.run(**{key: as_given(value) for key, value in arguments.items()})


def call_emulator(draw: Draw) -> None:
    """A network of the emulator's core."""
    made, layers, run = emulated.emulated(draw)
    network = _emulator.Network(**spoil(draw, made))
    for layer in layers:
        network.add(layer["name"], _spoiled_record(draw, layer["layer"], 0.3))
    network.widths()
    network.run(**spoil(draw, run))


def _spoiled_record(draw: Draw, record: dict[str, Any], chance: float) -> dict[str, Any]:
    record = dict(record)
    while record and draw.some(chance):
        key = draw.choice(sorted(record))
        value = record[key]
        if isinstance(value, dict) and draw.some(0.8):
            record[key] = _spoiled_record(draw, value, 0.8)
        else:
            record[key] = spoil_numpy(draw, value) if isinstance(value, np.ndarray) else draw.spoiled(value)
    return record


def call_primitive(draw: Draw) -> None:
    """A fixed-point primitive, or a question to the processor."""
    name = draw.choice(emulated.PRIMITIVES)
    _core.instruction_sets()
    numbers = [draw.choice((*HOSTILE_INTEGERS, 3, -7, 31, 63)) for _ in range(draw.randint(0, 3))]
    getattr(_emulator, name)(*numbers)


KINDS: tuple[tuple[Callable[[Draw], None], float], ...] = (
    (call_kernel, 0.6),
    (call_prepacked, 0.08),
    (call_integers, 0.07),
    (call_emulator, 0.2),
    (call_primitive, 0.05),
)


def run(first: int, number: int, seed: int, note: Path | None = None) -> Counter[str]:
    """Make the calls; how many succeeded, in all and of each kind, and how many were refused with which error."""
    outcomes: Counter[str] = Counter()
    for n in range(first, first + number):
        if note is not None:
            note.write_text(f"{n}\n")
        draw = Draw(seed << 32 | n)
        (kind,) = draw.choices([k for k, _ in KINDS], [w for _, w in KINDS])
        try:
            kind(draw)
            outcomes["succeeded"] += 1
            outcomes[kind.__name__] += 1
        except REFUSALS as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(
                f"call {n} of seed {seed} ({kind.__name__}): {type(error).__name__}: {error}"
            ) from error
    return outcomes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", type=Path)
    options = parser.parse_args()
    print(dict(run(options.first, options.calls, options.seed, options.note)))
