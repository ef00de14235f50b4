"""The emulator: MNIST test images through a net on emulated cores, with full accounting, and nengo-loihi's beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from firstspike import data, models
from firstspike import emulator as em
from tools import ROOT

from .. import timing
from ..records import timed
from ..session import Session
from ..table_cells import milliseconds, number

TITLE = "The emulator"
SPEC, STEPS = "784-400-400-10", 8
TARGET, TARGET_RATIO = 0.5, 300  # seconds for all test images, times as fast as nengo-loihi
PEER = "nengo-loihi"


def measure(session: Session) -> None:
    """One cell per chip profile, and one beside nengo-loihi, where its interpreter is known."""
    record = session.record("emulator")
    test = data.load("mnist", train=False)
    for profile in ("generic8", "loihi-like", "odin-like") if session.full else ("loihi-like",):
        head = {"kind": "profile", "profile": profile}
        record.measure(profile, partial(_profile, session, profile, test), **head)
    python, images = session.oracle, test.images[: 30 if session.full else 10]
    if python is None:
        print(f"emulator: {PEER} is left out, --oracle names no interpreter", file=sys.stderr)
    else:
        record.measure(PEER, lambda: _peer(session, python, images), kind="peer", profile="loihi-like")


def network() -> models.TTFSNet:
    """ETTFS-initial weights, no biases (nengo-loihi would add them in other steps), latency-coded input: all layers are
    on the cores.
    """
    draw = torch.Generator().manual_seed(0)
    return models.build(SPEC, input_shape=(1, 28, 28), steps=STEPS, encoder="latency", bias=False, generator=draw)


def _profile(session: Session, profile: str, test: data.Dataset) -> dict[str, Any]:
    program = em.quantize(network(), profile)
    core, times = program.engine(), program.input_times(test.images)
    sides = {
        "core": lambda: core.run(times, threads=session.threads),
        "core, 1 thread": lambda: core.run(times, threads=1),
        "all": lambda: em.report(em.run(program, test.images, labels=test.labels, threads=session.threads)).summary(),
    }
    operations = em.run(program, test.images).count("delivered").sum(1).mean()
    return {
        "images": len(test),
        "operations": float(operations),
        "instruction_set": em.instruction_set(),
        "times": session.alternate(sides),
    }


def _peer(session: Session, python: str, images: torch.Tensor) -> dict[str, Any]:
    """An image's time, on the wall and of all processors, in nengo-loihi's stepping alone and in our core; whether all
    spikes are the same. Ours goes through a thousand copies of the images, as its threads need some to share.
    """
    program = em.quantize(network(), "loihi-like")
    times = program.input_times(images)
    spikes, wall, cpu = _nengo(python, program, times)
    core, many = program.engine(), np.tile(times, (1000, 1))
    fired = [layer for layer in core.run(times, all_times=True).times if layer is not None]
    ours = np.concatenate(fired, 1)[:, None] == np.arange(program.total_steps)[:, None]
    rounds = range(session.effort.rounds)
    samples = {
        "firstspike": [timing.once(lambda: core.run(many, threads=session.threads)) / len(many) for _ in rounds],
        "firstspike, CPU": [_cpu_seconds(core, many) / len(many) for _ in rounds],
        PEER: wall,
        f"{PEER}, CPU": cpu,
    }
    return {"images": len(images), "same_spikes": bool((spikes == ours).all()), "times": timed(samples)}


def _cpu_seconds(core: Any, times: NDArray[np.uint8]) -> float:
    began = time.process_time()
    core.run(times, threads=1)
    return time.process_time() - began


def _nengo(python: str, program: em.Program, times: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], list[float], list[float]]:
    """nengo-loihi's spikes [B, steps, neurons], and its seconds for each image."""
    given: dict[str, Any] = {"layers": len(program.layers), "steps": program.total_steps, "times": times}
    for n, layer in enumerate(program.layers):
        never = np.full(layer.neurons, (1 << 17) - 1)  # the readout's: beyond any membrane
        given |= {
            f"weight{n}": layer.weight.astype(np.int64),
            f"theta{n}": layer.theta >> program.profile.threshold_shift if layer.fires else never,
            f"bias{n}": layer.bias >> layer.shift,
        }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **given)
        script = ROOT / "tests" / "oracle" / "nengo_networks.py"
        subprocess.run([python, "-W", "ignore", str(script), "speed", str(source), str(target)], check=True)
        with np.load(target) as made:
            return made["spikes"], made["wall"].tolist(), made["cpu"].tolist()


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """All test images by profile (target: half a second); one image beside nengo-loihi (target: 300 times as fast)."""
    lines, beside_peer = [], []
    for row in rows:
        times = row["times"]
        if row["kind"] == "profile":
            core = times["core"]["median"] / 1e3
            lines.append(
                {
                    "profile": row["profile"],
                    "operations per image": f"{row['operations']:.0f}",
                    "core, ms": milliseconds(times, "core"),
                    "core, 1 thread, ms": milliseconds(times, "core, 1 thread"),
                    "operations per second": f"{row['images'] * row['operations'] / core / 1e9:.2f} G",
                    "encode, run, decode, report, ms": milliseconds(times, "all"),
                    "target, ms": f"{1e3 * TARGET:.0f}",
                }
            )
        else:
            beside_peer += [
                {
                    "clock": clock,
                    "firstspike, µs": number(1e3 * times[f"firstspike{side}"]["median"]),
                    f"{PEER}, µs": number(1e3 * times[f"{PEER}{side}"]["median"]),
                    "ratio": f"{times[f'{PEER}{side}']['median'] / times[f'firstspike{side}']['median']:.0f}x",
                    "target": f"{TARGET_RATIO}",
                    "same spikes": "yes" if row["same_spikes"] else "no",
                }
                for clock, side in (("wall", ""), ("CPU, 1 thread", ", CPU"))
            ]
    return [
        (f"10,000 MNIST test images through {SPEC}, T = {STEPS}, median (quartiles)", pd.DataFrame(lines)),
        (
            f"Time per image beside {PEER}'s emulator, medians: firstspike in batches of a thousand copies of the images, on the "
            f"wall with all threads; {PEER} image by image",
            pd.DataFrame(beside_peer),
        ),
    ]
