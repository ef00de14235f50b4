"""Time to accuracy on MNIST, from raw bytes: `firstspike.train`, and the same nets in SpikingJelly beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from firstspike import data, train
from tools import ROOT

from ..session import Session

TITLE = "Time to accuracy"
CONFIGS = Path(__file__).resolve().parent.parent / "time_to_accuracy"
#: By net: its config file, the test accuracy in percent to reach, and the target in seconds of training.
GOALS = {"mlp": ("mlp.toml", 98.0, 15), "cnn": ("cnn.toml", 99.0, 180)}


def measure(session: Session) -> None:
    """One cell per net and side: accuracy and seconds after each epoch."""
    from ..time_to_accuracy import spikingjelly_run  # SpikingJelly is needed to measure, not to show a record

    record = session.record("accuracy")
    datasets = data.load("mnist", train=True), data.load("mnist", train=False)
    for name, (file, _, _) in GOALS.items():
        config = train.Config.from_toml(CONFIGS / file, {"threads": session.threads})
        for side in ("firstspike", "spikingjelly"):
            cell = f"{name}-{side}"
            if record.has(cell):
                continue
            session.log(f"accuracy {cell}")
            epochs = _ours(config, datasets) if side == "firstspike" else spikingjelly_run.run(config, datasets)
            record.add(
                cell,
                race=name,
                side=side,
                config=config.to_dict(),
                file=str((CONFIGS / file).relative_to(ROOT)),
                epochs=epochs,
            )


def _ours(config: train.Config, datasets: tuple[data.Dataset, data.Dataset]) -> list[dict[str, float]]:
    result = train.fit(config, datasets=datasets, progress=False)
    return [
        {"accuracy": 100 * epoch.test.accuracy, "seconds": epoch.seconds, "step_seconds": epoch.step_seconds}
        for epoch in result.history
        if epoch.test is not None
    ]


def reached(epochs: list[dict[str, float]], accuracy: float) -> tuple[int, float] | None:
    """The first epoch (from 1) whose test accuracy, in percent, is at least this, and the seconds of training up to its
    end.
    """
    seconds = 0.0
    for number, epoch in enumerate(epochs, 1):
        seconds += epoch["seconds"]
        if epoch["accuracy"] >= accuracy:
            return number, seconds
    return None


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Seconds to the goal; the share of an epoch that is not the step (target: at most a quarter)."""
    lines = []
    for row in rows:
        _, goal, target = GOALS[row["race"]]
        found, total = reached(row["epochs"], goal), sum(e["seconds"] for e in row["epochs"])
        inside = sum(e["step_seconds"] for e in row["epochs"])
        lines.append(
            {
                "net": row["config"]["spec"],
                "T": row["config"]["steps"],
                "side": row["side"],
                "goal": f"{goal:g} %",
                "reached in epoch": f"{found[0]}" if found else "not",
                "seconds": f"{found[1]:.1f}" if found else "–",
                "target, s": f"{target}",
                "last epoch": f"{row['epochs'][-1]['accuracy']:.2f} %",
                "seconds per epoch": f"{total / len(row['epochs']):.2f}",
                "loop around the step": f"{100 * (1 - inside / total):.0f} %",
            }
        )
    return [("MNIST, seconds of training from raw bytes, one seed", pd.DataFrame(lines))]
