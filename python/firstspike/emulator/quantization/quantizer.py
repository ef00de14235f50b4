"""From a trained network to a program: its facts are read, then made integers."""

from __future__ import annotations

import os

import numpy as np
from torch import Tensor, nn

from ..._base import checks
from ...spikes import SpikeTimes
from ..program import profile as profiles
from ..program.layers import LARGEST_LEAKING_BITS, Register, StepNeuron
from ..program.profile import Profile
from ..program.program import Program
from .facts import net_to_read, read
from .integers import integers
from .obstacles import Settings
from .refusals import Refusals


def quantize(
    model: nn.Module,
    profile: str | os.PathLike[str] | Profile = "generic8",
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
    calibration: Tensor | SpikeTimes | None = None,
    biases: str = "refuse",
    first_layer: str = "integers",
    name: str = "network",
) -> Program:
    """Make a program of a trained net; CannotQuantize names layer, problem and remedy.

    Normalisation and affine are folded into each weight first. An average pool k becomes a threshold k^2 times as large,
    and the scale of a residual block one more weight of each neuron of its last layer. Weights become
    q = clip(round(W / scale)), with halves rounded to even. A threshold becomes the integer that the sums of q reach exactly
    where the same sums of real weights would (docs/emulator.md). Whole weights of a quantised net of windows stay whole where
    the bits suffice. A directly coded first layer, with the net's `normalize` folded in, takes pixels of 8 bits.

    Parameters
    ----------
    model : nn.Module
        A `TTFSNet`, or a Sequential that `models.as_net` takes.
    profile : str, path or Profile
        A name, a TOML file or a profile.
    bits : int, optional
        Weight bits, 2 to the profile's; by default those of `qat.prepare`, or else the profile's, and 8 of a layer on pixels.
    granularity : {"channel", "tensor"}, optional
        One scale per channel or per tensor; by default as in `qat.prepare`, or else "channel" if the profile has a threshold
        per neuron. The readout always has one scale.
    observer : {"mse", "max"}
        See `scales.choose_scale`.
    calibration : Tensor or SpikeTimes, optional
        Inputs of the net. The readout's scale is made coarser until its membrane keeps a quarter of its register free. For
        nets of windows only their shape counts; no input overflows their registers.
    biases : {"refuse", "drop"}
        What to do with biases if the profile has none; the table records what was dropped.
    first_layer : {"integers", "float"}
        Arithmetic of a directly coded first layer; "float" leaves it to the host, in float32, and takes any real data.
    name : str
        For reports.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8), "generic8", bits=4)
    >>> max(int(abs(layer.weight).max()) for layer in program.layers) <= 8
    True
    """
    if calibration is not None:
        checks.batch("calibration", calibration, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
        if not len(calibration):
            raise ValueError("calibration must have at least one sample")
    checks.instance("name", name, str, "a str")
    checks.one_of("biases", biases, ("refuse", "drop"))
    drop = biases == "drop"
    settings = Settings(profiles.load(profile), bits, granularity, observer, first_layer, drop).checked()
    refusals = Refusals()
    facts = read(net_to_read(model, None if calibration is None else tuple(calibration.shape[1:])), refusals)
    program = integers(facts, settings, refusals, name)
    refusals.settle()
    assert program is not None
    if calibration is not None and (room := _readout_room(program, calibration)) > 1:
        program = integers(facts, settings, refusals, name, coarser=room)
        assert program is not None
    return program


def _readout_room(program: Program, calibration: Tensor | SpikeTimes) -> float:
    """The factor by which a readout's scale must grow so that its membrane stays within 3/4 of its register; 0 without one."""
    last, register = program.layers[-1], program.layers[-1].membrane
    if last.timing == "windowed" or last.fires:
        return 0.0
    neuron = last.neuron_as(StepNeuron)
    widest = Register.of(60 if neuron.decay_bits == 0 and neuron.leak == "scale" else LARGEST_LEAKING_BITS)
    if register.low == 0:
        widest = widest.replace(low=0)
    inputs = last.accumulator if neuron.current is not None else Register.of(60)
    open_end = last.replace(accumulator=inputs, membrane=widest)
    wide = program.replace(layers=(*program.layers[:-1], open_end))
    raw = wide.engine().run(wide.input_times(calibration))
    membrane = raw.membrane[-1]
    assert membrane is not None
    room = min(-register.low, register.high) if register.low else register.high
    return float(np.abs(membrane).max(initial=0)) / (0.75 * room)
