"""Reports of a run: energy and latency, tables, text, JSON, HTML. Keys are identifiers; `labels.toml` has the words for them."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..._base import checks, provenance
from ..._base.files import write_text
from ...energy import Account, EnergyTable, compare, relu, verdict
from ..placement import Placement, use
from ..program.layers import Register
from ..program.program import COUNTERS
from .cost import account_of, counts, first_layer, inactive_updates
from .run import Run, waits_for_all

_DASH = "–"  # for values that do not apply
_LABELS: dict[str, str] = tomllib.loads(Path(__file__).with_name("labels.toml").read_text(encoding="utf-8"))


def latency(run: Run) -> dict[str, Any]:
    """The latency on the chip.

    latency_steps: from the first input step until the chip can give the result, delays included: with the first output
    spike if that settles the class, else, and for silent samples, at the end of the run. latency_ns: None if unknown.
    """
    last = run.program.layers[-1]
    silent = run.decision_step < 0
    waits = silent | (waits_for_all(run.program) is not None)
    ready = np.where(waits, run.steps_run, last.start + run.decision_step + 1)
    mean = float(ready.mean())
    low, high = run.program.profile.step_nanoseconds or (None, None)
    return {
        "latency_steps_mean": mean,
        "latency_steps_max": int(ready.max()),
        "latency_ns_min": None if low is None else mean * low,
        "latency_ns_max": None if high is None else mean * high,
        "steps_run_mean": float(run.steps_run.mean()),
    }


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Results and cost of a run, as tables; see `report`.

    Parameters
    ----------
    run : results of a program.
    placement : of the program on cores, or None.
    refusal : why it could not be placed, or None.
    accounts : energies, one per table.
    float_predictions, samples : of the float net, for the comparison; or None.
    work : of the core on an FPGA, by `emulator.cycles`; or None.
    origin : commit, versions, machine and time of the run.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> made = emulator.report(emulator.run(program, torch.rand(20, 64)), placement=emulator.place(program))
    >>> made.summary()["samples"], made.summary()["fits"]
    (20, True)
    """

    run: Run
    placement: Placement | None = None
    refusal: str | None = None
    accounts: list[Account] = field(default_factory=list)
    float_predictions: np.ndarray | None = None
    samples: np.ndarray | None = None
    work: pd.DataFrame | None = None
    origin: dict[str, Any] = field(default_factory=provenance.record)

    def __repr__(self) -> str:
        return f"Report({self.run!r}; text() has its tables)"

    def summary(self) -> dict[str, Any]:
        """The main figures as JSON values; None if unknown. `label` has the words for each key."""
        run, program, other = self.run, self.run.program, self.float_predictions
        summary: dict[str, Any] = {
            "network": program.name,
            "profile": program.profile.name,
            "weight_bits": program.table[0].get("bits") if program.table else None,
            "weights": int(sum(layer.stored_weights for layer in program.layers)),
            **({"exact_layers": program.exact_layers} if program.exact_layers else {}),
            "samples": len(run.predictions),
            "accuracy": run.accuracy,
        }
        if other is not None:
            summary["float_accuracy"] = None if run.labels is None else float((other == run.labels).mean())
            summary["mismatches"] = int((other != run.predictions).sum())
        counted = {name: run.count(name).sum(1) for name in COUNTERS}
        summary |= {
            "ties": int(run.ties.sum()),
            "silent": int(run.silent.sum()),
            **latency(run),
            "input_events_per_image": float(run.input_events.mean()),
            "spikes_per_image": float(counted["spikes"].mean()),
            "operations_delivered_per_image": float(counted["delivered"].mean()),
            "operations_effective_per_image": float(counted["effective"].mean()),
            "first_layer": first_layer(program)[0],
            "macs_per_image": first_layer(program)[1],
            **{name: int(counted[name].sum()) for name in ("accumulator_overflows", "membrane_overflows")},
            "fits": True if self.placement is not None else False if self.refusal else None,
            "refusal": self.refusal,
            **({} if self.placement is None else use(self.placement)),
            "energy_nj_per_image": {a.table.name: a.total for a in self.accounts},
            "energy_cores_nj_per_image": {a.table.name: a.cores for a in self.accounts},
            "energy_relu_nj_per_image": self._relu(skip_zeros=False),
            "energy_relu_nonzero_nj_per_image": self._relu(skip_zeros=True),
        }
        if self.work is not None:
            cycles = float(self.work.cycles.sum())
            summary["cycles_per_image"] = cycles
            summary["lanes_busy"] = float((self.work.lanes_busy * self.work.cycles).sum() / cycles)
            if (fpga := program.profile.fpga) is not None:
                summary["microseconds_per_image"] = cycles / fpga.megahertz
        return summary

    def _relu(self, skip_zeros: bool) -> dict[str, float]:
        """Energy of the same net with ReLU, by the names of the tables that have the figure."""
        layers = counts(self.run)
        energies = {a.table.name: relu(layers, a.table, skip_zeros=skip_zeros) for a in self.accounts}
        return {name: value for name, value in energies.items() if value is not None}

    def layers(self) -> pd.DataFrame:
        """One row per layer, one on pixels included: neurons; means per image of spikes, silent neurons, events, operations,
        updates (inactive ones on clocked cores alone); overflows in all images."""
        run, layers = self.run, self.run.program.layers
        mean = dict(zip(COUNTERS, run.counters.mean(0).T, strict=True))
        silent = [x.neurons - spikes if x.fires else None for x, spikes in zip(layers, mean["spikes"], strict=True)]
        clocked = run.program.profile.update == "clocked"
        frame = pd.DataFrame(
            {
                "layer": [layer.name for layer in layers],
                "neurons": [layer.neurons for layer in layers],
                "synapses": [layer.synapses for layer in layers],
                "spikes": mean["spikes"],
                "silent_neurons": silent,
                "events_in": mean["events"],
                "delivered": mean["delivered"],
                "effective": mean["effective"],
                "updates_active": mean["active"],
                "updates_inactive": inactive_updates(run).mean(0) if clocked else [None] * len(layers),
                "accumulator_overflows": run.count("accumulator_overflows").sum(0),
                "membrane_overflows": run.count("membrane_overflows").sum(0),
            }
        )
        if (first := run.program.pixels) is None:
            return frame
        sent = float(run.input_events.mean())
        row = {"layer": first.name, "neurons": first.neurons, "spikes": sent, "silent_neurons": first.neurons - sent}
        row |= {"synapses": 0, "accumulator_overflows": 0, "membrane_overflows": 0}
        return pd.concat([pd.DataFrame([row], columns=frame.columns).astype(frame.dtypes, errors="ignore"), frame])

    def mismatches(self) -> pd.DataFrame:
        """One row per sample whose prediction differs from the float network's: sample (its number in the data set, from 0),
        label (-1 without labels), both predictions (float, emulator), tie, silent."""
        run, size = self.run, len(self.run.predictions)
        columns = {
            "sample": np.arange(size) if self.samples is None else self.samples,
            "label": np.full(size, -1) if run.labels is None else run.labels,
            "float": run.predictions if self.float_predictions is None else self.float_predictions,
            "emulator": run.predictions,
            "tie": run.ties,
            "silent": run.silent,
        }
        frame = pd.DataFrame(columns)
        return frame[frame["float"] != frame["emulator"]].reset_index(drop=True)

    def energy(self) -> pd.DataFrame:
        """One row per energy table and part: table, part, energy_nj_per_image, share."""
        frames = {a.table.name: a.frame() for a in self.accounts}
        return pd.concat(frames, names=["table"]).reset_index("table").reset_index(drop=True) if frames else pd.DataFrame()

    def comparison(self, account: Account) -> pd.DataFrame:
        """The table of `energy.compare` by an account's table."""
        return compare(counts(self.run), account.table)

    def verdict(self, account: Account) -> list[str]:
        """The sentences of `energy.verdict` by an account, for the chip of the run."""
        ways = self.run.program.profile.ways()
        return verdict(counts(self.run), account.table, account.schedule, schedules=ways)

    def to_json(self) -> str:
        """Everything as one JSON text."""
        profile = self.run.program.profile
        return json.dumps(
            {
                "origin": self.origin,
                "summary": self.summary(),
                "overflow_notes": overflow_notes(self.run),
                "layers": _records(self.layers()),
                "quantisation": self.run.program.table,
                "work": None if self.work is None else _records(self.work),
                "energy": _records(self.energy()),
                "energy_compared": {a.table.name: _records(self.comparison(a)) for a in self.accounts},
                "energy_verdict": {a.table.name: self.verdict(a) for a in self.accounts},
                "energy_notes": {a.table.name: [a.table.source, *a.notes] for a in self.accounts},
                "placement": None if self.placement is None else _records(self.placement.table()),
                "mismatches": _records(self.mismatches()),
                "profile": profile.to_dict(),
                "unknown": profile.unknown(),
            },
            indent=1,
            allow_nan=False,
        )

    def text(self) -> str:
        """The main figures and tables as plain text."""
        lines = []
        for name, value in self.summary().items():
            if isinstance(value, dict):
                lines += [f"{label(name)}, {key}: {text(item)}" for key, item in value.items()]
            elif value is not None or name not in ("refusal", "first_layer"):
                lines.append(f"{label(name)}: {text(value)}")
        notes = [f"{a.table.name}: {note}" for a in self.accounts for note in (a.table.source, *a.notes)]
        parts = ["\n".join(lines), "\n".join(overflow_notes(self.run)), _shown(self.layers().round(1), none=_DASH)]
        parts += [_shown(self.work.round(3))] if self.work is not None else []
        parts += [_shown(self.energy()), "\n".join(notes)] if self.accounts else []
        for a in self.accounts:
            title = f"nJ in every schedule and model, and of the same net with ReLU ({a.table.name}):"
            parts += [f"{title}\n{_shown(self.comparison(a).round(2))}", "\n".join(self.verdict(a))]
        unlike = self.mismatches()
        if len(unlike):
            parts.append(f"{label('mismatches')} ({min(10, len(unlike))} of {len(unlike)}):\n{_shown(unlike.head(10))}")
        if unknown := self.run.program.profile.unknown():
            parts.append("unknown or absent in the profile:\n  " + "\n  ".join(unknown))
        return "\n\n".join(filter(None, parts)) + "\n"

    def write_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to `path`."""
        return write_text(checks.path("path", path), self.to_json() + "\n")

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page in the style of the paper report (needs the extra `report`)."""
        from ...report import Page

        path = checks.path("path", path)
        program, profile = self.run.program, self.run.program.profile
        page = Page(f"{program.name} on {profile.name}", profile.description).section("Result")
        page.facts({label(name): text(value) for name, value in self.summary().items() if name != "refusal"})
        if self.refusal:
            page.notice(f"This program does not fit the chip: {self.refusal}. It was emulated all the same.")
        if notes := overflow_notes(self.run):
            page.notice("\n\n".join(notes))
        page.section("Layers").table(
            _texts(self.layers(), none=_DASH),
            "Means per image; overflows in all images.",
            "An operation is delivered to every synapse of an event. It is effective if the neuron had not fired yet. "
            "An update is active if an event arrived in that step, in nets of windows if the current is not 0.",
        )
        if self.work is not None:
            page.section("Cycles").table(_texts(self.work), "Means per image, of the core on the FPGA.")
        page.section("Energy")
        for a in self.accounts:
            notes = [a.table.source, *a.notes]
            page.table(_texts(a.frame()), f"{a.table.title} ({a.table.name}).", "\n\n".join(notes))
            caption = "Per image in nJ, in every schedule and model, and of the same net with ReLU."
            page.table(_texts(self.comparison(a)), caption, "\n\n".join(self.verdict(a)))
        if self.float_predictions is not None:
            unlike = self.mismatches()
            page.section("Against the float network")
            page.text(f"{len(unlike)} predictions differ from the float network's.")
            if len(unlike):
                page.table(_texts(unlike.head(50)), "Predictions that differ (the first 50).")
        if program.table:
            caption = "Weights, thresholds, and registers that no input can overflow."
            page.section("Quantisation").table(_texts(pd.DataFrame(list(program.table)), none=_DASH), caption)
        if self.placement is not None:
            page.section("Placement").table(_texts(self.placement.table()), "Neurons on cores.")
            page.figure(self.placement.figure(), "Use of the cores.")
        values = profile.to_dict()
        rows = [{"parameter": name, "value": values[name], "source": why} for name, why in profile.sources.items()]
        page.section("Profile").table(_texts(pd.DataFrame(rows)), "Parameters and their sources.")
        page.section("Origin").facts({name: text(value) for name, value in self.origin.items()})
        return page.write(path)


