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
from torch import Tensor

from firstspike import data, emulator, models, train

from ..nets import forms, training_step
from ..nets.quantized_net import brevitas_net, lsq_net
from ..nets.windows import net_of, relu_of, spikingjelly_of
from ..records import recording_failures
from ..session import Session, fresh_compiler
from ..table_cells import ABSENT, faster, milliseconds, number
from ..workloads import CNN, MLP, Workload, workload_named

TITLE = "Time to accuracy"
#: Data set, test accuracy in percent to reach, net.
GOALS = (("mnist", 98.0, MLP), ("mnist", 99.0, CNN), ("fashion-mnist", 90.0, MLP), ("fashion-mnist", 92.0, CNN))
#: A net of a library, from workload and seed.
Peer = Callable[[Workload, int], torch.nn.Module]
BITS = 4  # of the activations of quantised nets


def _spikingjelly(steps: int) -> Peer:
    return lambda work, seed: spikingjelly_of(work, steps, seed)


#: By side: fields of `train.Config`, or the net of another library.
SIDES: dict[str, dict[str, Any] | Peer] = {
    "windows, T = 15": {"timing": "windowed", "steps": (1 << BITS) - 1, "input_steps": 255},
    "windows, T = 16": {"timing": "windowed", "steps": 16, "input_steps": 255},
    "step by step, T = 4": {"steps": 4},
    "ramp, T = 8": {"steps": 8, "synaptic_decay": 1.0},
    "ReLU, torch": {"model": "relu", "timing": "windowed"},
    "Brevitas, 4 bits": lambda work, seed: brevitas_net(work, BITS, seed=seed),
    "LSQ in torch, 4 bits": lambda work, seed: lsq_net(work, BITS, seed=seed),
    "SpikingJelly, T = 4": _spikingjelly(4),
    "SpikingJelly, T = 8": _spikingjelly(8),
}
#: Data set and sides of the table on README.md; nets of 4 bits are searched on this data set alone.
FRONT = "fashion-mnist"
FOUR_BITS = ("windows, T = 15", "Brevitas, 4 bits", "LSQ in torch, 4 bits")
FRONT_SIDES = (*FOUR_BITS, "windows, T = 16", "step by step, T = 4", "ReLU, torch", "SpikingJelly, T = 4")
#: Bits of weights and activations of nets in which both are rounded, and the epochs and rate of their training.
WEIGHT_BITS = (8, 4)
WEIGHT_EPOCHS, WEIGHT_RATE = 4, 2e-3
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
    """Milliseconds of a training step of a side, the faster of its forms; 0 where none was timed."""
    form = faster(times, side)
    return float(times[form]["median"]) if form in times else 0.0


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
        cell = record.measure(f"steps {work.name}", partial(_steps, session, work), work=work.name, batch=LOOP["batch"])
        steps[work.name] = cell["times"]
    for work in (MLP, CNN):
        for bits in WEIGHT_BITS:
            timed = {"what": "weights", "work": work.name, "bits": bits, "batch": LOOP["batch"]}
            record.measure(f"weights {work.name} {bits} bits", partial(_weight_steps, session, work, bits), **timed)
    for name, goal, work in sorted(GOALS, key=lambda goal: goal[0] != FRONT):
        for side in _sides(name):

            def accuracy(
                rate: float, epochs: int, seed: int | None, name: str = name, work: Workload = work, side: str = side
            ) -> float:
                head = {"data": name, "work": work.name, "side": side, "rate": rate, "epochs": epochs, "seed": seed}
                cell = " ".join(map(str, head.values()))
                run = partial(_run, name, work, side, rate, epochs, seed, session.threads)
                return float(record.measure(cell, run, **head)["accuracy"])

            if step_of(steps[work.name], side):
                search(goal, step_of(steps[work.name], side), accuracy)
    for work in (MLP, CNN):
        for bits in WEIGHT_BITS:
            for side in WEIGHT_SIDES:
                for seed in range(SEEDS):
                    run = {"what": "weights", "work": work.name, "bits": bits, "side": side, "seed": seed}
                    train_it = partial(_weight_run, work, bits, side, seed, session.threads)
                    record.measure(" ".join(map(str, run.values())), train_it, **run)


