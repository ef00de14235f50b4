"""Tables, figure and page of the emulator's records; nothing is trained or run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from tools.tables import csv, latex, markdown

from firstspike.emulator import profile
from firstspike.report import Page, figure, line_style, write_text
from paper.page import origins
from paper.progress import several
from paper.tables.table import mean_and_sd, of_seeds, rules

Job = dict[str, Any]
Record = dict[str, Any]


def frame(records: list[Record]) -> pd.DataFrame:
    """One row per record, with what the tables need."""
    rows = []
    for r in records:
        s = r["summary"]
        rows.append({
            "net": r["net"], "seed": r["config"]["seed"],
            "chip": r["chip"], "bits": r["bits"], "tuned": r["tuned"], "accuracy": 100 * s["accuracy"],
            "float": 100 * s["float_accuracy"], "mismatches": s["mismatches"], "ties": s["ties"],
            "spikes": s["spikes_per_image"], "delivered": s["operations_delivered_per_image"],
            "effective": s["operations_effective_per_image"], "host": s["macs_per_image"],
            "steps": s["latency_steps_mean"], "ns_min": s["latency_ns_min"], "ns_max": s["latency_ns_max"],
            "fits": s["fits"], "refusal": s["refusal"],
            "cores": s.get("cores_used"), "overflows": s["membrane_overflows"] + s["accumulator_overflows"],
            "images_per_second": r["images"] / r["seconds"],
            **{f"nJ {part['table']} {part['part']}": part["energy_nj_per_image"] for part in r["energy"]},
        })  # fmt: skip
    return pd.DataFrame(rows)


def accuracy(rows: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, %, by net, chip and weight bits: rounded after training, and fine-tuned; mean ± sd over seeds.

    asked: one row per job. "float" is of the nets in the row; "not held" stands for widths that the chip does not have.
    """
    made = []
    for (net, chip, tuned), jobs in asked.groupby(["net", "chip", "tuned"], sort=False):
        part = rows[(rows["net"] == net) & (rows["chip"] == chip) & (rows["tuned"] == tuned)]
        row = {"net": net, "chip": chip, "weights": "fine-tuned" if tuned else "rounded"}
        row["float"] = _cell(part.drop_duplicates("seed")["float"], jobs["seed"].nunique())
        for bits in asked["bits"].unique():
            row[f"{bits} bits"] = _cell(part[part["bits"] == bits]["accuracy"], int((jobs["bits"] == bits).sum()))
        made.append(row)
    return pd.DataFrame(made)


def _cell(values: pd.Series[float], asked: int) -> str:
    """Mean ± sd of the seeds that are there, and how many of those asked for, where some are missing."""
    if not asked:
        return "not held"
    if values.empty:
        return "not run"
    return of_seeds(mean_and_sd(values.mean(), values.std()), len(values), asked)


