"""Run a program on images or spikes, and keep what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data import Normalize
from ...spikes import SILENT, SpikeTimes
from ..program.engine import COUNTERS
from ..program.inputs import input_times
from ..program.program import Program

BATCH = 1000


@dataclass(frozen=True, eq=False)
class Run:
    """What a program did. B samples, L layers, O outputs.

    predictions: int64 [B]. scores: [B, classes], in integers (membrane) or float64. ties: bool [B], more than one
    class had the best score, and the lower index was taken. silent: bool [B], no output neuron fired (never with a
    membrane readout). decision_step: int64 [B], step of the first output spike counted from the first input step,
    delays included, -1 where silent; with a membrane readout the last step. steps_run: int64 [B]. input_events: int64
    [B]. counters: int64 [B, L, 7] (`core.COUNTERS`). trace: for the first `trace` samples, each layer's membrane
    int64 [steps, neurons] and times.
    """

    program: Program
    predictions: NDArray[np.int64]
    scores: NDArray[np.generic]
    ties: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    decision_step: NDArray[np.int64]
    steps_run: NDArray[np.int64]
    input_events: NDArray[np.int64]
    counters: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    trace: dict[str, NDArray[np.generic]]

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, 0 to 1; None without labels."""
        return None if self.labels is None else float((self.predictions == self.labels).mean())

    def count(self, name: str) -> NDArray[np.int64]:
        """One counter, int64 [B, L]."""
        return self.counters[:, :, COUNTERS.index(name)]


def run(
    program: Program,
    inputs: SpikeTimes | Tensor,
    *,
    labels: Tensor | None = None,
    threads: int | None = None,
    early_exit: bool = False,
    trace: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run every sample of `inputs` (see `input_times`) through the program, bit for bit as docs/emulator.md says.

    labels: int64 [B]. threads: of the core, by default all usable; the results are the same for any. early_exit: a
    sample ends with the step of its first output spike; refused where the readout could still change its answer.
    trace: keep membranes and times of so many samples. progress: called with samples done and all. Raises
    OverflowRefused under policy `error`.
    """
    if early_exit:
        _check_early_exit(program)
    core, total = program.engine(), len(inputs)
    if labels is not None and len(labels) != total:
        raise ValueError(f"labels must have one element a sample, {total}, got {len(labels)}")
    parts: list[tuple[NDArray[Any], ...]] = []
    kept: dict[str, NDArray[np.generic]] = {}
    for begin in range(0, max(total, 1), BATCH):
        times = input_times(program, inputs[begin : begin + BATCH])
        if begin == 0 and trace:
            kept = _trace(program, times[:trace])
        raw = core.run(times, threads=threads, early_exit=early_exit)
        parts.append(
            (
                *_decode(program, raw.times[-1], raw.membrane[-1], raw.overshoot),
                raw.steps_run.astype(np.int64),
                (times != SILENT).sum(1),
                raw.counters,
            )
        )
        if progress is not None:
            progress(min(begin + BATCH, total), total)
    scores, best, ties, silent, step, steps_run, events, counters = (
        np.concatenate(x) for x in zip(*parts, strict=True)
    )
    return Run(
        program,
        best,
        scores,
        ties,
        silent,
        step,
        steps_run,
        events,
        counters,
        None if labels is None else labels.cpu().numpy().astype(np.int64),
        kept,
    )


def float_predictions(model: nn.Module, images: Tensor, normalize: Normalize) -> NDArray[np.int64]:
    """The predictions of the float network, int64 [B], for uint8 images: what a report compares a run with."""
    with torch.inference_mode():
        answers = [model(normalize(part)).argmax(1) for part in images.split(BATCH)]
    return torch.cat(answers).numpy()


def _decode(
    program: Program,
    times: NDArray[np.uint8] | None,
    membrane: NDArray[np.int64] | None,
    overshoot: NDArray[np.int64] | None,
) -> tuple[NDArray[Any], ...]:
    last, readout = program.layers[-1], program.readout
    assert times is not None
    scores: NDArray[np.generic]
    if membrane is not None and not last.fires:
        scores = readout.membrane(membrane[:, last.start : last.stop])
        silent, step = np.zeros(len(times), bool), np.full(len(times), last.stop - 1)
    else:
        assert overshoot is not None
        local = np.where(times == SILENT, SILENT, times - np.uint8(last.start)).astype(np.uint8)
        scores = readout.spikes(SpikeTimes(torch.from_numpy(local), last.stop - last.start), overshoot)
        silent = (times == SILENT).all(1)
        step = np.where(silent, -1, times.min(1).astype(np.int64))
    ties = (scores == scores.max(1, keepdims=True)).sum(1) > 1
    return scores, scores.argmax(1), ties, silent, step


def _check_early_exit(program: Program) -> None:
    readout, outputs = program.readout, program.layers[-1].neurons
    lone = readout.classes in (None, outputs)
    if readout.kind == "membrane":
        raise ValueError("early_exit needs a spiking readout: a membrane readout decides in the last step")
    if readout.kind == "temporal-weighting" and not (lone and (readout.mode == "linear" or readout.gamma > 1)):
        raise ValueError(
            "early_exit would change answers: several neurons a class, or weights that do not fall, "
            "let later spikes count"
        )


def _trace(program: Program, times: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    raw = program.engine().run(times, all_times=True, trace=True)
    kept: dict[str, NDArray[np.generic]] = {"input_times": times}
    for layer, fired, membrane in zip(program.layers, raw.times, raw.membrane, strict=True):
        assert fired is not None and membrane is not None
        kept[f"times/{layer.name}"], kept[f"membrane/{layer.name}"] = fired, membrane
    return kept
