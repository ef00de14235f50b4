"""Speed of the emulator: MNIST test images through 784-400-400-10, T = 8, with full accounting; and nengo-loihi's
beside it.

    python benchmarks/emulator.py [--checkpoint RUN] [--nengo PYTHON] [--json OUT]

Without a checkpoint the net has ETTFS-initial weights and latency-coded input, so that all three layers run on the
cores. PYTHON is an interpreter with nengo 4.1.0 and nengo-loihi 1.1.0 (`nox -s oracle` makes one): the same network
and images, one process, one image at a time, as its emulator works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from firstspike import data, models, train
from firstspike import emulator as em
from firstspike.emulator.run import input_times

ORACLE = Path(__file__).parents[1] / "tests" / "oracle" / "nengo_networks.py"


def network(checkpoint: Path | None) -> tuple[models.TTFSNet, train.Pixels, str]:
    """The net to run, the conversion of its images, and a word on its weights."""
    if checkpoint is not None:
        trained = train.load_model(checkpoint)
        assert isinstance(trained.model, models.TTFSNet)
        return trained.model, trained.pixels, f"trained, {checkpoint}"
    made = models.build(
        "784-400-400-10",
        input_shape=(1, 28, 28),
        steps=8,
        encoder="latency",
        generator=torch.Generator().manual_seed(0),
    )
    return made, train.Pixels(), "ETTFS-initial"


def best_of(repeats: int, work, clock=time.perf_counter) -> float:
    """The least seconds of some runs: on the wall, or of this process on all cores (`time.process_time`)."""
    times = []
    for _ in range(repeats):
        begin = clock()
        work()
        times.append(clock() - begin)
    return min(times)


def nengo_seconds(python: str, program: em.Program, times: np.ndarray) -> tuple[np.ndarray, bool]:
    """(Seconds an image of nengo-loihi's stepping alone, wall and CPU; whether its spikes are ours), same network and
    images."""
    layers, steps = program.layers, program.total_steps
    given = {"layers": len(layers), "steps": steps, "times": times}
    for n, layer in enumerate(layers):
        theta = layer.theta >> program.profile.threshold_shift if layer.fires else np.full(layer.neurons, (1 << 17) - 1)
        given |= {
            f"weight{n}": layer.weight.astype(np.int64),
            f"theta{n}": theta,
            f"bias{n}": layer.bias >> layer.shift,
        }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **given)
        subprocess.run([python, "-W", "ignore", str(ORACLE), "speed", str(source), str(target)], check=True)
        result = np.load(target)
        stepping, spikes = result["stepping"], result["spikes"]
    ours = program.core().run(times, all_times=True).times
    fired = np.concatenate([t for t in ours if t is not None], 1)
    return stepping, bool((spikes == (fired[:, None] == np.arange(steps)[:, None])).all())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--nengo", metavar="PYTHON")
    parser.add_argument("--nengo-images", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    net, pixels, what = network(options.checkpoint)
    test = data.load("mnist", train=False)
    rows = []
    for name in ("generic8", "loihi-like", "odin-like"):
        program = em.quantize(net, name, biases="drop", pixels=pixels, calibration=pixels(test.images[:100]))
        core, times = program.core(), input_times(program, test.images)
        ran = em.run(program, test.images, labels=test.labels)
        row = {
            "profile": name,
            "weights": what,
            "images": len(test),
            "instruction set": em.instruction_set(),
            "operations an image": float(ran.count("delivered").sum(1).mean()),
            "core, 2 threads (s)": best_of(options.repeats, lambda core=core, times=times: core.run(times, threads=2)),
            "core, 1 thread (s)": best_of(options.repeats, lambda core=core, times=times: core.run(times, threads=1)),
            "core, CPU (s)": best_of(
                options.repeats, lambda core=core, times=times: core.run(times, threads=1), time.process_time
            ),
            "encode, run, decode, account (s)": best_of(
                options.repeats,
                lambda program=program: em.report(em.run(program, test.images, labels=test.labels)).summary(),
            ),
        }
        if name == "loihi-like" and options.nengo and program.encoder.kind == "latency":
            aligned = em.quantize(net_without_bias(net), name, biases="drop", pixels=pixels)
            seconds, same = nengo_seconds(
                options.nengo, aligned, input_times(aligned, test.images[: options.nengo_images])
            )
            core = aligned.core()
            many = best_of(options.repeats, lambda core=core, times=times: core.run(times, threads=2)) / len(test)
            cpu = best_of(
                options.repeats, lambda core=core, times=times: core.run(times, threads=1), time.process_time
            ) / len(test)
            row |= {
                "nengo-loihi, wall (s an image)": float(seconds[0]),
                "nengo-loihi, CPU (s an image)": float(seconds[1]),
                "same spikes": same,
                "ratio, wall, 2 threads": float(seconds[0] / many),
                "ratio, CPU": float(seconds[1] / cpu),
            }
        rows.append(row)
        for key, value in row.items():
            print(f"{key}: {value}")
        print()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def net_without_bias(net: models.TTFSNet) -> models.TTFSNet:
    """The net with all biases at zero: nengo-loihi adds them from step 0 on, a program from its layer's first step
    on."""
    made = models.from_config(net.config())
    made.load_state_dict(net.state_dict())
    with torch.no_grad():
        for layer in made.layers:
            if layer.bias is not None:
                layer.bias.zero_()
    return made


if __name__ == "__main__":
    main()
