"""The core of `export_rtl` on FPGAs: simulated beside the emulator, placed by open tools, and beside a dense net's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch

from firstspike import data, models
from firstspike import emulator as em

from ..session import Session
from ..table_cells import ABSENT

TITLE = "FPGA"
#: Programs that are needed, and the Debian packages that hold them.
TOOLS = ("make", "g++", "verilator", "yosys", "nextpnr-ecp5")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
NETS = {"mnist-windowed": "mnist", "spoken-digits-windowed": "spoken-digits", "digits-windowed": "digits"}
#: Profile to the device of nextpnr-ecp5.
DEVICES = {"rtl-ecp5-25": "25k", "rtl-ecp5-85": "85k"}
#: Images that the core of a profile computes in simulation. The cores differ in lanes and clusters alone.
SIMULATED = {"rtl-ecp5-25": 1000, "rtl-ecp5-85": 100}
SIMULATED_DENSE, SEEDS = 5, (1, 2, 3)
#: CPU time of yosys, and of nextpnr-ecp5, after which a core counts as not placed.
MINUTES = 10
#: Where products by shifted additions are placed as well: the FPGA with fewer multipliers than lanes.
SCARCE = "rtl-ecp5-25"
#: How lanes multiply a weight by a level.
PRODUCTS = ("multipliers", "additions")
#: What nextpnr counts, by its name.
RESOURCES = {"logic cells": "TRELLIS_COMB", "registers": "TRELLIS_FF", "multipliers": "MULT18X18D", "block RAMs": "DP16KD"}
#: What the simulation counts and `emulator.cycles` predicts.
PREDICTED = {"cycles_computing": "cycles", "spikes_read": "spikes_read", "additions": "additions"}


def versions() -> dict[str, str]:
    """The versions of the tools."""
    texts = {}
    for tool in TOOLS[2:]:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
        version = re.search(r"\d+\.[\w.+-]+", done.stdout + done.stderr)
        texts[tool] = version[0] if version else "unknown"
    return texts


class OutOfTime(Exception):
    """A tool used up its CPU time."""


def make(folder: Path, *arguments: str, seconds: int | None = None) -> str:
    """What `make` prints in the folder of an export; RuntimeError with it if a command fails.

    seconds: the most CPU time of a command; OutOfTime if it takes more.
    """
    limit = "unlimited" if seconds is None else str(seconds)
    command = ["sh", "-c", 'ulimit -S -t "$0"; exec make "$@"', limit, "-s", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    if "CPU time limit exceeded" in done.stderr:
        raise OutOfTime
    if done.returncode:
        raise RuntimeError(f"make {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def simulate(program: em.Program, images: torch.Tensor, folder: Path, **options: Any) -> dict[str, Any]:
    """Counts per image of the simulated core. RuntimeError if it differs from the emulator, or from its predicted work."""
    exported = em.export_rtl(program, folder, samples=images, **options)
    assert exported.work is not None
    printed = dict(re.findall(r"^(\w+) (\d+)$", make(folder, "sim"), re.M))
    counts = {name: int(value) / len(images) for name, value in printed.items() if name not in ("images", "differences")}
    counts["cycles_between_results"] *= len(images) / max(1, len(images) - 1)
    sums = {name: float(exported.work[name].sum()) for name in PREDICTED.values()}
    unlike = [name for name, sum_name in PREDICTED.items() if abs(counts[name] - sums[sum_name]) > 1e-6 * sums[sum_name]]
    if printed["differences"] != "0" or printed["images"] != str(len(images)) or unlike:
        raise RuntimeError(f"the core of {program} differs from what the emulator predicts: {printed}, {sums}")
    lanes = exported.sizes["LANES"] * exported.sizes["CLUSTERS"]
    stages = exported.work[["stage", "cycles", "lanes_busy"]].to_dict("records")
    return counts | {"lanes": lanes, "lanes_busy": sums["additions"] / (sums["cycles"] * lanes), "stages": stages}


@cache
def accuracy(name: str) -> float | None:
    """Accuracy of the emulator on the whole test set; it is the same for all profiles of this core."""
    test = data.load(NETS[name], train=False)
    return em.run(em.quantize(models.load_pretrained(name), SCARCE), test.images, labels=test.labels).accuracy


def simulated(name: str, profile: str, images: int, folder: Path) -> dict[str, Any]:
    """Accuracy, and counts of the simulation beside those of the same core for a dense net."""
    test = data.load(NETS[name], train=False)
    program = em.quantize(models.load_pretrained(name), profile, name=name)
    run = em.run(program, test.images[:images], labels=test.labels[:images])
    row = {
        "images": len(run.predictions),
        "accuracy_simulated": run.accuracy,
        "accuracy": accuracy(name),
        "delivered": float(run.count("delivered").sum(1).mean()),
        "relu_multiply_adds": sum(layer.macs for layer in em.counts(run)),
    }
    dense = simulate(program, test.images[:SIMULATED_DENSE], folder / "dense", skip_silent=False)
    spiking = simulate(program, test.images[:images], folder / "spiking")
    make(folder / "spiking", "lint")
    return row | {"dense": dense, "spiking": spiking}


@cache
def synthesised(name: str, profile: str, products: str, folder: Path) -> bool:
    """Export a core and run yosys; False if it takes too long."""
    program = em.quantize(models.load_pretrained(name), profile, name=name)
    em.export_rtl(program, folder, multipliers=0 if products == "additions" else None)
    try:
        make(folder, "synth", seconds=60 * MINUTES)
    except OutOfTime:
        return False
    return True


def placed(name: str, profile: str, products: str, seed: int, folder: Path) -> dict[str, Any]:
    """What nextpnr-ecp5 reports: the clock, and how many of each resource are used and available; or who took too long."""
    if not synthesised(name, profile, products, folder):
        return {"not_placed": f"yosys: more than {MINUTES} minutes"}
    (folder / "report.json").unlink(missing_ok=True)
    try:
        make(folder, "pnr", f"DEVICE={DEVICES[profile]}", f"SEED={seed}", seconds=60 * MINUTES)
    except OutOfTime:
        return {"not_placed": f"nextpnr-ecp5: more than {MINUTES} minutes"}
    report = json.loads((folder / "report.json").read_text())
    used, available = (
        {name: report["utilization"][cell][key] for name, cell in RESOURCES.items()} for key in ("used", "available")
    )
    return {"megahertz": min(clock["achieved"] for clock in report["fmax"].values()), "used": used, "available": available}


def measure(session: Session) -> None:
    """One cell per net, FPGA and seed; nothing where the tools are missing. A net that an FPGA cannot hold has its refusal."""
    if MISSING:
        print(f"rtl: left out, without {' and '.join(MISSING)}")
        return
    record, head, pairs = session.record("rtl"), {"tools": versions()}, []
    with tempfile.TemporaryDirectory() as place:
        for profile, name in product(DEVICES, NETS):
            folder = Path(place) / f"{name}-{profile}"
            if findings := em.check(models.load_pretrained(name), profile).findings:
                record.add(
                    f"{name}, {profile}", net=name, profile=profile, refusal=[str(finding) for finding in findings], **head
                )
                continue
            pairs.append((name, profile, folder))
            work = partial(simulated, name, profile, SIMULATED[profile] if session.full else 20, folder)
            record.measure(f"{name}, {profile}", work, net=name, profile=profile, **head)
        placements = [*((products, SEEDS[0]) for products in PRODUCTS), *(("multipliers", seed) for seed in SEEDS[1:])]
        for (products, seed), (name, profile, folder) in product(placements if session.full else placements[:1], pairs):
            if products == "multipliers" or profile == SCARCE:
                key = {"net": name, "profile": profile, "products": products, "seed": seed}
                work = partial(placed, name, profile, products, seed, folder / products)
                record.measure(f"{name}, {profile}, {products}, seed {seed}", work, **key, **head)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Placed cores; times; counts; the same core for a dense net; multipliers and additions; stages."""
    cores = [row | {products: _placements(rows, row, products) for products in PRODUCTS} for row in rows if "spiking" in row]
    if not cores:
        return []
    tools = ", ".join(f"{tool} {version}" for tool, version in rows[0]["tools"].items())
    tried, scarce = [row for row in cores if row["multipliers"]], [row for row in cores if row["profile"] == SCARCE]
    return [
        (f"The placed core: used of available; the clock, median (range) of the seeds ({tools})", _each(tried, _resources)),
        ("Accuracy on the whole test set and on the simulated images, and time per image", _each(cores, _timed)),
        ("Counts per image in the simulation, and in the emulator's report", _each(cores, _counted)),
        ("The same core without skipping, as for a dense ReLU net: per image", _each(cores, _dense)),
        ("Products by multipliers, or by shifted additions alone: the placed core", _each(scarce, _products)),
        ("Stages of the core: cycles per image, and the share of lanes that add", _stages(cores)),
    ]