def _sides(name: str) -> list[str]:
    """The sides that are searched on a data set."""
    return [side for side in SIDES if name == FRONT or side not in FOUR_BITS]


def _run(name: str, work: Workload, side: str, rate: float, epochs: int, seed: int | None, threads: int) -> dict[str, float]:
    """Train once; the accuracy in percent after the last epoch, of test images or, without a seed, of held-out ones."""
    given, ours = SIDES[side], {}
    if isinstance(given, dict):
        ours = {"spec": work.spec, **given}
    held = HELD_OUT if seed is None else 0
    peer = None if isinstance(given, dict) else given(work, seed or 0)
    config = train.Config(data=name, lr=rate, epochs=epochs, seed=seed or 0, validation=held, threads=threads, **LOOP, **ours)
    datasets = data.load(name, train=True), data.load(name, train=False)
    last = train.fit(config, datasets=datasets, progress=False, model=peer).history[-1]
    found = last.validation if seed is None else last.test
    assert found is not None
    return {"accuracy": 100 * found.accuracy}


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    """Images of 8 bits, the same as floats, and labels."""
    part = data.load("fashion-mnist", train=False)
    images, labels = part.images[: LOOP["batch"]], part.labels[: LOOP["batch"]]
    return images, (images.float() / 255).to(memory_format=torch.channels_last), labels


def _steps(session: Session, work: Workload) -> dict[str, Any]:
    images, floats, labels = _batch()
    calls: dict[str, Callable[[], object]] = {}
    failures: dict[str, str] = {}
    fresh_compiler()
    for side, given in SIDES.items():
        if isinstance(given, dict) and given.get("model") != "relu":
            calls[side] = training_step(models.build(work.spec, input_shape=work.input_shape, **given), images, labels)
            continue
        make = partial(relu_of, work) if isinstance(given, dict) else partial(given, work, 0)
        x = images if side.startswith("SpikingJelly") else floats
        calls |= _working(side, make, x, labels, failures)
    return {"times": session.alternate(calls), "failures": failures}


def _working(
    side: str, make: Callable[[], torch.nn.Module], x: Tensor, labels: Tensor, failures: dict[str, str]
) -> dict[str, Callable[[], object]]:
    """Training steps of the forms of a side that run; why the others do not, in `failures`."""
    calls: dict[str, Callable[[], object]] = {}
    for form, net in forms(side, make).items():
        with recording_failures(failures, form):
            call = training_step(net, x, labels)
            call()
            calls[form] = call
    return calls


#: Nets with rounded weights, from workload, bits and seed; ours is made by `_prepared`.
WEIGHT_SIDES: dict[str, Callable[[Workload, int, int], torch.nn.Module] | None] = {
    "windows, qat.prepare": None,
    "Brevitas": lambda work, bits, seed: brevitas_net(work, bits, bits, seed),
    "LSQ in torch": lambda work, bits, seed: lsq_net(work, bits, bits, seed),
}


def _weight_steps(session: Session, work: Workload, bits: int) -> dict[str, Any]:
    """Training steps of nets with rounded weights, of the float net of windows and of the ReLU net."""
    images, floats, labels = _batch()
    window = net_of(work, (1 << bits) - 1)
    calls: dict[str, Callable[[], object]] = {"windows, float weights": training_step(window, images, labels)}
    failures: dict[str, str] = {}
    fresh_compiler()
    calls |= _working("ReLU, torch", partial(relu_of, work), floats, labels, failures)
    for side, make in WEIGHT_SIDES.items():
        if make is None:
            calls[side] = training_step(emulator.qat.prepare(net_of(work, (1 << bits) - 1), bits=bits), images, labels)
        else:
            calls |= _working(side, partial(make, work, bits, 0), floats, labels, failures)
    return {"times": session.alternate(calls), "failures": failures}


