"""Run a program on images or spikes, and keep the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..._base import checks
from ..._base.checks import SILENT
from ...spikes import SpikeTimes
from ..program.program import COUNTERS, Program, Raw
from ..program.stopping import cut, running, stopped
from .counting import first_updates, needs_times, nonzero_macs

BATCH = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Results of a program on B samples; L layers.

    Parameters
    ----------
    program : what was run.
    predictions, labels : int64 [B]; labels None if not given.
    scores : [B, classes], integers, or float64 with a first-spike readout; times `program.score_scale` they are in the unit of
        the net's outputs.
    ties : more than one class had the best score, and the lower index was taken.
    silent : no output neuron fired.
    decision_step : in steps of the network, without delays: the first output spike, -1 where silent; with a membrane readout
        the step from which on the best class no longer changes, which is known only at the end, or, with a margin, the last step.
    steps_run : delays included.
    input_events : of the steps run.
    first_active : updates of neurons that pixels drive, until they fire, in the steps run; 0 without such a layer.
    nonzero_macs : int64 [B, 1 + L], the multiply-adds of the same net with ReLU whose input is not 0; the first column is of a
        directly coded layer.
    counters : int64 [B, L, 7] (`COUNTERS`).
    trace : of the first S samples `input_times`, uint8 [S, sources], and of layer n `times.n`, uint8 [S, neurons], and
        `membrane.n`, int64 [S, total_steps, neurons], 0 in the steps after an early exit; and the layers' `names`. In nets of
        windows times count from the start of the layer's window, and membranes are of the windows of its sources and its own.
        With a margin they are of the whole run.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> result = emulator.run(program, torch.rand(20, 64), labels=torch.randint(10, (20,)))
    >>> result.scores.shape, result.count("spikes").shape, 0 <= result.accuracy <= 1
    ((20, 10), (20, 1), True)
    """

    program: Program
    predictions: NDArray[np.int64]
    scores: NDArray[np.generic]
    ties: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    decision_step: NDArray[np.int64]
    steps_run: NDArray[np.int64]
    input_events: NDArray[np.int64]
    first_active: NDArray[np.int64]
    nonzero_macs: NDArray[np.int64]
    counters: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    trace: dict[str, NDArray[np.generic]]

    def __repr__(self) -> str:
        accuracy = "" if self.accuracy is None else f", accuracy {100 * self.accuracy:.2f} %"
        samples = checks.counted(len(self.predictions), "sample")
        spikes = checks.counted(int(self.count("spikes").sum()), "spike")
        return f"Run({samples} through {self.program!r}{accuracy}, {spikes})"

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions, 0 to 1; None without labels or samples."""
        return None if self.labels is None or not len(self.labels) else float((self.predictions == self.labels).mean())

    def count(self, name: str) -> NDArray[np.int64]:
        """One counter of `COUNTERS`, int64 [B, L]."""
        checks.one_of("name", name, COUNTERS)
        return self.counters[:, :, COUNTERS.index(name)]


def run(
    program: Program,
    inputs: SpikeTimes | Tensor,
    *,
    labels: Tensor | None = None,
    threads: int | None = None,
    early_exit: bool = False,
    stop_after: int | None = None,
    margin: float | None = None,
    trace: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run samples through a program, bit for bit as docs/emulator.md says.

    Parameters
    ----------
    program : Program
    inputs : SpikeTimes or Tensor
        Spikes, or images as the network takes them; uint8 pixels p count as p / 255.
    labels : Tensor, optional
        int64 [B], from 0 to the program's classes - 1.
    threads : int, optional
        By default one per usable core; the results do not depend on it.
    early_exit : bool
        End a sample with the step of its first output spike; ValueError if later spikes could change the prediction.
    stop_after, margin : int, float, optional
        Stop after so many steps, or a sample when its best score leads by so much: run `emulator.stopped(program, ...)`.
    trace : int
        Keep membranes and times of the first so many samples.
    progress : callable, optional
        Called with the number of finished samples and their total.

    Raises
    ------
    OverflowRefused
        If a register with policy `error` overflows.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> emulator.run(program, torch.rand(20, 64)).predictions.shape
    (20,)
    """
    program = stopped(program, after=stop_after, margin=margin)
    checks.batch("inputs", inputs, (SpikeTimes, Tensor), "SpikeTimes or a torch.Tensor")
    trace = checks.integer("trace", trace, 0)
    if threads is not None:
        threads = checks.integer("threads", threads, 1, 1024)
    if checks.boolean("early_exit", early_exit) and (reason := waits_for_all(program)) is not None:
        raise ValueError(f"early_exit needs a readout that the first output spike decides; {reason}")
    until_clear = program.readout.margin is not None
    core, total = program.engine(), len(inputs)
    if labels is not None:
        checks.labels(labels, total, program.classes)
    parts: list[tuple[NDArray[Any], ...]] = []
    traced: list[NDArray[np.uint8]] = []
    for begin in range(0, max(total, 1), BATCH):
        times = program.input_times(inputs[begin : begin + BATCH])
        if begin < trace:
            traced.append(times[: trace - begin])
        raw = core.run(times, threads=threads, early_exit=early_exit, all_times=needs_times(program), first=begin)
        nonzero = nonzero_macs(program, inputs[begin : begin + BATCH], times, raw)
        parts.append((*(_until_clear(program, raw, times, threads) if until_clear else _part(program, raw, times)), nonzero))
        if progress is not None:
            progress(min(begin + BATCH, total), total)
    scores, best, ties, silent, step, steps_run, events, active, counters, nonzero = (
        np.concatenate(x) for x in zip(*parts, strict=True)
    )
    kept: dict[str, NDArray[np.generic]] = {}
    if traced:
        first = np.concatenate(traced)
        raw = core.run(first, threads=threads, early_exit=early_exit, all_times=True, trace=True)
        kept = {"input_times": first, "names": np.array([layer.name for layer in program.layers])}
        for n, (fired, membrane) in enumerate(zip(raw.times, raw.membrane, strict=True)):
            assert fired is not None and membrane is not None
            kept |= {f"times.{n}": fired, f"membrane.{n}": membrane}
    known = None if labels is None else labels.cpu().numpy()
    return Run(program, best, scores, ties, silent, step, steps_run, events, active, nonzero, counters, known, kept)