def energy(rows: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Energy (host layer included) and latency per image at the chip's full width, rounded weights, mean over seeds.

    asked: one row per job. A net that was not run at a chip's full width has no row.
    """
    widest = rows[~rows["tuned"] & (rows["bits"] == rows["chip"].map(asked.groupby("chip")["bits"].max()))]
    made = []
    for (net, chip), part in widest.groupby(["net", "chip"], sort=False):
        seeds = asked[(asked["net"] == net) & (asked["chip"] == chip)]["seed"].nunique()
        first = part.iloc[0]
        columns = [str(c) for c in part if str(c).endswith(" total")]
        totals = {c.split()[1]: part[c].mean() for c in columns if part[c].notna().all()}
        table = profile.load(str(chip)).energy_table()
        own = None if table is None or table.name not in totals else table.name
        second = next((name for name in totals if name not in (own, "45nm-integer")), None)
        made.append({
            "net": net, "chip": of_seeds(str(chip), len(part), seeds),
            "spikes": f"{part['spikes'].mean():.0f}", "operations": f"{part['delivered'].mean():.0f}",
            "effective": f"{part['effective'].mean():.0f}", "latency, steps": f"{part['steps'].mean():.1f}",
            "ns": "unknown" if part["ns_min"].isna().any()
            else f"{part['ns_min'].mean():.0f} to {part['ns_max'].mean():.0f}",
            "nJ, own table": "none" if own is None else f"{totals[own]:.0f} ({own})",
            "nJ, second table": "none" if second is None else f"{totals[second]:.0f} ({second})",
            "nJ, 45nm-integer": f"{totals['45nm-integer']:.0f}", "host MACs": f"{first['host']:.0f}",
            "placement": f"fits, cores: {int(first['cores'])}" if first["fits"] else first["refusal"],
        })  # fmt: skip
    return pd.DataFrame(made)


def speed(rows: pd.DataFrame) -> pd.DataFrame:
    """Images and operations per second of the C++ core alone, with full accounting; medians over widths."""
    rows = rows.assign(rate=rows["images_per_second"] * rows["delivered"])
    grouped = rows.groupby(["net", "chip"], sort=False)
    made = grouped.agg(
        images=("images_per_second", "median"), operations=("delivered", "mean"), rate=("rate", "median")
    ).reset_index()
    made["operations per second"] = [f"{value / 1e9:.2f} G" for value in made.pop("rate")]
    made["images per second"] = [f"{value:.0f}" for value in made.pop("images")]
    made["operations per image"] = [f"{value:.0f}" for value in made.pop("operations")]
    return made


def _absences(jobs: dict[str, Job], missing: dict[str, str]) -> str:
    """The runs without a record as a list in Markdown, by net and reason."""
    chips: dict[tuple[str, str], list[str]] = {}
    for name, reason in missing.items():
        chips.setdefault((jobs[name]["net"], reason), []).append(jobs[name]["chip"])
    return "\n".join(f"- **{net}**, {several(there)}: {reason}" for (net, reason), there in chips.items())


def bits_figure(rows: pd.DataFrame) -> Figure:
    """Accuracy over weight bits on the first chip (generic8), one line per net: solid fine-tuned, dotted rounded."""
    drawn, axes = figure(height=3.0)
    part = rows[rows["chip"] == rows["chip"].iloc[0]]
    for number, (net, of_net) in enumerate(part.groupby("net", sort=False)):
        style = line_style(number)
        for tuned, dash in ((True, "-"), (False, ":")):
            mean = of_net[of_net["tuned"] == tuned].groupby("bits")["accuracy"].mean()
            axes.plot(mean.index, mean, color=style.color, marker=style.marker, linestyle=dash,
                      label=f"{net}, {'fine-tuned' if tuned else 'rounded'}")  # fmt: skip
    axes.set_xlabel("weight bits")
    axes.set_ylabel("test accuracy (%)")
    axes.legend(fontsize="x-small")
    return drawn


def write(folder: Path, jobs: dict[str, Job], found: dict[str, Record], missing: dict[str, str]) -> Path:
    """Write the tables (CSV, Markdown, LaTeX) and the page; returns the page's path.

    By key: all jobs, the records that there are, and why each of the others is missing.
    """
    page = Page("The emulated cores", "accuracy by weight bits, energy, latency and speed")
    if missing:
        page.notice("**Not everything was run.** Cells without a run say so.\n\n" + _absences(jobs, missing))
    records = [found[name] for name in jobs if name in found]
    if not records:
        for path in (folder / "tables").glob("*.*"):
            path.unlink()  # of an earlier session
        return page.text("No run has a record yet.").write(folder / "emulator.html")
    rows = frame(records)
    asked = pd.DataFrame([{**job, "seed": job["config"]["seed"]} for job in jobs.values()])
    tables = {"accuracy": accuracy(rows, asked), "energy": energy(rows, asked), "speed": speed(rows)}
    for name, table in tables.items():
        for suffix, text in (("csv", csv(table)), ("md", markdown(table)), ("tex", latex(table))):
            write_text(folder / "tables" / f"{name}.{suffix}", text)
    page.section("Accuracy").table(
        tables["accuracy"], "Test accuracy, %, by chip profile and weight bits.",
        "Nets without biases. A directly coded first layer runs on the host in float32 and is not quantised; the latency-coded "
        "net is on the cores as a whole. *Rounded*: after training, scales of least squared error. *Fine-tuned*: "
        "trained on with straight-through rounding. The arithmetic is emulated even where a chip has no room for the net. "
        f"Seeds: {rows['seed'].nunique()}{', mean ± standard deviation' if rows['seed'].nunique() > 1 else ''}. odin-like and "
        "speck-like test a neuron after every event and not after every step, for which these nets were not trained: "
        "where many events meet in a step, they lose accuracy at any width of weights.",
        rules(tables["accuracy"], "net"),
    )  # fmt: skip
    page.figure(bits_figure(rows), f"Accuracy over weight bits on {rows['chip'].iloc[0]}.")
    page.section("Energy and latency").table(
        tables["energy"], "Means per image at each chip's full width.",
        "Operations are delivered synaptic events; effective ones met a neuron that had not fired. By 45nm-integer a neuron's "
        "update counts once per step; odin-like and speck-like update at every event, so for them it is a lower bound. "
        "Energy is dynamic "
        "and as good as its table (see the profile and table files for sources). It includes the host layer, at 4.6 pJ per "
        "multiply-add where the chip's table has no figure. Latency ends when the chip can give the result: with the first "
        "output spike where that settles the class, else, as with the membrane readout here, at the end of the run.",
        rules(tables["energy"], "net"),
    )  # fmt: skip
    page.section("Speed").table(
        tables["speed"],
        "The C++ core alone, all accounting on, on a machine that did other work: for speed see docs/emulator.md.",
        rules=rules(tables["speed"], "net"),
    )
    page.section("Provenance").text(
        "One JSON record per run lies beside this page, in `records`; tables, figure and page are made from the records alone."
    ).facts({"runs": f"{len(records)} of {len(jobs)}", **origins([record["provenance"] for record in records])})
    return page.write(folder / "emulator.html")
