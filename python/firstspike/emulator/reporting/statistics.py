"""Reports of a run: tables, text, JSON, HTML. Keys are identifiers; `labels` has the words for them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..._base import checks, provenance
from ..._base.files import write_text
from ...energy import EnergyTable
from ...energy.table import load_all
from ..placement.placer import Placement, use
from ..program.engine import COUNTERS
from .energy_account import Account, account, host_macs, inactive_updates, latency
from .labels import label
from .overflow import overflow_notes
from .runner import Run
from .values import text

_MISMATCHES = ("sample", "label", "float", "emulator", "tie", "silent")


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Results and cost of a run, as tables.

    refusal: why the program does not fit the chip. float_predictions: those of the float network, int64 [B], for
    comparison. samples: the numbers of the samples in their data set, int64 [B]; None for 0 to B - 1.
    origin: commit, versions, machine and time of the run.

    Examples:
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
    origin: dict[str, Any] = field(default_factory=provenance.record)

    def __repr__(self) -> str:
        return f"Report({self.run!r}; text() has its tables)"

    def summary(self) -> dict[str, Any]:
        """The main figures as JSON values; None where unknown. `labels.LABELS` says what each key means."""
        run, program = self.run, self.run.program
        made: dict[str, Any] = {
            "network": program.name,
            "profile": program.profile.name,
            "weight_bits": program.table[0].get("bits") if program.table else None,
            "weights": int(sum(layer.stored_weights for layer in program.layers)),
            "samples": len(run.predictions),
            "accuracy": run.accuracy,
        }
        if self.float_predictions is not None:
            made["float_accuracy"] = (
                None if run.labels is None else float((self.float_predictions == run.labels).mean())
            )
            made["mismatches"] = int((self.float_predictions != run.predictions).sum())
        made |= {
            "ties": int(run.ties.sum()),
            "silent": int(run.silent.sum()),
            **latency(run),
            "input_events_per_image": float(run.input_events.mean()),
            "spikes_per_image": float(run.count("spikes").sum(1).mean()),
            "operations_delivered_per_image": float(run.count("delivered").sum(1).mean()),
            "operations_effective_per_image": float(run.count("effective").sum(1).mean()),
            "host_macs_per_image": host_macs(run),
            "accumulator_overflows": int(run.count("accumulator_overflows").sum()),
            "membrane_overflows": int(run.count("membrane_overflows").sum()),
            "fits": True if self.placement is not None else False if self.refusal else None,
            "refusal": self.refusal,
        }
        if self.placement is not None:
            made |= use(self.placement)
        made["energy_nj_per_image"] = {a.table.name: a.total for a in self.accounts}
        made["energy_cores_nj_per_image"] = {a.table.name: a.cores for a in self.accounts}
        return made

    def layers(self) -> pd.DataFrame:
        """One row per layer: neurons; means per image of spikes, silent neurons, events, operations, updates
        (inactive ones on clocked cores alone); overflows in all images."""
        run = self.run
        clocked = run.program.profile.update == "clocked"
        rows = []
        for n, layer in enumerate(run.program.layers):
            mean = {name: float(run.counters[:, n, i].mean()) for i, name in enumerate(COUNTERS)}
            rows.append(
                {
                    "layer": layer.name,
                    "neurons": layer.neurons,
                    "synapses": layer.synapses,
                    "spikes": mean["spikes"],
                    "silent_neurons": layer.neurons - mean["spikes"] if layer.fires else None,
                    "events_in": mean["events"],
                    "delivered": mean["delivered"],
                    "effective": mean["effective"],
                    "updates_active": mean["active"],
                    "updates_inactive": float(inactive_updates(run)[:, n].mean()) if clocked else None,
                    "accumulator_overflows": int(run.count("accumulator_overflows")[:, n].sum()),
                    "membrane_overflows": int(run.count("membrane_overflows")[:, n].sum()),
                }
            )
        return pd.DataFrame(rows)

    def mismatches(self) -> pd.DataFrame:
        """One row per sample whose prediction differs from the float network's: sample (its number in the data set, from 0),
        label (-1 without labels), both predictions (float, emulator), tie, silent."""
        if self.float_predictions is None:
            return pd.DataFrame(columns=list(_MISMATCHES))
        run, where = self.run, np.flatnonzero(self.float_predictions != self.run.predictions)
        labels = np.full(len(run.predictions), -1) if run.labels is None else run.labels
        numbers = np.arange(len(labels)) if self.samples is None else self.samples
        compared = (numbers, labels, self.float_predictions, run.predictions, run.ties, run.silent)
        columns = (x[where] for x in compared)
        return pd.DataFrame(dict(zip(_MISMATCHES, columns, strict=True)))

    def energy(self) -> pd.DataFrame:
        """One row per energy table and part: table, part, energy_nj_per_image, share."""
        if not self.accounts:
            return pd.DataFrame()
        rows = [{"table": a.table.name, **row} for a in self.accounts for row in a.frame().to_dict("records")]
        return pd.DataFrame(rows)

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
                "energy": _records(self.energy()),
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
            elif value is not None or name != "refusal":
                lines.append(f"{label(name)}: {text(value)}")
        parts = ["\n".join(lines)]
        if notes := overflow_notes(self.run):
            parts.append("\n".join(notes))
        parts.append(_shown(self.layers().round(1), none="–"))
        if self.accounts:
            parts.append(_shown(self.energy()))
            parts.append(
                "\n".join(f"{a.table.name}: {note}" for a in self.accounts for note in (a.table.source, *a.notes))
            )
        unlike = self.mismatches()
        if len(unlike):
            parts.append(f"{label('mismatches')} (first 10 of {len(unlike)}):\n{_shown(unlike.head(10))}")
        if self.run.program.profile.unknown():
            parts.append("unknown or absent in the profile:\n  " + "\n  ".join(self.run.program.profile.unknown()))
        return "\n\n".join(parts) + "\n"

    def write_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to `path`."""
        return write_text(checks.path("path", path), self.to_json() + "\n")

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page in the style of the paper report (needs the extra `report`)."""
        from . import html

        path = checks.path("path", path)
        program, profile = self.run.program, self.run.program.profile
        values = profile.to_dict()
        parameters = [
            {"parameter": name, "value": values.get(name), "source": source} for name, source in profile.sources.items()
        ]
        contents = html.Contents(
            title=f"{program.name} on {profile.name}",
            subtitle=profile.description,
            summary=self.summary(),
            origin=self.origin,
            refusal=self.refusal,
            overflows=overflow_notes(self.run),
            layers=self.layers(),
            energy=[
                html.Energy(f"{a.table.title} ({a.table.name})", a.frame(), [a.table.source, *a.notes])
                for a in self.accounts
            ],
            mismatches=None if self.float_predictions is None else self.mismatches(),
            quantisation=pd.DataFrame(program.table) if program.table else None,
            placement=None if self.placement is None else self.placement.table(),
            placement_figure=None if self.placement is None else self.placement.figure(),
            profile=pd.DataFrame(parameters),
        )
        return html.page(contents).write(path)


def report(
    run: Run,
    *,
    placement: Placement | None = None,
    refusal: str | None = None,
    tables: Sequence[str | EnergyTable] | None = None,
    float_predictions: np.ndarray | None = None,
    samples: np.ndarray | None = None,
) -> Report:
    """The report of a run. tables: energy tables of different names; by default the profile's, or "45nm-integer" without one.

    refusal: in place of a placement, why there is none: the text of `DoesNotFit`.
    float_predictions: those of the float network, int64 [B]. samples: the numbers of the samples in their data set, int64 [B],
    where a part of it was run; the table of mismatches names them. By default 0 to B - 1.

    Raises ValueError or TypeError naming a bad argument.

    Examples:
        >>> net, x = models.mlp("64-32-10", steps=8).eval(), torch.rand(20, 64)
        >>> result = emulator.run(emulator.quantize(net), x)
        >>> made = emulator.report(result, tables=["45nm-integer"], float_predictions=net(x).argmax(1).numpy())
        >>> 0 <= made.summary()["mismatches"] <= 20
        True
    """
    checks.instance("run", run, Run, "a firstspike.emulator.Run")
    if not len(run.predictions):
        raise ValueError("run must have at least one sample")
    checks.optional("placement", placement, Placement, "a firstspike.emulator.Placement")
    if placement is not None and (difference := placement.program.synapse_difference(run.program)):
        raise ValueError(f"placement must be of the program that was run, got that of another one: {difference}")
    checks.optional("refusal", refusal, str, "a text")
    if refusal is not None and placement is not None:
        raise ValueError(f"refusal must be left out where the program was placed (placement=), got {refusal!r}")
    for name, array in (("float_predictions", float_predictions), ("samples", samples)):
        checks.optional(name, array, np.ndarray, "a numpy array")
        if array is not None and array.shape != run.predictions.shape:
            wanted, got = list(run.predictions.shape), list(array.shape)
            raise ValueError(f"{name} must have one element per sample, {wanted}, got {got}")
    if tables is None:
        chosen = [run.program.profile.energy_table() or "45nm-integer"]
    else:
        chosen = checks.in_order("tables", tables, (str, EnergyTable), "names of energy tables, or EnergyTables,")
    accounts = [account(run, table, placement) for table in load_all(chosen)]
    return Report(run, placement, refusal, accounts, float_predictions, samples)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records", double_precision=15)) if len(frame) else []


def _shown(frame: pd.DataFrame, none: str = "unknown") -> str:
    if "part" in frame:
        frame = frame.assign(part=frame["part"].map(label))
    return frame.rename(columns=label).to_string(index=False, na_rep=none)
