"""Predict what the core of `export_rtl` does, to the cycle, from the spikes of a run (docs/fpga.md, "Cycles")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from ...spikes import SpikeTimes
from ..program.program import Program
from .layout import Input, Layout, Map, Stage
from .windowed import levels_of

Ints = NDArray[np.int64]

TO_COLLECTOR = 7  # cycles from a tile's last spike to its complete membranes
TO_LIST = 3  # cycles from a membrane to the list of spikes, besides one for each bit of its quotient


def cycles(
    program: Program,
    samples: Tensor | SpikeTimes,
    *,
    lanes: int | None = None,
    clusters: int | None = None,
    skip_silent: bool = True,
) -> pd.DataFrame:
    """Predict what the core of `export_rtl` does, exactly; means over the samples.

    Parameters
    ----------
    program : Program
        Of a net of windows.
    samples : Tensor or SpikeTimes
        As `emulator.run` takes them; a sample takes about 30 ms.
    lanes, clusters : int, optional
        As in `export_rtl`.
    skip_silent : bool
        As in `export_rtl`.

    Returns
    -------
    DataFrame
        One row per stage of the core, which is a layer or a layer with its max pool: stage; cycles; runs, spikes_read and
        additions of weights of all clusters; spikes_written; lanes_busy, the share of the lanes' cycles in which they add.

    Examples
    --------
    >>> net = models.build("8C3-MP2-32-10", input_shape=(1, 8, 8), steps=16, timing="windowed", pooling="earliest")
    >>> images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    >>> work = emulator.cycles(emulator.quantize(net), images, lanes=8, clusters=2)
    >>> list(work.stage), bool((work.cycles > 0).all())
    (['0:WindowedConv2d', '2:WindowedLinear', '3:WindowedReadout'], True)
    """
    layout = Layout(program, lanes, clusters, skip_silent=skip_silent)
    predictor = Predictor(layout, layout.quotient_bits)
    return means(layout, [predictor.work(levels) for levels in sent(layout, program.input_times(samples))[0]])


def means(layout: Layout, works: list[list[Work]]) -> pd.DataFrame:
    """The table of `cycles`, from the work of each sample."""
    frame = pd.DataFrame(np.mean(works, 0), columns=Work._fields)
    frame.insert(0, "stage", [stage.layer.name for stage in layout.stages])
    frame["lanes_busy"] = frame.additions / (frame.cycles * layout.lanes * layout.clusters)
    return frame


class Work(NamedTuple):
    """What a stage does for one sample: cycles, runs, spikes read and additions of weights by all clusters, spikes written."""

    cycles: int
    runs: int
    spikes_read: int
    additions: int
    spikes_written: int


class Runs(NamedTuple):
    """The runs of a stage's tiles in the walker's order: where they begin and end, int64 [tiles, runs of a tile], in the marks of
    the stage's inputs one after the other; and whether a run is the last of its site, [runs of a tile]."""

    begin: Ints
    end: Ints
    closes: list[bool]


def runs_of(layout: Layout, stage: Stage) -> Runs:
    """The runs of a stage; those that lie beside the map are empty."""
    parts, offset = [], 0
    for synapses in stage.inputs:
        parts.append(_runs(layout, stage, synapses) + offset)
        offset += layout.source(synapses).room[1]
    both = np.concatenate(parts, -1)  # [2, rows, columns, tiles, site rows, site columns, runs of a site]
    sites, per_site = both.shape[4] * both.shape[5], both.shape[6]
    begin, end = both.reshape(2, -1, sites * per_site)
    return Runs(begin, end, [run % per_site == per_site - 1 for run in range(sites * per_site)])


def _runs(layout: Layout, stage: Stage, synapses: Input) -> Ints:
    part, source, (height, width, _) = synapses.part, layout.source(synapses), layout.maps[stage.number].shape
    blocks, pool = len(source.blocks), source.pool
    taps, span = (np.arange(part.reads[1]), 1) if synapses.split else (np.zeros(1, np.int64), part.reads[1] * blocks)
    first = [source.blocks.index(synapses.channels_of(tile).start) if synapses.split else 0 for tile in stage.tiles]
    rows, columns, tiles, site_rows, site_columns, kernel_rows, tap = np.ix_(
        np.arange(height) * stage.pool[0] * part.stride[0] - part.padding[0],
        (np.arange(width) * stage.pool[1] * part.stride[1] - part.padding[1]) * blocks,
        np.array(first),
        np.arange(stage.pool[0]) * part.stride[0],
        np.arange(stage.pool[1]) * part.stride[1] * blocks,
        np.arange(part.reads[0] * pool),
        taps * blocks,
    )
    y, x = (rows + site_rows) * pool + kernel_rows, columns + tiles + site_columns + tap
    left, right = np.maximum(x, 0), np.minimum(x + span, source.pitch)
    exists = (y >= 0) & (y < source.rows) & (left < right)
    marks = [np.where(exists, y * source.pitch + x, 0) for x in (left, right)]
    return np.stack([x.reshape(*x.shape[:5], -1) for x in marks])


def counted(neurons: Map, levels: NDArray[np.uint8], skips: bool) -> Ints:
    """How many spikes lie before each mark of a map, int64 [marks]. levels: [height, width, channels]."""
    width = neurons.columns * neurons.pool
    spikes = levels[: neurons.rows, :width] > 0 if skips else np.ones((neurons.rows, width, neurons.shape[2]), bool)
    blocks = np.add.reduceat(spikes, neurons.blocks, axis=2, dtype=np.int64)
    columns = blocks.reshape(neurons.rows, neurons.columns, neurons.pool, -1).sum(2)
    return np.concatenate([[0], np.cumsum(columns)])