def _placements(rows: list[dict[str, Any]], core: dict[str, Any], products: str) -> list[dict[str, Any]]:
    keys = (core["net"], core["profile"], products)
    return [row for row in rows if (row["net"], row["profile"], row.get("products")) == keys]


def _each(rows: list[dict[str, Any]], columns: Callable[[dict[str, Any]], dict[str, str]]) -> pd.DataFrame:
    heads = ({"net": row["net"], "FPGA": row["profile"].removeprefix("rtl-").upper()} for row in rows)
    return pd.DataFrame([head | columns(row) for head, row in zip(heads, rows, strict=True)])


def _clocks(placements: list[dict[str, Any]]) -> list[float]:
    return [row["megahertz"] for row in placements if "megahertz" in row]


def _clock(placements: list[dict[str, Any]]) -> str:
    clocks = _clocks(placements)
    if not clocks:
        return f"not placed ({placements[0]['not_placed']})" if placements else ABSENT
    return f"{median(clocks):.1f}" + (f" ({min(clocks):.1f} to {max(clocks):.1f})" if len(clocks) > 1 else "")


def _used(placements: list[dict[str, Any]], resource: str) -> str:
    """How many of a resource are used and available, by the first placement; it differs little between seeds."""
    return next((f"{row['used'][resource]:,} of {row['available'][resource]:,}" for row in placements if "used" in row), ABSENT)


