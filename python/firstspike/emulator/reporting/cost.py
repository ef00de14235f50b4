"""The energy of a run: counts of its layers, its messages, and the chip's schedule."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import energy
from ..._base import checks
from ...energy import Account, EnergyTable, LayerCounts
from ...energy.account import WINDOWED_SCHEDULES, Traffic
from ..placement import Placement
from ..program.layers import Layer, PixelNeuron, StepNeuron
from ..program.program import COUNTERS, Program
from .counting import first_macs
from .run import Run


def inactive_updates(run: Run) -> NDArray[np.int64]:
    """Updates of neurons without an event, int64 [B, L]: neurons times steps run, minus the active updates.

    In nets of windows: without a current, in the windows of the layer's sources and its own.
    """
    neurons = np.array([layer.neurons for layer in run.program.layers])
    return neurons * run.program.updated_steps(run.steps_run) - run.count("active")


def first_layer(program: Program) -> tuple[str | None, int]:
    """Where and how a directly coded first layer is computed, None without one; and its multiply-adds per image."""
    macs = first_macs(program)
    if program.pixels is not None:
        where = "on the cores" if program.first_on_cores else "before the cores"
        return f"multiply-adds in integers beside the cores, neurons {where}", macs
    return ("on the host, in float32" if macs else None), macs


def counts(run: Run) -> list[LayerCounts]:
    """Return what each layer did per sample, means over the samples of a run: what every energy is computed from.

    A directly coded first layer comes first.

    Parameters
    ----------
    run : Run
        With at least one sample.

    Examples
    --------
    >>> result = emulator.run(emulator.quantize(models.mlp("64-32-10", steps=8)), torch.rand(20, 64))
    >>> energy.accounts(emulator.counts(result), "45nm-integer").total == emulator.report(result).accounts[0].total
    True
    """
    checks.instance("run", run, Run, "a firstspike.emulator.Run")
    if not len(run.predictions):
        raise ValueError("run must have at least one sample")
    program = run.program
    mean = dict(zip(COUNTERS, run.counters.mean(0).T.tolist(), strict=True))
    idle, nonzero = inactive_updates(run).mean(0), run.nonzero_macs.mean(0)
    layers = [
        LayerCounts(
            **_facts(program, layer, run),
            nonzero_macs=float(nonzero[n + 1]),
            events=mean["events"][layer.inputs[0].source + 1],
            shortcut_events=sum(mean["events"][part.source + 1] for part in layer.inputs[1:]),
            additions=mean["delivered"][n],
            shortcut_additions=sum(
                mean["events"][part.source + 1] * (part.outputs if part.kind == "conv" else 1) for part in layer.inputs[1:]
            ),
            spikes=mean["spikes"][n],
            active=mean["active"][n],
            idle=float(idle[n]),
        )
        for n, layer in enumerate(program.layers)
    ]
    where, macs = first_layer(program)
    if where is None:
        return layers
    active, neurons = float(run.first_active.mean()), prod(program.input_shape)
    first = LayerCounts(
        **(_host_facts(program, run) if program.pixels is None else _facts(program, program.pixels, run)),
        nonzero_macs=float(nonzero[0]),
        direct_macs=macs,
        spikes=float(run.input_events.mean()),
        active=active,
        idle=neurons * float(run.steps_run.mean()) - active,
        on_cores=program.first_on_cores,
    )
    return [first, *layers]


def _host_facts(program: Program, run: Run) -> dict[str, Any]:
    """What a directly coded layer on the host is, of `LayerCounts`; its inputs are not known."""
    weight = program.encoder.weight
    assert weight is not None
    return {
        "name": "first layer",
        "kind": "linear" if weight.ndim == 2 else "convolution",
        "neurons": prod(program.input_shape),
        "outputs": len(weight),
        "taps": prod(weight.shape[2:]),
        "weights": weight.size,
        "macs": first_macs(program),
        "steps": float(run.steps_run.mean()),
        "biased": program.encoder.bias is not None,
        "host": True,
    }


def _facts(program: Program, layer: Layer, run: Run) -> dict[str, Any]:
    """What a layer is, of `LayerCounts`."""
    pool, own = layer.neuron.kind == "pool", layer.inputs[0]
    windows = {part.source: part.window for part in layer.inputs}
    windowed = layer.timing == "windowed"
    sizes = zip(layer.kernel, layer.stride, strict=True)
    return {
        "name": layer.name,
        "timing": layer.timing,
        "kind": "pool" if pool else "linear" if layer.kind == "linear" else "convolution",
        "neurons": layer.neurons,
        "inputs": prod(own.pooled_shape),
        "sources": prod(own.in_shape),
        "outputs": layer.out_shape[2],
        "taps": prod(layer.kernel),
        "reached": prod(ceil(kernel / stride) for kernel, stride in sizes) if layer.kind == "conv" else 1,
        "groups": own.groups,
        "weights": 0 if pool else layer.stored_weights,
        "macs": 0 if pool else sum(part.synapses for part in layer.inputs if part.kind != "diagonal"),
        "in_steps": float(sum(windows.values())) if windowed else 0.0,
        "steps": float(run.steps_run.mean() if not windowed else 0 if pool else layer.steps),
        "levels": 256 if layer.neuron.kind == "pixels" else (own.window if windowed else program.steps) + 1,
        "biased": bool(layer.bias.any()),
        "leaks": isinstance(layer.neuron, StepNeuron | PixelNeuron) and _leaks(layer.neuron),
    }


def _leaks(neuron: StepNeuron | PixelNeuron) -> bool:
    """True if the membrane decays from step to step."""
    return neuron.decay_bits > 0 and (getattr(neuron, "leak", "scale") == "shift" or neuron.keep != 1 << neuron.decay_bits)


def account_of(run: Run, table: str | EnergyTable, placement: Placement | None = None, schedule: str | None = None) -> Account:
    """The mean energy per image of `run` by an energy table (a name, a TOML file, or an `EnergyTable`)."""
    figures, profile = energy.load(table), run.program.profile
    schedule = profile.schedule_named(schedule)
    moved = None if placement is None else traffic(run, placement, figures.mesh_rows or 1, figures.cores_per_tile or 1)
    low_high = profile.step_nanoseconds
    run_ns = None if low_high is None or schedule in WINDOWED_SCHEDULES else float(np.mean(low_high) * run.steps_run.mean())
    made = energy.accounts(counts(run), figures, schedule, traffic=moved, run_ns=run_ns)
    if low_high is not None and made.chip.get("static") is not None:
        which = f"the mean of the profile's shortest and longest step, {low_high[0]:g} and {low_high[1]:g} ns"
        made.notes.append(f"static: each step is counted as {float(np.mean(low_high)):g} ns, {which}")
    return made


def traffic(run: Run, placement: Placement, mesh_rows: int, cores_per_tile: int) -> Traffic:
    """The messages of a run: one per spike, and per input event, to each core where its neuron has a synapse.

    Every neuron of a layer counts as having fired equally often. Tile t lies in row t % mesh_rows and column t // mesh_rows;
    core c is on tile c // cores_per_tile; input events enter at tile 0.
    """
    spikes, program = run.count("events").mean(0), run.program  # into each layer, from the one before it
    shapes = [program.input_shape, *(layer.out_shape for layer in program.layers)]
    messages = east_west = north_south = 0.0
    for link in placement.links:
        sent = float(spikes[link.layer + 1]) * link.neurons / prod(shapes[link.layer + 1])
        column, row = divmod((link.core or 0) // cores_per_tile, mesh_rows)
        to_column, to_row = divmod(link.target // cores_per_tile, mesh_rows)
        messages += sent
        east_west += sent * abs(to_column - column)
        north_south += sent * abs(to_row - row)
    return Traffic(messages, east_west, north_south)
