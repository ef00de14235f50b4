"""Programs that stop before their last step: after a number of steps, or when the best score leads by a margin."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..._base import checks
from .host import LARGEST_MARGIN
from .layers import Layer
from .program import Engine, Program, Raw, last_window


def stopped(program: Program, *, after: int | None = None, margin: float | None = None) -> Program:
    """Return the program that stops after a number of steps, or at a margin: run, place, export and save it as any other.

    Until it stops it computes what `program` computes, bit for bit. In nets of windows the readout integrates while the last
    hidden layer fires, so a run may stop within that last window only; steps count from the start of the input's window.

    Parameters
    ----------
    program : Program
    after : int, optional
        One of `program.score_steps`: the steps of the run, without delays. The last layers' windows end there.
    margin : float, optional
        A sample stops after the first step in which its best score leads the second by so much, > 0, in the unit of the net's
        scores; it is rounded up to a whole number of the program's. For membrane readouts and nets of windows.

    Raises
    ------
    ValueError
        For 0 steps, more than the program has, or steps without scores; for a margin with a readout of spikes.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> short = emulator.stopped(program, after=3)
    >>> int(emulator.run(short, torch.rand(20, 64)).steps_run.max())
    3
    """
    checks.instance("program", program, Program, "a firstspike.emulator.Program")
    if program.timing == "windowed" and last_window(program.layers)[-1] < 0 and (after, margin) != (None, None):
        raise ValueError("program must have a hidden layer that integrates; a readout of the input's window cannot stop early")
    if after is not None:
        steps = program.score_steps
        program = cut(program, checks.integer("after", after, steps[0], steps[-1]) - steps[0] + 1)
    if margin is None:
        return program
    margin, readout = checks.positive("margin", margin), program.readout
    if readout.kind != "membrane" or program.classes < 2 or program.layers[-1].shortcut is not None:
        raise ValueError(
            f"margin needs the scores of a membrane readout or a net of windows, of two classes or more, got {readout.kind}; "
            "early_exit ends a sample with its first output spike"
        )
    neurons = program.layers[-1].neurons // program.classes
    unit = float(program.score_scale.max()) / readout.scale(program.layers[-1].steps) / neurons
    return program.replace(readout=readout.replace(margin=min(max(1, math.ceil(margin / unit)), LARGEST_MARGIN)))


def cut(program: Program, steps: int, *, at_once: bool = False) -> Program:
    """The program without the last steps in which its readout integrates, of which `steps` stay.

    A layer ends when its spikes no longer reach the readout in time; with `at_once`, step by step, when the readout ends: a run
    that a margin ends has updated all layers until then.
    """
    layers = program.layers
    if program.timing == "step":
        left_out = layers[-1].steps - steps
        end = layers[-1].stop - left_out
        ran = min(program.steps, end) if at_once else max(1, program.steps - left_out)
        encoder, first = program.encoder, program.pixels
        if encoder.kind in ("latency", "spikes") and first is None:
            encoder = encoder.replace(code_steps=encoder.code_steps or program.steps)
        first = None if first is None else first.replace(neuron=first.neuron.replace(stop=ran))
        parts = [_ending(layer, min(layer.stop, end) if at_once else layer.stop - left_out) for layer in layers]
        return program.replace(layers=parts, steps=ran, encoder=encoder, pixels=first)
    readout, window = layers[-1], layers[-1].inputs[0].window
    if steps == window:
        return program
    sent = last_window(layers)
    end = readout.start - (window - steps)
    changed = {n: _ending(layers[n], layers[n].stop - (window - steps)) for n in sent}
    changed[len(layers) - 1] = readout.replace(neuron=readout.neuron.replace(start=end, stop=end))
    parts = []
    for n, layer in enumerate(layers):
        inputs = [part.replace(window=steps) if part.source in sent else part for part in layer.inputs]
        parts.append(changed[n].replace(inputs=inputs) if n in changed else layer)
    return program.replace(layers=parts)


def running(program: Program, raw: Raw) -> NDArray[np.int64]:
    """Integer scores [B, steps, classes] if a run stopped after each of `score_steps`. raw: of a complete run."""
    last = program.layers[-1]
    if program.timing == "step":
        membrane = raw.membrane[-1]
        assert membrane is not None
        return program.readout.running(membrane[:, last.start : last.stop])
    part = last.inputs[0]
    times = raw.times[part.source]
    assert times is not None
    start = {"start": part.window + part.delay, "stop": part.window + part.delay}
    alone = last.replace(inputs=[part.replace(source=-1)], neuron=last.neuron.replace(**start))
    membrane = Engine([alone], part.window).run(times, trace=True).membrane[0]
    assert membrane is not None
    return program.readout.running(membrane)


def _ending(layer: Layer, stop: int) -> Layer:
    return layer.replace(neuron=layer.neuron.replace(stop=stop))