def _resources(row: dict[str, Any]) -> dict[str, str]:
    placements = row["multipliers"]
    seeds = ", ".join(f"{each['seed']}{'' if 'used' in each else ' (not placed)'}" for each in placements)
    return {name: _used(placements, name) for name in RESOURCES} | {"MHz": _clock(placements), "seeds": seeds}


def _timed(row: dict[str, Any]) -> dict[str, str]:
    cycles, clocks = row["spiking"]["cycles_computing"], _clocks(row["multipliers"])
    return {
        "test, %": f"{100 * row['accuracy']:.2f}",
        "simulated, %": f"{100 * row['accuracy_simulated']:.2f} of {row['images']:,}",
        "cycles": f"{cycles:,.0f}",
        "µs at 50 MHz": f"{cycles / 50:,.0f}",
        "µs at its clock": f"{cycles / median(clocks):,.0f}" if clocks else ABSENT,
        "cycles from result to result": f"{row['spiking']['cycles_between_results']:,.0f}",
        "lanes": str(row["spiking"]["lanes"]),
        "lanes busy, %": f"{100 * row['spiking']['lanes_busy']:.0f}",
    }


def _counted(row: dict[str, Any]) -> dict[str, str]:
    names = ("spikes_read", "weight_rows_read", "marks_read", "spikes_written", "marks_written", "additions")
    counts = {name.replace("_", " "): f"{row['spiking'][name]:,.0f}" for name in names}
    return counts | {"operations, report": f"{row['delivered']:,.0f}", "multiply-adds, ReLU": f"{row['relu_multiply_adds']:,}"}


def _dense(row: dict[str, Any]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for name in ("cycles_computing", "weight_rows_read", "additions"):
        spiking, dense = row["spiking"][name], row["dense"][name]
        title = name.removesuffix("_computing").replace("_", " ")
        columns |= {title: f"{spiking:,.0f}", f"{title}, dense": f"{dense:,.0f} ({dense / spiking:.1f}x)"}
    return columns


def _products(row: dict[str, Any]) -> dict[str, str]:
    columns = {"multipliers": _used(row["multipliers"], "multipliers")}
    for products, which in zip(PRODUCTS, ("with them", "without"), strict=True):
        columns |= {f"logic cells {which}": _used(row[products], "logic cells"), f"MHz {which}": _clock(row[products])}
    return columns


def _stages(rows: list[dict[str, Any]]) -> pd.DataFrame:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        fpga = row["profile"].removeprefix("rtl-").upper()
        for stage in row["spiking"]["stages"]:
            line = lines.setdefault((row["net"], stage["stage"]), {"net": row["net"], "stage": stage["stage"]})
            line[f"cycles, {fpga}"] = f"{stage['cycles']:,.0f}"
            line[f"busy, {fpga}, %"] = f"{100 * stage['lanes_busy']:.0f}"
    return pd.DataFrame(list(lines.values())).fillna(ABSENT)
