"""From a trained network to a program: folding, scales, integers, and refusals that name layer and reason."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ...data import Normalize
from ...models import TTFSNet
from ..program import profile as profiles
from ..program.host import Encoder
from ..program.inputs import input_times
from ..program.layers import Layer, Register, Shape
from ..program.profile import Profile
from ..program.program import Program, narrow
from . import scales
from .fake_quantize import held_scale
from .from_modules import CannotQuantize, arrange, direct_encoder, folded, one_sign_a_source, out_shape, readout_of


def quantize(
    model: TTFSNet,
    profile: str | os.PathLike[str] | Profile = "generic8",
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
    calibration: Tensor | None = None,
    biases: str = "refuse",
    normalize: Normalize | None = None,
    name: str = "network",
) -> Program:
    """Make a program of a trained `TTFSNet`.

    Normalisation and affine are folded into each weight first; an average pool k becomes a threshold k^2 times as
    large. Weights become clip(round(W / unit)), half to even, and thresholds the integers that the rounded sums reach
    exactly where the real ones would (docs/emulator.md, `scales.theta_integer`).

    profile: a name, a TOML file or a `Profile`. bits: weight bits, 2 to the profile's. granularity: one unit a "channel" or
    a "tensor"; by default "channel" where the profile has a threshold a neuron. The readout always has one unit.
    observer: "max" or "mse" (`scales.choose_scale`). calibration: float32 inputs [B, ...] of the net; the readout's unit
    is made coarser until its membrane keeps a quarter of its register free on them. biases: "refuse", or "drop" (said
    in the table) where the profile has none. normalize: makes the net's input, kept in the encoder.

    A directly coded first layer is computed on the host (`host.Encoder`): its input is real-valued.

    Raises CannotQuantize naming layer and reason; ValueError and TypeError for bad arguments.
    """
    if not isinstance(model, TTFSNet):
        raise TypeError(f"model must be a TTFSNet, got {type(model).__name__}")
    target = profiles.load(profile)
    if biases not in ("refuse", "drop"):
        raise ValueError(f"biases must be 'refuse' or 'drop', got {biases!r}")
    bits, granularity = scales.checked_bits(bits, target), scales.checked_granularity(granularity, target)
    maker = _Maker(target, bits, granularity, observer, biases == "drop", model.steps)
    program = maker.program(model, normalize, name)
    if calibration is not None and not program.layers[-1].fires:
        room = _readout_room(program, calibration)
        if room > 1:
            maker.coarser_readout = room
            program = maker.program(model, normalize, name)
    return program


class _Maker:
    """Makes a program's layers, all under the same settings."""

    def __init__(
        self, profile: Profile, bits: int, granularity: str, observer: str, drop_biases: bool, steps: int
    ) -> None:
        self.profile, self.bits, self.granularity, self.observer = profile, bits, granularity, observer
        self.drop_biases, self.steps = drop_biases, steps
        self.coarser_readout = 1.0
        limit = profile.single_spike_steps
        if profile.single_spike == "refractory" and limit is not None and steps > limit:
            raise CannotQuantize(
                f"profile {profile.name}: single spikes need a refractory period of {steps} steps, available {limit}"
            )

    def program(self, model: TTFSNet, normalize: Normalize | None, name: str) -> Program:
        modules = list(model.layers)
        shape: Shape = (1, 1, int(np.prod(model.input_shape)))
        if not model.flat:
            shape = (model.input_shape[1], model.input_shape[2], model.input_shape[0])
        encoder = (
            Encoder("latency", curve=model.encoder.curve) if isinstance(model.encoder, fs.LatencyEncoder) else None
        )
        if encoder is None:
            encoder, shape = direct_encoder(modules.pop(0), shape)
        if normalize is not None:
            scaling = normalize.to_dict()
            encoder = Encoder(**{**vars(encoder), "mean": scaling["mean"], "std": scaling["std"]})
        layers, table = [], []
        for index, module in enumerate(modules):
            kind = type(module).__name__
            label = f"{len(model.layers) - len(modules) + index}:{kind}"
            compared = module is modules[-1] and isinstance(model.readout, fs.FirstSpike)  # overshoots need one unit
            layer, row = self.layer(module, label, shape, index, compared)
            layers.append(layer)
            table.append(row)
            shape = layer.out_shape
        return Program(layers, self.steps, self.profile, encoder, readout_of(model.readout), name, table)

    def layer(
        self, module: nn.Module, name: str, shape: Shape, index: int, compared: bool
    ) -> tuple[Layer, dict[str, Any]]:
        if not isinstance(module, (fs.TTFSLinear, fs.TTFSConv2d, fs.Integrate)):
            raise CannotQuantize(f"layer {name}: only linear, convolutional and integrating layers run on the cores")
        p, fires, pool = self.profile, not isinstance(module, fs.Integrate), module.avg_pool
        weight, beta = folded(module, name)
        keep, decay_bits = self._leak(float(module.decay), name)
        threshold = module.neuron["threshold"] if isinstance(module, fs.FiringLayer) else 0.0
        if fires and threshold <= 0:
            raise CannotQuantize(f"layer {name}: the threshold must be positive, got {threshold}")
        step = p.weight_step
        one = self.granularity == "tensor" or not fires or compared
        unit, limited = self._unit(module, weight, threshold if fires else None, pool, one)
        column = unit.reshape(-1, *[1] * (weight.ndim - 1))
        codes = scales.round_weights(weight, column, self.bits, step)
        clipped = int((np.abs(np.rint(weight / (column * step)) * step) > np.abs(codes)).sum())
        if p.weight_sign == "source":
            one_sign_a_source(codes, name)
        known = {float(u): scales.theta_integer(threshold, float(u), pool, p) if fires else 0 for u in unit}
        theta = np.array([known[float(u)] for u in unit], np.int64)
        bias, dropped = self._bias(beta * pool * pool / unit, name)
        start = (index + 1) * p.axon_delay
        conv = isinstance(module, fs.TTFSConv2d)
        layer = Layer(
            name=name,
            kind="conv" if conv else "linear",
            weight=narrow(arrange(codes, conv, shape, pool, name)),
            theta=theta,
            bias=bias,
            in_shape=shape,
            out_shape=out_shape(module, shape, pool),
            accumulator=p.accumulator,
            membrane=p.membrane,
            pool=pool,
            stride=module.stride if isinstance(module, fs.TTFSConv2d) else (1, 1),
            padding=module.padding if isinstance(module, fs.TTFSConv2d) else (0, 0),
            fires=fires,
            delay=p.axon_delay,
            start=start,
            stop=start + self.steps,
            shift=p.weight_shift,
            keep=keep,
            decay_bits=decay_bits,
            update=p.update,
            fire=p.fire,
            scale=unit,
        )
        error = np.sqrt(np.mean((codes * column - weight) ** 2))
        row = {
            "layer": name,
            "weights": int(codes.size),
            "bits": self.bits,
            "scales": int(np.unique(unit).size),
            "max_abs_weight": float(np.abs(weight).max()),
            "rms_error": float(error),
            "clipped": clipped,
            "zeros": int((codes == 0).sum()),
            "theta_min": int(theta.min()) if fires else None,
            "theta_max": int(theta.max()) if fires else None,
            "scale_set_by_threshold": limited,
            "dropped_bias": dropped,
            **{f"{register}_overflow_free": free for register, free in layer.overflow_free().items()},
        }
        return layer, row

    def _unit(
        self, module: nn.Module, weight: NDArray[np.float64], threshold: float | None, pool: int, one: bool
    ) -> tuple[NDArray[np.float64], bool]:
        """The unit of each output channel, and whether the threshold's width made one of them coarser."""
        unit = held_scale(module)
        if unit is None:
            unit = scales.choose_scale(
                weight.reshape(1, -1) if one else weight, self.bits, self.profile.weight_step, self.observer
            )
        unit = np.broadcast_to(unit, (len(weight),)).copy()
        if threshold is None:
            return unit * self.coarser_readout, False
        least = scales.finest_scale(threshold, pool, self.profile)
        return np.maximum(unit, least), bool((unit < least).any())

    def _leak(self, decay: float, name: str) -> tuple[int, int]:
        bits = self.profile.decay_bits
        if decay == 1:
            return 1, 0
        if bits == 0:
            raise CannotQuantize(f"layer {name}: decay {decay} needs a leak, profile {self.profile.name} has none")
        keep = round(decay * (1 << bits))
        if not 0 < keep < 1 << bits:
            raise CannotQuantize(
                f"layer {name}: decay {decay} is not representable in {bits} bits ({keep} / {1 << bits})"
            )
        return keep, bits

    def _bias(self, wanted: NDArray[np.float64], name: str) -> tuple[NDArray[np.int64], float]:
        """Biases on the weights' grid, shifted like them; and the largest that was dropped, in units."""
        p = self.profile
        largest = float(np.abs(wanted).max(initial=0.0))
        if largest == 0:
            return np.zeros(wanted.shape, np.int64), 0.0
        if not p.bias_bits:
            if self.drop_biases:
                return np.zeros(wanted.shape, np.int64), largest
            why = "has none" if p.bias_bits == 0 else f"is not known to have any ({p.sources.get('bias_bits', '')})"
            raise CannotQuantize(
                f"layer {name}: it has biases, profile {p.name} {why}; train without them, "
                "fine-tune with emulator.qat, or drop them with biases='drop'"
            )
        codes = np.rint(wanted)
        if np.abs(codes).max() > (1 << (p.bias_bits - 1)) - 1:
            raise CannotQuantize(
                f"layer {name}: a bias of {largest:.0f} units needs more than the {p.bias_bits} bits "
                f"of profile {p.name}"
            )
        return codes.astype(np.int64) << p.weight_shift, 0.0


def _readout_room(program: Program, calibration: Tensor) -> float:
    """By how much the readout's unit must grow so that its membrane stays within 3/4 of its register on the
    calibration data."""
    wide = [*program.layers[:-1], replace(program.layers[-1], accumulator=Register.of(60), membrane=Register.of(60))]
    raw = replace(program, layers=wide).engine().run(input_times(program, calibration))
    membrane = raw.membrane[-1]
    assert membrane is not None
    register = program.layers[-1].membrane
    return float(np.abs(membrane).max(initial=0)) / (0.75 * min(-register.low, register.high)) if register.low else 1.0