def sent(layout: Layout, times: NDArray[np.uint8]) -> tuple[list[dict[int, NDArray[np.uint8]]], NDArray[np.int64]]:
    """What the emulator computes of spike times [B, sources]: the levels of each map but the readout's, [height, width,
    channels], of each sample; and the scores [B, classes]."""
    raw = layout.program.engine().run(times, all_times=True)
    every: dict[int, NDArray[np.uint8] | None] = {-1: times, **dict(enumerate(raw.times))}
    levels: list[dict[int, NDArray[np.uint8]]] = [{} for _ in times]
    for number, neurons in layout.maps.items():
        fired = every[number]
        if neurons.steps and fired is not None:
            for sample, sample_levels in zip(levels, levels_of(fired, neurons.steps), strict=True):
                sample[number] = sample_levels.reshape(neurons.shape)
    assert raw.membrane[-1] is not None
    return levels, raw.membrane[-1][:, -1]


class Predictor:
    """Predicts the work of a layout's stages, in a core whose quotients have so many bits."""

    def __init__(self, layout: Layout, quotient_bits: int) -> None:
        self.layout, self.latency = layout, TO_LIST + quotient_bits
        self.runs = [runs_of(layout, stage) for stage in layout.stages]

    def work(self, levels: Mapping[int, NDArray[np.uint8]]) -> list[Work]:
        """The work of each stage for one sample. levels: of each map but the readout's, [height, width, channels]."""
        marks = {number: counted(self.layout.maps[number], values, self.layout.skips) for number, values in levels.items()}
        pairs = zip(self.layout.stages, self.runs, strict=True)
        return [self._work(stage, runs, marks, levels.get(stage.number)) for stage, runs in pairs]

    def _work(self, stage: Stage, runs: Runs, marks: Mapping[int, Ints], sent: NDArray[np.uint8] | None) -> Work:
        before = np.concatenate([marks[part.source] for part in stage.layer.inputs])
        counts = before[runs.end] - before[runs.begin]
        lanes = np.array([len(tile) for tile in stage.tiles])
        if sent is None or not self.layout.skips:
            spikes = np.tile(lanes, len(counts) // len(lanes))
        else:
            spikes = np.stack([np.count_nonzero(sent[..., tile.start : tile.stop], axis=2) for tile in stage.tiles], 2).ravel()
        timeline = _Timeline(self.layout.clusters, runs.closes)
        pairs = zip(counts.tolist(), spikes.tolist(), strict=True)
        events = [timeline.tile(n, run_counts, count) for n, (run_counts, count) in enumerate(pairs)]
        additions = np.array(events).reshape(-1, len(lanes)).sum(0) @ lanes
        kept = 0 if sent is None else int(marks[stage.number][-1])
        return Work(timeline.end + self.latency, counts.size, int(counts.sum()), int(additions), kept)


class _Cluster:
    """Cycles of a cluster, of its last tile or run. load: the walker takes the tile; walked: the run's marks are read; held:
    their difference waits; popped: the streamer takes the run; finished: it reads its last spike; free: lanes may end a tile."""

    def __init__(self) -> None:
        self.load = self.walked = self.held = self.popped = self.finished = self.free = 0
        self.stalls = [(0, 0)] * 4  # the walker rests in first < cycle <= last

    def go(self, cycle: int) -> int:
        """The first cycle, from this one on, in which the walker does not rest."""
        for first, last in self.stalls:
            if first < cycle <= last:
                cycle = last + 1
        return cycle

    def push(self, cycle: int, spikes: int, ends: bool) -> None:
        """Put a run into the queue of two before the streamer."""
        if self.popped > cycle:
            self.stalls = [*self.stalls[1:], (cycle, self.popped)]
        self.popped = max(cycle + 1, self.finished)
        self.finished = self.popped + spikes
        if ends:
            self.finished = max(self.finished, self.free)


class _Timeline:
    """When the tiles of a stage are computed, in cycles from the one in which it begins (rtl/fs_cluster.sv, rtl/fs_core.sv)."""

    def __init__(self, clusters: int, closes: list[bool]) -> None:
        self.clusters, self.closes = [_Cluster() for _ in range(clusters)], closes
        self.dispatched = self.end = 0  # the dispatcher gave the last tile, the collector took its last neuron

    def tile(self, number: int, counts: list[int], sent: int) -> int:
        """Compute a tile with runs of `counts` spikes, `sent` of whose neurons are sent; return the cycles of its lanes."""
        cluster = self.clusters[number % len(self.clusters)]
        self.dispatched = max(self.dispatched + 1, cluster.load)
        cluster.load = max(self.dispatched + 1, cluster.walked)
        ready, waiting, events, last = cluster.load + 1, 0, sum(counts), len(counts) - 1
        for run, (count, closes) in enumerate(zip(counts, self.closes, strict=True)):
            cluster.walked = cluster.go(max(cluster.walked + 1, ready))
            cluster.held = cluster.go(cluster.go(cluster.walked + 1) + 1)
            if count:
                if waiting:
                    cluster.push(cluster.held, waiting, False)
                waiting = count
            if closes:
                events += waiting == 0  # a cycle for a membrane without any spike
                cluster.push(cluster.go(cluster.held + 1), max(waiting, 1), run == last)
                waiting = 0
        self.end = max(cluster.finished + TO_COLLECTOR, self.end + 1) + max(1, sent) - 1
        cluster.free = self.end + 1
        return events