def report(
    run: Run,
    *,
    placement: Placement | None = None,
    refusal: str | None = None,
    tables: Sequence[str | EnergyTable] | None = None,
    schedule: str | None = None,
    float_predictions: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    work: pd.DataFrame | None = None,
) -> Report:
    """Make the report of a run.

    Parameters
    ----------
    run : Run
        With at least one sample.
    placement, refusal : Placement, str, optional
        Of the program that was run, or why there is none: the text of `DoesNotFit`.
    tables : sequence of str or EnergyTable, optional
        Energy tables of different names; by default the profile's, or "45nm-integer" without one.
    schedule : str, optional
        One of the chip's (`Profile.schedules`), by default the first.
    float_predictions : ndarray, optional
        Of the float network, int64 [B].
    samples : ndarray, optional
        The numbers of the samples in their data set, int64 [B], for the table of mismatches; by default 0 to B - 1.
    work : DataFrame, optional
        What the core on an FPGA does, by `emulator.cycles`.

    Examples
    --------
    >>> net, x = models.mlp("64-32-10", steps=8).eval(), torch.rand(20, 64)
    >>> result = emulator.run(emulator.quantize(net), x)
    >>> made = emulator.report(result, tables=["45nm-integer"], float_predictions=net(x).argmax(1).numpy())
    >>> 0 <= made.summary()["mismatches"] <= 20
    True
    """
    checks.instance("run", run, Run, "a firstspike.emulator.Run")
    if not len(run.predictions):
        raise ValueError("run must have at least one sample")
    if placement is not None and not placement.program.has_synapses_of(run.program):
        raise ValueError(f"placement must be of the program that was run, got one of {placement.program}")
    if refusal is not None and placement is not None:
        raise ValueError(f"refusal must be left out if the program was placed (placement=), got {refusal!r}")
    for name, array in (("float_predictions", float_predictions), ("samples", samples)):
        if array is not None and np.shape(array) != run.predictions.shape:
            raise ValueError(f"{name} must have shape {run.predictions.shape}, got {np.shape(array)}")
    if tables is None:
        chosen = [run.program.profile.energy_table() or "45nm-integer"]
    else:
        chosen = checks.in_order("tables", tables, (str, EnergyTable), "names of energy tables, or EnergyTables,")
    accounts = [account_of(run, table, placement, schedule) for table in chosen]
    if len({a.table.name for a in accounts}) < len(accounts):
        raise ValueError(f"tables must have different names, got {[a.table.name for a in accounts]}")
    return Report(run, placement, refusal, accounts, float_predictions, samples, work)


