"""One small net per chip profile: trained by the chip's recipe (`train.recipe`), quantised, and run on all test images.

Keeps one JSON record per data set, timing and chip in `results/PROFILE/chips/records`; the table in docs/emulator.md is made
from them alone. It resumes if interrupted. `reproduce.py` calls it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tools.tables import csv, markdown

from firstspike import emulator as em
from firstspike import train
from firstspike.report import write_text

from .emulator_tables import HERE, key, measure, prepare
from .records import Job, Log, read_job, run_jobs
from .runs import Run, changed_fields

COLUMNS = ("float, %", "on the chip, %", "cores", "latency, steps", "energy per image, nJ")


def jobs(profile: str) -> Iterator[Job]:
    """All runs of a profile, as plain values. changed: the settings that the recipe made."""
    whole = tomllib.loads((HERE / "chips.toml").read_text(encoding="utf-8"))
    part, profiles = whole[profile], {name: em.profile.load(name) for name in em.profile.names()}
    for (name, shape), timing in ((one, timing) for one in part["shapes"].items() for timing in whole["timings"]):
        asked = Run.of({"data": name, "timing": timing, **part["config"]}).config
        for chip in (name for name, p in profiles.items() if p.fpga is None and "payload" not in p.ways()):
            config = train.recipe(asked, chip, input_shape=tuple(shape)).to_dict()
            if config["timing"] == timing:  # else the chip takes no nets of windows
                changed = {field: value for field, value in config.items() if value != getattr(asked, field, value)}
                changed.pop("augmentation", None)
                bits = em.profile.load(chip).weight_bits
                yield {"net": f"{name}, {timing}", "chip": chip, "config": changed_fields(config), "changed": changed,
                       "bits": bits, "tuned": False, "first_layer": "integers"}  # fmt: skip


def _path(folder: Path, job: Job) -> Path:
    return folder / "records" / f"{key(job)}.json"


def table(profile: str, folder: Path) -> pd.DataFrame:
    """One row per run: accuracies in %, cores, latency, and energy by the chip's table; "not run" without a record."""
    rows = []
    for job in jobs(profile):
        record, config = read_job(_path(folder, job), job), Run.of(job["config"]).config
        cells = ["not run"] * len(COLUMNS)
        if record is not None:
            s = record["summary"]
            energy = (x for x in record["energy"] if x["table"] == record["tables"][0] and x["part"] == "total")
            cells = [f"{100 * s['float_accuracy']:.2f}", f"{100 * s['accuracy']:.2f}"]
            cells += [str(s["cores_used"]) if s["fits"] else s["refusal"], f"{s['latency_steps_mean']:.1f}"]
            cells += [f"{x['energy_nj_per_image']:.0f} ({x['table']})" for x in energy]
        recipe = ", ".join(f"{name} = {json.dumps(value)}" for name, value in job["changed"].items())
        row = {"data set": config.data, "timing": config.timing, "chip": job["chip"], "recipe": recipe or "none"}
        rows.append(row | dict(zip(COLUMNS, cells, strict=True)))
    return pd.DataFrame(rows)


def make(profile: str, folder: Path, root: str | None, *, report_only: bool, keep: bool, log: Log) -> int:
    """Run the jobs that have no record yet, then write the table; return the number of missing runs.

    The arguments are those of `emulator_tables.make`.
    """

    def run(_: Path, job: Job) -> Job:
        return measure(job, prepare(job["config"], folder, root))

    def tell(record: Job) -> str:
        return f"{record['net']}, {record['chip']}: {100 * record['summary']['accuracy']:.2f} %"

    todo = {_path(folder, job): job for job in jobs(profile)}
    missing = run_jobs(todo, run, tell, folder, report_only=report_only, keep=keep, log=log)
    made = table(profile, folder)
    write_text(folder / "tables" / "chips.csv", csv(made))
    write_text(folder / "tables" / "chips.md", markdown(made))
    return missing