def _weight_run(work: Workload, bits: int, side: str, seed: int, threads: int) -> dict[str, float]:
    """Train once, with rounded weights from the start, or ours from the second epoch on; the test accuracy in percent."""
    make, datasets = WEIGHT_SIDES[side], (data.load(FRONT, train=True), data.load(FRONT, train=False))
    shared: dict[str, Any] = {"data": FRONT, "lr": WEIGHT_RATE, "seed": seed, "validation": 0, "threads": threads, **LOOP}
    if make is not None:
        net, epochs = make(work, bits, seed), WEIGHT_EPOCHS
    else:
        epochs, steps = WEIGHT_EPOCHS - 1, (1 << bits) - 1
        config = train.Config(spec=work.spec, timing="windowed", steps=steps, input_steps=255, epochs=1, **shared)
        net = emulator.qat.prepare(train.fit(config, datasets=datasets, progress=False).model, bits=bits)
    result = train.fit(train.Config(epochs=epochs, **shared), datasets=datasets, progress=False, model=net)
    return {"accuracy": 100 * train.evaluate(result.model, datasets[1]).accuracy}


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
        step = step_of(times, side)
        if not step:
            continue
        try:
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
        frame[f"{DATASETS[name]} {goal:g} %, {work.name.upper()}"] = [
            _cell(sides.get(side)) if side in _sides(name) else ABSENT for side in SIDES
        ]
    frame = frame[[any(cell not in (ABSENT, "not finished") for cell in line[1:]) for line in frame.itertuples(index=False)]]
    shown = [
        {
            "data": DATASETS[name],
            "net": work.spec,
            "side": side,
            "ms of a step": milliseconds(times, faster(times, side)),
            "seconds": number(one.seconds) if one else "not finished",
            "test, %": _range(one.tests) if one else ABSENT,
        }
        for name, _, work, sides in _by_goal(rows)
        if name == FRONT
        for times in [_times(rows, work.name)]
        for side in SIDES
        if side in FRONT_SIDES and step_of(times, side)
        for one in [sides.get(side)]
    ]
    caption = f"Training: median (quartiles) of a step, seconds of all steps, mean (range) of {SEEDS} seeds"
    return {
        "sides": ("Seconds of training steps until a net has a test accuracy", frame),
        "front": (caption, pd.DataFrame(shown)),
    } | ({"weights": _weight_table(rows)} if any(row.get("what") == "weights" for row in rows) else {})


def _weight_table(rows: list[dict[str, Any]]) -> tuple[str, pd.DataFrame]:
    """Times and accuracies of nets with rounded weights."""
    lines = []
    for row in rows:
        if row.get("what") != "weights" or "times" not in row:
            continue
        for side in ("windows, float weights", "ReLU, torch", *WEIGHT_SIDES):
            about = ("weights", row["work"], row["bits"], side)
            keys = ("what", "work", "bits", "side")
            tests = [other["accuracy"] for other in rows if tuple(other.get(key) for key in keys) == about]
            lines.append(
                {
                    "net": workload_named(row["work"]).spec,
                    "bits": row["bits"],
                    "side": side,
                    "ms of a step": milliseconds(row["times"], faster(row["times"], side)),
                    "test, %": _range(tests) if len(tests) == SEEDS else ABSENT,
                }
            )
    caption = (
        f"Rounded weights and activations: median (quartiles) of a step, {WEIGHT_EPOCHS} epochs of Fashion-MNIST, {SEEDS} seeds"
    )
    return caption, pd.DataFrame(lines)


def _range(tests: Sequence[float]) -> str:
    """The mean and the range of test accuracies in percent."""
    return f"{mean(tests):.2f} ({min(tests):.2f} to {max(tests):.2f})"


def _times(rows: list[dict[str, Any]], work: str) -> dict[str, Any]:
    """The times of a training step of a net, by side; empty where it was not timed."""
    return next((row["times"] for row in rows if "times" in row and row["work"] == work and "bits" not in row), {})


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
    searched = (f"Seconds of training steps to a test accuracy, mean (range) of {SEEDS} seeds", pd.DataFrame(lines))
    return [searched] + [_weight_table(rows)] * any(row.get("what") == "weights" for row in rows)