def overflow_notes(run: Run) -> list[str]:
    """One line per layer whose registers overflowed, then one with what to do; none if no register did."""
    lines, settings = [], set()
    for n, layer in enumerate(run.program.layers):
        for register in ("accumulator", "membrane"):
            times = run.count(f"{register}_overflows")[:, n]
            if times.any():
                share, mean = text(100 * float((times > 0).mean())), text(float(times.mean()))
                how = f"overflowed in {share} % of the samples, {mean} times per sample"
                lines.append(f"layer {layer.name}: the {register} {how}")
                settings.add(f"{register}_bits")
    if not lines:
        return []
    return [
        *lines,
        "Overflow can cost much accuracy, above all in the readout: calibrate it with more images (quantize(calibration=)). "
        f"Fewer weight bits make all scales coarser; a custom profile can have more {' and '.join(sorted(settings))}.",
    ]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records", double_precision=15)) if len(frame) else []


def _shown(frame: pd.DataFrame, none: str = "unknown") -> str:
    if "part" in frame:
        frame = frame.assign(part=frame["part"].map(label))
    return frame.rename(columns=label).to_string(index=False, na_rep=none)


def _texts(frame: pd.DataFrame, none: str = "unknown") -> pd.DataFrame:
    """The table as texts; none: stands for a missing value."""
    shown = frame.map(lambda value: none if value is None or value != value else text(value))
    if "part" in shown:
        shown["part"] = shown["part"].map(label)
    return shown.rename(columns=label)


def label(key: str) -> str:
    """The words for a key."""
    return _LABELS.get(key, key.replace("_", " "))


def text(value: Any) -> str:
    """A value as a reader expects it: four digits, thousands apart, yes or no, "unknown" for None."""
    if isinstance(value, Register):
        return f"{value.low} to {value.high}, {value.policy}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or (isinstance(value, float) and value != value):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value) if abs(int(value)) < 10_000 else f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
