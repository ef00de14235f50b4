"""Time to an accuracy: the epochs that one small search finds for every side, times the seconds of an epoch.

Epochs and accuracies do not depend on how busy the machine is; the cells of seconds need a quiet one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

import pandas as pd
import torch
from tools.tables import DATASETS

from firstspike import data, models, train

from ..nets import forms, training_step
from ..nets.windows import relu_of, spikingjelly_of
from ..session import Session, fresh_compiler
from ..table_cells import faster, milliseconds, number
from ..workloads import CNN, MLP, Workload

TITLE = "Time to accuracy"
#: Data set, test accuracy in percent to reach, net.
GOALS = (("mnist", 98.0, MLP), ("mnist", 99.0, CNN), ("fashion-mnist", 90.0, MLP), ("fashion-mnist", 92.0, CNN))
#: By side: fields of `train.Config`, or the steps of SpikingJelly's net.
SIDES: dict[str, dict[str, Any] | int] = {
    "windows, T = 16": {"timing": "windowed", "steps": 16},
    "step by step, T = 4": {"steps": 4},
    "ramp, T = 8": {"steps": 8, "synaptic_decay": 1.0},
    "ReLU, torch": {"model": "relu", "timing": "windowed"},
    "SpikingJelly, T = 4": 4,
    "SpikingJelly, T = 8": 8,
}
#: Data set and sides of the table on README.md.
FRONT = "fashion-mnist"
FRONT_SIDES = ("windows, T = 16", "step by step, T = 4", "ReLU, torch", "SpikingJelly, T = 4")
LOOP: dict[str, Any] = {"batch": 128, "label_smoothing": 0.1}
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
EPOCHS = (1, 2, 3, 4, 6, 8)
SEEDS = 3
HELD_OUT = 5000  # training images
BUDGET = 300  # seconds that the training steps of one run may take
MARGIN = 0.75  # points below the goal on held-out images, where it is not tried on test images
IMAGES = 60_000

#: From rate, epochs and seed, or None for held-out images, to the accuracy of the last epoch in percent.
Accuracy = Callable[[float, int, int | None], float]


def seconds_of(epochs: int, step: float) -> float:
    """Seconds of all training steps of so many epochs, from the milliseconds of one."""
    return float(epochs * IMAGES / LOOP["batch"] * step / 1000)


def step_of(times: dict[str, Any], side: str) -> float:
    """Milliseconds of a training step of a side, the faster of its forms."""
    return float(times[faster(times, side)]["median"])


def search(goal: float, step: float, accuracy: Accuracy) -> tuple[float, int, list[float]]:
    """(rate, epochs, test accuracies by seed): the fewest epochs, each with its own schedule, that reach the goal.

    step : milliseconds of a training step; with it, more than one epoch must fit in `BUDGET`.

    Each number of epochs has its own best rate on held-out images, of all `RATES` at first, then of the two that were best
    there. With it all seeds train, and their mean test accuracy counts.
    """
    rates: Sequence[float] = RATES
    tried = [epochs for epochs in EPOCHS if epochs == 1 or seconds_of(epochs, step) <= BUDGET]
    for epochs in tried:
        held = {rate: accuracy(rate, epochs, None) for rate in rates}
        rate, *_ = rates = sorted(held, key=lambda rate: held[rate], reverse=True)[:2]
        if held[rate] < goal - MARGIN and epochs != tried[-1]:
            continue
        tests = [accuracy(rate, epochs, seed) for seed in range(SEEDS)]
        if mean(tests) >= goal:
            break
    return rate, epochs, tests


def measure(session: Session) -> None:
    """One cell per net, with the milliseconds of a training step of each side; then one per run of the searches."""
    record = session.record("accuracy")
    steps = {}
    for work in (MLP, CNN):
        cell = record.measure(f"step {work.name}", partial(_steps, session, work), work=work.name, batch=LOOP["batch"])
        steps[work.name] = cell["times"]
    for name, goal, work in GOALS:
        for side in SIDES:

            def accuracy(
                rate: float, epochs: int, seed: int | None, name: str = name, work: Workload = work, side: str = side
            ) -> float:
                head = {"data": name, "work": work.name, "side": side, "rate": rate, "epochs": epochs, "seed": seed}
                cell = " ".join(map(str, head.values()))
                run = partial(_run, name, work, side, rate, epochs, seed, session.threads)
                return float(record.measure(cell, run, **head)["accuracy"])

            search(goal, step_of(steps[work.name], side), accuracy)


def _run(name: str, work: Workload, side: str, rate: float, epochs: int, seed: int | None, threads: int) -> dict[str, float]:
    """Train once; the accuracy in percent after the last epoch, of test images or, without a seed, of held-out ones."""
    given, ours = SIDES[side], {}
    if isinstance(given, dict):
        ours = {"spec": work.spec, **given}
    held = HELD_OUT if seed is None else 0
    peer = spikingjelly_of(work, given, seed or 0) if isinstance(given, int) else None
    config = train.Config(data=name, lr=rate, epochs=epochs, seed=seed or 0, validation=held, threads=threads, **LOOP, **ours)
    datasets = data.load(name, train=True), data.load(name, train=False)
    last = train.fit(config, datasets=datasets, progress=False, model=peer).history[-1]
    found = last.validation if seed is None else last.test
    assert found is not None
    return {"accuracy": 100 * found.accuracy}


def _steps(session: Session, work: Workload) -> dict[str, Any]:
    part = data.load("fashion-mnist", train=False)
    images, labels = part.images[: LOOP["batch"]], part.labels[: LOOP["batch"]]
    floats = (images.float() / 255).to(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], object]] = {}
    fresh_compiler()
    for side, given in SIDES.items():
        if isinstance(given, dict) and given.get("model") != "relu":
            calls[side] = training_step(models.build(work.spec, input_shape=work.input_shape, **given), images, labels)
            continue
        x, make = (floats, partial(relu_of, work)) if isinstance(given, dict) else (images, partial(spikingjelly_of, work, given))
        calls |= {form: training_step(net, x, labels) for form, net in forms(side, make).items()}
    return {"times": session.alternate(calls)}


class Found(NamedTuple):
    """What the search of a side found."""

    rate: float
    epochs: int
    tests: list[float]
    step: float  # milliseconds of a training step
    reached: bool

    @property
    def seconds(self) -> float:
        """Of all training steps."""
        return seconds_of(self.epochs, self.step)


def found(rows: list[dict[str, Any]], name: str, goal: float, work: Workload) -> dict[str, Found]:
    """By side, for one goal; without the sides whose search is not finished."""
    times = _times(rows, work.name)
    sides = {}
    for side in SIDES if times else ():
        about = (name, work.name, side)
        runs = {
            (row["rate"], row["epochs"], row["seed"]): row["accuracy"]
            for row in rows
            if (row.get("data"), row["work"], row.get("side")) == about
        }
        try:
            step = step_of(times, side)
            rate, epochs, tests = search(goal, step, lambda *run, runs=runs: runs[run])
        except KeyError:
            continue
        sides[side] = Found(rate, epochs, tests, step, mean(tests) >= goal)
    return sides


def _by_goal(rows: list[dict[str, Any]]) -> Iterator[tuple[str, float, Workload, dict[str, Found]]]:
    """Data, goal, net, and what was found by side, for the goals of which a side is measured."""
    for name, goal, work in GOALS:
        sides = found(rows, name, goal, work)
        if sides:
            yield name, goal, work, sides


def _cell(one: Found | None) -> str:
    if one is None:
        return "not finished"
    return number(one.seconds) if one.reached else f"{mean(one.tests):.1f} % after {number(one.seconds)}"


def summaries(rows: list[dict[str, Any]]) -> dict[str, tuple[str, pd.DataFrame]]:
    """`sides`: the seconds of each side, a column per goal; the accuracy where the goal is not reached. `front`: time and
    accuracy of the same nets, on `FRONT` alone.
    """
    frame = pd.DataFrame({"side": list(SIDES)})
    for name, goal, work, sides in _by_goal(rows):
        frame[f"{DATASETS[name]} {goal:g} %, {work.name.upper()}"] = [_cell(sides.get(side)) for side in SIDES]
    shown = [
        {
            "data": DATASETS[name],
            "net": work.spec,
            "side": side,
            "ms of a step": milliseconds(times, faster(times, side)),
            "seconds": number(one.seconds),
            "test, %": _range(one.tests),
        }
        for name, _, work, sides in _by_goal(rows)
        for side, one in sides.items()
        if name == FRONT and side in FRONT_SIDES
        for times in [_times(rows, work.name)]
    ]
    caption = f"Training: median (quartiles) of a step, seconds of all steps, mean (range) of {SEEDS} seeds"
    return {
        "sides": ("Seconds of training steps until a net has a test accuracy", frame),
        "front": (caption, pd.DataFrame(shown)),
    }


def _range(tests: Sequence[float]) -> str:
    """The mean and the range of test accuracies in percent."""
    return f"{mean(tests):.2f} ({min(tests):.2f} to {max(tests):.2f})"


def _times(rows: list[dict[str, Any]], work: str) -> dict[str, Any]:
    """The times of a training step of a net, by side; empty where it was not timed."""
    return next((row["times"] for row in rows if "times" in row and row["work"] == work), {})


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """One row per goal and side; sides whose search is not finished are left out."""
    lines = [
        {
            "data": DATASETS[name],
            "goal": f"{goal:g} %",
            "net": work.spec,
            "side": side,
            "seconds": number(one.seconds),
            "epochs": one.epochs,
            "rate": f"{one.rate:g}",
            "test, %": _range(one.tests),
            "reached": "yes" if one.reached else "no",
            "ms of a step": number(one.step),
        }
        for name, goal, work, sides in _by_goal(rows)
        for side, one in sides.items()
    ]
    return [(f"Seconds of training steps to a test accuracy, mean (range) of {SEEDS} seeds", pd.DataFrame(lines))]
