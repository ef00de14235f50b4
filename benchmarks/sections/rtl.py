"""The core of `export_rtl` on FPGAs: simulated beside the emulator, placed by open tools, and beside a dense net's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch

from firstspike import data, models
from firstspike import emulator as em

from ..session import Session

TITLE = "FPGA"
#: Programs that are needed, and the Debian packages that hold them.
TOOLS = ("make", "g++", "verilator", "yosys", "nextpnr-ecp5")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
NETS = {"mnist-windowed": "mnist", "spoken-digits-windowed": "spoken-digits", "digits-windowed": "digits"}
#: Profile to the device of nextpnr-ecp5.
DEVICES = {"rtl-ecp5-25": "25k", "rtl-ecp5-85": "85k"}
SIMULATED, SIMULATED_DENSE, SEEDS = 1000, 20, (1, 2)
#: Where products by shifted additions are placed as well: the FPGA with fewer multipliers than lanes.
SCARCE = "rtl-ecp5-25"
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


def make(folder: Path, *arguments: str) -> str:
    """What `make` prints in the folder of an export; RuntimeError with it if a command fails."""
    done = subprocess.run(["make", "-s", "-C", folder, *arguments], capture_output=True, text=True, check=False)
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
    sums = {name: sum(getattr(stage, name) for stage in exported.work) for name in PREDICTED.values()}
    unlike = [name for name, sum_name in PREDICTED.items() if abs(counts[name] - sums[sum_name]) > 1e-6 * sums[sum_name]]
    if printed["differences"] != "0" or printed["images"] != str(len(images)) or unlike:
        raise RuntimeError(f"the core of {program} differs from what the emulator predicts: {printed}, {sums}")
    lanes = exported.sizes["LANES"] * exported.sizes["CLUSTERS"]
    busy = [{"cycles": stage.cycles, "lanes_busy": stage.additions / (stage.cycles * lanes)} for stage in exported.work]
    return counts | {"lanes": lanes, "lanes_busy": sums["additions"] / (sums["cycles"] * lanes), "stages": busy}


def place(folder: Path, device: str, seed: int) -> dict[str, Any]:
    """What nextpnr-ecp5 reports: the clock, and how many of each resource are used and available."""
    (folder / "report.json").unlink(missing_ok=True)
    make(folder, "pnr", f"DEVICE={device}", f"SEED={seed}")
    report = json.loads((folder / "report.json").read_text())
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    used, available = (
        {name: report["utilization"][cell][key] for name, cell in RESOURCES.items()} for key in ("used", "available")
    )
    return {"seed": seed, "megahertz": min(clocks), "used": used, "available": available}


def core(name: str, profile: str, seeds: tuple[int, ...], simulated: int, folder: Path) -> dict[str, Any]:
    """Accuracy, counts of the simulation, and the placed core, with multipliers and with shifted additions alone."""
    test = data.load(NETS[name], train=False)
    program = em.quantize(models.load_pretrained(name), profile, name=name)
    images = test.images[:simulated]
    run = em.run(program, images, labels=test.labels[:simulated])
    row: dict[str, Any] = {
        "images": len(images),
        "accuracy_simulated": run.accuracy,
        "accuracy": em.run(program, test.images, labels=test.labels).accuracy,
        "delivered": float(run.count("delivered").sum(1).mean()),
        "relu_multiply_adds": sum(layer.macs for layer in em.counts(run)),
        "stages": em.cycles(program, images[:1]).stage.to_list(),
    }
    row["dense"] = simulate(program, images[:SIMULATED_DENSE], folder, skip_silent=False)
    shutil.rmtree(folder)
    row["spiking"] = simulate(program, images, folder)
    make(folder, "lint")
    row["placed"] = [place(folder, DEVICES[profile], seed) for seed in seeds]
    if profile == SCARCE:
        em.export_rtl(program, folder, multipliers=0)
        row["additions_alone"] = [place(folder, DEVICES[profile], seeds[0])]
    return row


def measure(session: Session) -> None:
    """One cell per net and FPGA; nothing where the tools are missing. A net that an FPGA cannot hold has its refusal."""
    if MISSING:
        print(f"rtl: left out, without {' and '.join(MISSING)}")
        return
    record = session.record("rtl")
    seeds, simulated = (SEEDS, SIMULATED) if session.full else (SEEDS[:1], 50)
    for profile in DEVICES:
        for name in NETS:
            net = models.load_pretrained(name)
            head = {"net": name, "spec": net.spec, "profile": profile, "tools": versions()}
            findings = em.check(net, profile).findings
            refusal = {"refusal": [f"{finding.layer}: {finding.problem}" for finding in findings]}
            with tempfile.TemporaryDirectory() as folder:
                work = partial(core, name, profile, seeds, simulated, Path(folder) / "core")
                record.measure(f"{name}, {profile}", partial(dict, refusal) if findings else work, **head)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Placed cores; counts; the same core for a dense net; multipliers and additions; stages."""
    rows = [row for row in rows if "refusal" not in row]
    if not rows:
        return []
    tools = ", ".join(f"{tool} {version}" for tool, version in rows[0]["tools"].items())
    seeds = ", ".join(str(placed["seed"]) for placed in rows[0]["placed"])
    simulated = ", ".join(f"{count} of {name}" for name, count in {row["net"]: row["images"] for row in rows}.items())
    return [
        (f"The placed core: used of available; the clock, median (range) of seeds {seeds} ({tools})", _each(rows, _placed)),
        ("Accuracy on the whole test set and on the simulated images, and time per image", _each(rows, _timed)),
        (f"Counts per image in the simulation ({simulated}), and operations in the emulator's report", _each(rows, _counted)),
        ("The same core without skipping, as for a dense ReLU net: per image", _each(rows, _dense)),
        (
            "Products by multipliers, or by shifted additions alone: the placed core",
            _each([row for row in rows if "additions_alone" in row], _products),
        ),
        ("Stages of the core: cycles per image, and the share of lanes that add", _stages(rows)),
    ]


def _each(rows: list[dict[str, Any]], columns: Any) -> pd.DataFrame:
    heads = ({"net": row["net"], "FPGA": row["profile"].removeprefix("rtl-").upper()} for row in rows)
    return pd.DataFrame([head | columns(row) for head, row in zip(heads, rows, strict=True)])


def _clock(placed: list[dict[str, Any]]) -> str:
    clocks = [seed["megahertz"] for seed in placed]
    return f"{median(clocks):.1f} ({min(clocks):.1f} to {max(clocks):.1f})"


def _placed(row: dict[str, Any]) -> dict[str, str]:
    first = row["placed"][0]
    return {name: f"{first['used'][name]:,} of {first['available'][name]:,}" for name in RESOURCES} | {
        "MHz": _clock(row["placed"])
    }


def _timed(row: dict[str, Any]) -> dict[str, str]:
    cycles, clock = row["spiking"]["cycles_computing"], median(seed["megahertz"] for seed in row["placed"])
    return {
        "test, %": f"{100 * row['accuracy']:.2f}",
        "simulated, %": f"{100 * row['accuracy_simulated']:.2f} of {row['images']:,}",
        "cycles": f"{cycles:,.0f}",
        "µs at 50 MHz": f"{cycles / 50:,.0f}",
        "µs at its clock": f"{cycles / clock:,.0f}",
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
    columns: dict[str, str] = {}
    for name, placed in (("", row["placed"]), (", additions", row["additions_alone"])):
        used = placed[0]["used"]
        columns |= {f"logic cells{name}": f"{used['logic cells']:,}", f"multipliers{name}": str(used["multipliers"])}
        columns[f"MHz{name}"] = _clock(placed)
    return columns


def _stages(rows: list[dict[str, Any]]) -> pd.DataFrame:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        fpga = row["profile"].removeprefix("rtl-").upper()
        for name, stage in zip(row["stages"], row["spiking"]["stages"], strict=True):
            line = lines.setdefault((row["net"], name), {"net": row["net"], "stage": name})
            line[f"cycles, {fpga}"] = f"{stage['cycles']:,.0f}"
            line[f"busy, {fpga}, %"] = f"{100 * stage['lanes_busy']:.0f}"
    return pd.DataFrame(list(lines.values()))
