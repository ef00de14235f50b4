"""A small profile in a folder of its own, and records that were made up for tests of what reads records."""

import copy
import os
import signal
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from paper.execute import Outcome, Task
from paper.records import Store

from firstspike import inspect, models
from firstspike.inspect import HISTOGRAM_EDGES
from paper import grid

from ..samples import generator

_load = grid.load  # tests put another one in its place

PROFILE = """
[profile]
description = "for tests"
seeds = [0, 1]
settings = { batch = 32, threads = 1 }

[setup.small]
title = "digits, small"
data = "digits"
spec = "64-16-10"
epochs = 2

[setup.cnn]
title = "MNIST, CNN"
data = "mnist"
spec = "4C3-AP2-10"
epochs = 1

[table1]
setups = ["small", "cnn"]

[table4]
setups = ["cnn"]

[pooling]
setups = ["cnn"]

[decoder]
setups = ["small"]

[figure1]
setups = ["cnn"]
target_accuracy = 60

[gamma]
setups = ["small"]
values = [1.1, 1.5]
set = { validation = 100 }

[steps]
setups = ["small"]
values = [2, 4]

[time]
setups = ["small"]
values = [2, 8]

[windows]
setups = ["small", "cnn"]

[encoder]
setups = ["small"]

[cost]
setups = ["small"]

[yin-yang]
setups = ["small"]
"""


@cache
def counts() -> list[dict]:
    """The counts of a net of windows with its first weights."""
    net = models.build("64-16-10", input_shape=(1, 8, 8), steps=8, timing="windowed", input_steps=15, generator=generator(0))
    return [asdict(layer) for layer in inspect.counts(net, torch.rand(8, 64, generator=generator(1)))]


def profile(folder: Path, text: str = PROFILE) -> grid.Profile:
    """The profile `text`, with the real experiments."""
    (folder / "profiles").mkdir(parents=True, exist_ok=True)
    (folder / "profiles" / "tiny.toml").write_text(text)
    if not (folder / "experiments").exists():
        (folder / "experiments").symlink_to(grid.HERE / "experiments")
    return _load("tiny", folder)


def record(seed: int = 0, accuracy: float = 90.0, **test: object) -> dict:
    """A record's contents as `paper.job` makes them, with made-up numbers."""
    bins = len(HISTOGRAM_EDGES) - 1
    current = {"current_mean": 0.1, "current_sd": 0.5, "histogram": [1 / bins] * bins, "gradient": 1e-3}
    layers = [{"layer": "TTFSConv2d", **current, "firing": 0.4}, {"layer": "Integrate", **current, "firing": None}]
    curve = {"loss": [1.0, 0.5], "train_accuracy": [50.0, 95.0], "validation_accuracy": [None, None]}
    spikes = {"spikes_per_neuron": 0.4, "spikes_per_layer": [0.4], "spikes_per_image": 20.0, "repeated": None}
    decisions = {"decision": {"mean": 2.5, "median": 2.0, "p95": 4.0}, "decided": [10, 20, 15, 5, 0], "ties": 10.0}
    results = {
        "parameters": 1234,
        "sources": ["here", "here"],
        "images": {"train": 100, "test": 50},
        "curve": {**curve, "test_accuracy": [61.0, accuracy], "lr": [1e-3, 0.0]},
        "test": {"accuracy": accuracy + seed, "loss": 0.4, "silent": 0.5, **decisions, **spikes, **test},
        "best": {"epoch": 2, "accuracy": accuracy + seed},
        "validation": None,
        "diagnosis": copy.deepcopy({"init": layers, "trained": layers}),
        "counts": counts(),
        "operations": {"additions": 2000.0, "macs": 1000.0, "updates": 500.0},
    }
    timing = {"started": "2026-01-01T00:00:00+00:00", "seconds": 3.0, "cpu_seconds": 2.0, "epochs": [1.0, 1.5]}
    machine = {"cpu": "a", "cores": 2, "system": "Linux"}
    origin = {"commit": "abc", "sessions": [], "versions": {"torch": "2"}, "machine": machine, "backend": "torch"}
    return {"results": results, "timing": {**timing, "peak_mb": 300.0}, "provenance": {**origin, "threads": 1}}


def fill(store: Store, conditions: list[grid.Condition]) -> None:
    """Give every run of the conditions a record; accuracies are 90 and 91 for the seeds 0 and 1."""
    for condition in conditions:
        for run in condition.runs:
            store.add(run, record(run.seed))


def quick_job(task: Task) -> Outcome:
    """A job for executors: no training; it notes in its workplace that it was there."""
    task.workplace.mkdir(parents=True, exist_ok=True)
    with (task.workplace / "visits").open("a") as file:
        file.write("x")
    return Outcome(task.run, record=record(task.run.seed))


def killing_job(task: Task) -> Outcome:
    """Like `quick_job`, but seed 1 kills its process at the first visit and seed 2 at every one, as out of memory does."""
    visited = (task.workplace / "visits").exists()
    outcome = quick_job(task)
    if task.run.seed == 2 or (task.run.seed == 1 and not visited):
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome
