"""A training step of nets of windows, beside their ReLU counterparts and SpikingJelly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..nets import forms, training_step
from ..nets.windows import channels_last, images_of, net_of, relu_of, spikingjelly_of
from ..records import recording_failures
from ..session import Session, fresh_compiler
from ..table_cells import faster, milliseconds, ratio
from ..timing import speedup
from ..workloads import WORKLOADS, Workload, workload_named

TITLE = "Nets of windows: training"
STEPS = (2, 4, 8, 16, 64, 255)
PEER_STEPS = (8, 16, 64)
STEPS_IN_BFLOAT16 = 16


def measure(session: Session) -> None:
    """One cell per net and number of steps, and one per net in bfloat16."""
    record = session.record("windowed")
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in STEPS if session.full else (16,):
            head = {"what": "training", "work": workload.name, "steps": steps, "batch": workload.batch}
            record.measure(f"{workload.name}-T{steps}", partial(_training, session, workload, steps), **head)
        head = {"what": "bfloat16", "work": workload.name, "steps": STEPS_IN_BFLOAT16, "batch": workload.batch}
        record.measure(f"{workload.name}-bfloat16", partial(_bfloat16, session, workload), **head)


def _training(session: Session, workload: Workload, steps: int) -> dict[str, Any]:
    images, labels = images_of(workload.batch, workload)
    floats = channels_last(images.float() / 255)
    calls: dict[str, Callable[[], object]] = {
        "windowed": training_step(net_of(workload, steps), images, labels),
        "relu": training_step(relu_of(workload), floats, labels),
    }
    failures: dict[str, str] = {}
    fresh_compiler()
    if steps in PEER_STEPS and steps in workload.steps:
        with recording_failures(failures, "spikingjelly"):
            for form, net in forms("spikingjelly", partial(spikingjelly_of, workload, steps)).items():
                call = training_step(net, images, labels)
                call()
                calls[form] = call
    return {"times": session.alternate(calls), "failures": failures}


def _bfloat16(session: Session, workload: Workload) -> dict[str, Any]:
    """Training steps of both nets, with products in float32 and in bfloat16."""

    def low(step: Callable[[], Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return step()

    images, labels = images_of(workload.batch, workload)
    floats = channels_last(images.float() / 255)
    calls: dict[str, Callable[[], object]] = {}
    nets = {"windowed": (net_of(workload, STEPS_IN_BFLOAT16), images), "relu": (relu_of(workload), floats)}
    for side, (net, x) in nets.items():
        step = training_step(net, x, labels)
        calls |= {f"{side}, float32": step, f"{side}, bfloat16": partial(low, step)}
    return {"times": session.alternate(calls)}


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Training steps, with the ratio to the ReLU net in torch; then those in bfloat16."""
    training, low = [], []
    for row in rows:
        times = row["times"]
        head = {"net": workload_named(row["work"]).spec, "batch": row["batch"]}
        if row["what"] == "training":
            peer = faster(times, "spikingjelly")
            training.append(
                {
                    **head,
                    "T": row["steps"],
                    "windowed, ms": milliseconds(times, "windowed"),
                    "ReLU, torch, ms": milliseconds(times, "relu"),
                    "times as long as ReLU": f"{speedup(times['windowed']['samples'], times['relu']['samples']):.2f}x",
                    "SpikingJelly, ms": milliseconds(times, peer),
                    "SpikingJelly: times as long as windowed": ratio(times, peer, "windowed"),
                }
            )
        else:
            cells = {**head, "T": row["steps"]}
            for name, side in (("windowed", "windowed"), ("ReLU, torch", "relu")):
                full, reduced = f"{side}, float32", f"{side}, bfloat16"
                cells |= {
                    f"{name}, float32, ms": milliseconds(times, full),
                    f"{name}, bfloat16, ms": milliseconds(times, reduced),
                }
                cells[f"{name}, speed-up"] = f"{speedup(times[full]['samples'], times[reduced]['samples']):.2f}x"
            low.append(cells)
    return [
        (
            "Training step of a net of windows and of its ReLU counterpart, and in SpikingJelly, all with batch normalisation",
            pd.DataFrame(training),
        ),
        ("Training step with products in bfloat16", pd.DataFrame(low)),
    ]
