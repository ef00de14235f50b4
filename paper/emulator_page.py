"""Table, figure and page of the emulator's records; nothing is trained or run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from tools.tables import csv, latex, markdown

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
            "float": 100 * s["float_accuracy"],
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
    """Write the table (CSV, Markdown, LaTeX) and the page; returns the page's path.

    By key: all jobs, the records that there are, and why each of the others is missing.
    """
    page = Page("The emulated cores", "accuracy by weight bits")
    if missing:
        page.notice("**Not everything was run.** Cells without a run say so.\n\n" + _absences(jobs, missing))
    records = [found[name] for name in jobs if name in found]
    if not records:
        for path in (folder / "tables").glob("*.*"):
            path.unlink()  # of an earlier session
        return page.text("No run has a record yet.").write(folder / "emulator.html")
    rows = frame(records)
    asked = pd.DataFrame([{**job, "seed": job["config"]["seed"]} for job in jobs.values()])
    table = accuracy(rows, asked)
    for suffix, text in (("csv", csv(table)), ("md", markdown(table)), ("tex", latex(table))):
        write_text(folder / "tables" / f"accuracy.{suffix}", text)
    page.section("Accuracy").table(
        table, "Test accuracy, %, by chip profile and weight bits.",
        "Nets without biases. A directly coded first layer runs on the host in float32 and is not quantised; the latency-coded "
        "net is on the cores as a whole. *Rounded*: after training, scales of least squared error. *Fine-tuned*: "
        "trained on with straight-through rounding. The arithmetic is emulated even where a chip has no room for the net. "
        f"Seeds: {rows['seed'].nunique()}{', mean ± standard deviation' if rows['seed'].nunique() > 1 else ''}. odin-like and "
        "speck-like test a neuron after every event and not after every step, for which these nets were not trained: "
        "where many events meet in a step, they lose accuracy at any width of weights.",
        rules(table, "net"),
    )  # fmt: skip
    page.figure(bits_figure(rows), f"Accuracy over weight bits on {rows['chip'].iloc[0]}.")
    page.section("Provenance").text(
        "One JSON record per run lies beside this page, in `records`; table, figure and page are made from the records alone."
    ).facts({"runs": f"{len(records)} of {len(jobs)}", **origins([record["provenance"] for record in records])})
    return page.write(folder / "emulator.html")
