"""Random calls of every bound kernel, good and hostile: `python -m tests.bindings.fuzz --calls 100000 --seed 0`.

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

from firstspike._base.kernels import cpu

from . import calls
from .draws import Draw, as_given

REFUSALS = (ValueError, TypeError, MemoryError)


def spoil(draw: Draw, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, in two calls of three with one or a few that were changed."""
    arguments = dict(arguments)
    while draw.some(0.5):
        name = draw.choice(sorted(arguments))
        arguments[name] = draw.spoiled(arguments[name])
    return arguments


def call_kernel(draw: Draw) -> None:
    """One of the CPU kernels."""
    recorded = calls.recorded()
    name = draw.choice(sorted(recorded))
    arguments = spoil(draw, calls.copied(draw.choice(recorded[name])))
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


KINDS: tuple[tuple[Callable[[Draw], None], float], ...] = ((call_kernel, 0.8), (call_prepacked, 0.1), (call_integers, 0.1))


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
            raise AssertionError(f"call {n} of seed {seed} ({kind.__name__}): {type(error).__name__}: {error}") from error
    return outcomes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", type=Path)
    options = parser.parse_args()
    print(dict(run(options.first, options.calls, options.seed, options.note)))
