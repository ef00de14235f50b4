"""Reports of a run: tables, text, JSON, and one HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..._files import write_text
from ...energy import EnergyTable
from ..placement.placer import Placement, use
from ..program.engine import COUNTERS
from .energy_account import Account, account, host_macs, inactive_updates, latency
from .runner import Run


@dataclass(frozen=True)
class Report:
    """What a run was and cost, as tables. float_predictions: the float network's answers, int64 [B], to compare
    with."""

    run: Run
    placement: Placement | None = None
    refusal: str | None = None
    accounts: list[Account] = field(default_factory=list)
    float_predictions: np.ndarray | None = None

    def summary(self) -> dict[str, Any]:
        """The main figures, as JSON can hold them; None where unknown."""
        run, program = self.run, self.run.program
        weights = [layer.weight for layer in program.layers]
        made: dict[str, Any] = {
            "network": program.name,
            "profile": program.profile.name,
            "weight bits": program.table[0]["bits"] if program.table else None,
            "weights": int(sum(w.size for w in weights)),
            "samples": len(run.predictions),
            "accuracy": run.accuracy,
        }
        if self.float_predictions is not None:
            made["float accuracy"] = (
                None if run.labels is None else float((self.float_predictions == run.labels).mean())
            )
            made["answers unlike the float network's"] = int((self.float_predictions != run.predictions).sum())
        made |= {
            "ties": int(run.ties.sum()),
            "silent": int(run.silent.sum()),
            **latency(run),
            "input events an image": float(run.input_events.mean()),
            "spikes an image": float(run.count("spikes").sum(1).mean()),
            "operations delivered an image": float(run.count("delivered").sum(1).mean()),
            "operations effective an image": float(run.count("effective").sum(1).mean()),
            "host multiply-adds an image": host_macs(run),
            "accumulator overflows": int(run.count("accumulator_overflows").sum()),
            "membrane overflows": int(run.count("membrane_overflows").sum()),
        }
        made |= (
            {"placement": self.refusal or "not asked for"}
            if self.placement is None
            else {"placement": "fits", **use(self.placement)}
        )
        made |= {f"nJ an image, {a.table.name}": a.total for a in self.accounts}
        return made

    def layers(self) -> pd.DataFrame:
        """One row a layer: neurons, then means an image of spikes, silent neurons, events, operations, updates;
        overflows in all."""
        run = self.run
        rows = []
        for n, layer in enumerate(run.program.layers):
            mean = {name: float(run.counters[:, n, i].mean()) for i, name in enumerate(COUNTERS)}
            rows.append(
                {
                    "layer": layer.name,
                    "neurons": layer.neurons,
                    "synapses": layer.synapses,
                    "spikes": mean["spikes"],
                    "silent neurons": layer.neurons - mean["spikes"] if layer.fires else None,
                    "events in": mean["events"],
                    "delivered": mean["delivered"],
                    "effective": mean["effective"],
                    "active updates": mean["active"],
                    "inactive updates": float(inactive_updates(run)[:, n].mean()),
                    "accumulator overflows": int(run.count("accumulator_overflows")[:, n].sum()),
                    "membrane overflows": int(run.count("membrane_overflows")[:, n].sum()),
                }
            )
        return pd.DataFrame(rows)

    def disagreements(self) -> pd.DataFrame:
        """One row a sample whose answer is not the float network's: sample, label, both answers, tie, silent."""
        if self.float_predictions is None:
            return pd.DataFrame(columns=["sample", "label", "float", "emulator", "tie", "silent"])
        run, where = self.run, np.flatnonzero(self.float_predictions != self.run.predictions)
        labels = np.full(len(run.predictions), -1) if run.labels is None else run.labels
        return pd.DataFrame(
            {
                "sample": where,
                "label": labels[where],
                "float": self.float_predictions[where],
                "emulator": run.predictions[where],
                "tie": run.ties[where],
                "silent": run.silent[where],
            }
        )

    def energy(self) -> pd.DataFrame:
        """One row a table and part, nJ an image."""
        return (
            pd.concat([a.frame().assign(table=a.table.name) for a in self.accounts], ignore_index=True)
            if self.accounts
            else pd.DataFrame()
        )

    def to_json(self) -> str:
        """Everything as one JSON text."""
        profile = self.run.program.profile
        return json.dumps(
            {
                "summary": self.summary(),
                "layers": _records(self.layers()),
                "quantisation": self.run.program.table,
                "energy": _records(self.energy()),
                "energy notes": {a.table.name: [a.table.source, *a.notes] for a in self.accounts},
                "placement": None if self.placement is None else _records(self.placement.table()),
                "disagreements": _records(self.disagreements()),
                "profile": profile.to_dict(),
                "unknown": profile.unknown(),
            },
            indent=1,
            allow_nan=False,
        )

    def text(self) -> str:
        """The main figures and tables as plain text."""
        lines = [f"{name}: {_plain(value)}" for name, value in self.summary().items()]
        parts = ["\n".join(lines), self.layers().round(1).to_string(index=False)]
        if self.accounts:
            parts.append(self.energy().to_string(index=False))
        unlike = self.disagreements()
        if len(unlike):
            parts.append(
                f"answers unlike the float network's (first 10 of {len(unlike)}):\n"
                f"{unlike.head(10).to_string(index=False)}"
            )
        if self.run.program.profile.unknown():
            parts.append("unknown or absent in the profile:\n  " + "\n  ".join(self.run.program.profile.unknown()))
        return "\n\n".join(parts) + "\n"

    def write_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to `path`."""
        return write_text(path, self.to_json() + "\n")

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page in the style of the paper report (needs matplotlib)."""
        from .html import page

        return page(self).write(path)


def report(
    run: Run,
    *,
    placement: Placement | None = None,
    refusal: str | None = None,
    tables: Sequence[str | EnergyTable] | None = None,
    float_predictions: np.ndarray | None = None,
) -> Report:
    """The report of a run. tables: energy tables; by default the profile's, and "45nm-integer" where it names none."""
    chosen = [run.program.profile.energy or "45nm-integer"] if tables is None else tables
    if float_predictions is not None and len(float_predictions) != len(run.predictions):
        raise ValueError(f"float_predictions must have {len(run.predictions)} elements, got {len(float_predictions)}")
    return Report(run, placement, refusal, [account(run, table, placement) for table in chosen], float_predictions)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records")) if len(frame) else []


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    return (
        f"{value:.4g}"
        if isinstance(value, float) and abs(value) < 1e4
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )
