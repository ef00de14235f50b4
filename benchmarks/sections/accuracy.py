"""Time to accuracy on MNIST, from raw bytes: `firstspike.train`, and the same nets in SpikingJelly in the same loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from firstspike import data, train

from ..session import Session
from ..workloads import Workload

TITLE = "Time to accuracy"
#: By net: its string, the test accuracy in percent to reach, and the target in seconds of training.
GOALS = {"mlp": ("784-400-400-10", 98.0, 15), "cnn": ("32C3-AP2-64C3-AP2-128-10", 99.0, 180)}
STEPS = 4
LOOP: dict[str, Any] = {"data": "mnist", "epochs": 4, "batch": 128, "lr": 4e-3, "label_smoothing": 0.1}


def measure(session: Session) -> None:
    """One cell per net and side: accuracy and seconds after each epoch."""
    from ..nets.spikingjelly_net import DirectSpikingJelly  # needed to measure, not to show a record

    record = session.record("accuracy")
    for name, (spec, _, _) in GOALS.items():
        loop = {**LOOP, "threads": session.threads}
        ours = train.Config(spec=spec, steps=STEPS, **loop)
        head = {"race": name, "config": ours.to_dict()}
        record.measure(f"{name}-firstspike", partial(_run, ours), side="firstspike", **head)
        peer = DirectSpikingJelly(Workload(name, spec, LOOP["batch"], {}), STEPS)
        other = train.Config(**loop)
        record.measure(f"{name}-spikingjelly", partial(_run, other, model=peer), side="spikingjelly", **head)


def _run(config: train.Config, **net: Any) -> dict[str, Any]:
    datasets = data.load("mnist", train=True), data.load("mnist", train=False)
    result = train.fit(config, datasets=datasets, progress=False, **net)
    found = [
        {"accuracy": 100 * epoch.test.accuracy, "seconds": epoch.seconds, "step_seconds": epoch.step_seconds}
        for epoch in result.history
        if epoch.test is not None
    ]
    return {"epochs": found}


def reached(epochs: list[dict[str, float]], accuracy: float) -> tuple[int, float] | None:
    """The first epoch (from 1) whose test accuracy, in percent, is at least this, and the seconds of training until its end."""
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