def _part(program: Program, raw: Raw, times: NDArray[np.uint8]) -> tuple[NDArray[Any], ...]:
    """Of a part of the samples: as `_decoded`, then steps run, input events, updates of neurons that pixels drive, counters."""
    events = ((times != SILENT) & (times < raw.steps_run[:, None])).sum(1)
    active = first_updates(program, times, raw.steps_run)
    return *_decoded(program, raw), raw.steps_run.astype(np.int64), events, active, raw.counters


def _until_clear(program: Program, whole: Raw, times: NDArray[np.uint8], threads: int | None) -> tuple[NDArray[Any], ...]:
    """`_part` of samples that stop at the program's margin: those of one step run again, through a program cut there."""
    last = program.readout.stops(running(program, whole))
    order = np.argsort(last, kind="stable")
    parts = []
    for steps in np.unique(last):
        short, inputs = cut(program, int(steps), at_once=True), times[last == steps]
        if program.timing == "step":
            inputs = np.where(inputs < short.steps, inputs, SILENT).astype(np.uint8)
        part = [*_part(short, short.engine().run(inputs, threads=threads), inputs)]
        part[4] = np.full(len(inputs), (steps if program.timing == "step" else max(1, short.latency)) - 1)  # the decision
        parts.append(part)
    back = np.argsort(order, kind="stable")
    return tuple(np.concatenate(values)[back] for values in zip(*parts, strict=True))


def _decoded(program: Program, raw: Raw) -> tuple[NDArray[Any], ...]:
    """(scores, predictions, ties, silent, decision step) of a part of a run."""
    last, readout, times, membrane = program.layers[-1], program.readout, raw.times[-1], raw.membrane[-1]
    assert times is not None
    scores: NDArray[np.generic]
    if program.timing == "windowed":
        assert membrane is not None
        scores = membrane[:, -1]
        best = scores == scores.max(1, keepdims=True)
        decided = np.full(len(scores), max(program.latency, 1) - 1)
        return scores, best.argmax(1), best.sum(1) > 1, np.zeros(len(scores), bool), decided
    if membrane is not None and not last.fires:
        running = readout.running(membrane[:, last.start : last.stop])
        scores = running[:, -1]
        ties = (running[:, -1] == running[:, -1].max(1, keepdims=True)).sum(1) > 1
        return scores, running[:, -1].argmax(1), ties, np.zeros(len(times), bool), _settled(running)
    assert raw.overshoot is not None
    silent = (times == SILENT).all(1)
    local = np.where(times == SILENT, SILENT, times - np.uint8(last.start)).astype(np.uint8)
    scores, best, ties = readout.spikes(local, last.steps, raw.overshoot)
    return scores, best, ties, silent, np.where(silent, -1, local.min(1).astype(np.int64))


def _settled(scores: NDArray[np.int64]) -> NDArray[np.int64]:
    """Step from which on the best class of running scores [B, T, classes] no longer changes, int64 [B]."""
    best = scores.argmax(2)
    differs = best != best[:, -1:]
    settled: NDArray[np.int64] = (differs * np.arange(1, best.shape[1] + 1)).max(1)
    return settled


def waits_for_all(program: Program) -> str | None:
    """Why the class is known at the end of a run only; None where the step of the first output spike decides."""
    readout, last = program.readout, program.layers[-1]
    if readout.kind == "membrane":
        return "a membrane readout gives its result in the last step, or at a margin"
    if readout.kind == "temporal-weighting":
        if program.classes < last.neurons:
            return "with several neurons per class later spikes count"
        if not (np.diff(readout.time_weights(last.steps)) < 0).all():
            return "its temporal weights do not fall, so later spikes count"
    return None
