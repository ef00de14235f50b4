"""From a trained network to a program: folding, scales, integers, and refusals that name layer and reason."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ..._base import checks
from ..._base.geometry import shortcut_stride
from ..._base.modules import refresh_weights
from ...data import Normalize
from ...data.normalize import warn_of_missing
from ...models import TTFSNet, as_net
from ...spikes import SpikeTimes
from ..program import profile as profiles
from ..program.layers import Layer, Shape, Shortcut
from ..program.profile import Profile
from ..program.program import Program
from . import scales
from .fake_quantize import check_prepared_for, held_scale, prepared_bits
from .from_modules import (
    CannotQuantize,
    CoreLayer,
    arrange,
    core_layers,
    encoder_of,
    folded,
    one_sign_per_source,
    out_shape,
    readout_of,
    refuse_own_code,
    shortcut_scale,
    threshold_of,
)


def quantize(
    model: nn.Module,
    profile: str | os.PathLike[str] | Profile = "generic8",
    *,
    bits: int | None = None,
    granularity: str | None = None,
    observer: str = "mse",
    calibration: Tensor | SpikeTimes | None = None,
    biases: str = "refuse",
    normalize: Normalize | None = None,
    name: str = "network",
) -> Program:
    """Make a program of a trained net: a `TTFSNet`, or a Sequential of our layers that ends in a readout (`models.as_net`).

    Normalisation and affine are folded into each weight first; an average pool k becomes a threshold k^2 times as
    large; the scale of a residual block becomes one more weight of each neuron of its last layer. Weights become q =
    clip(round(W / scale)), half to even, and thresholds the integers that the rounded sums reach exactly where the
    real ones would (docs/emulator.md, `scales.theta_integer`).

    profile: a name, a TOML file or a `Profile`. bits: weight bits, 2 to the profile's; by default those of `qat.prepare`,
    or else the profile's. granularity: one scale per "channel" or per "tensor"; by default that of `qat.prepare`, or else
    "channel" where the profile has a threshold per neuron. The readout always has one scale.
    observer: "max" or "mse" (`scales.choose_scale`).
    calibration: inputs of the net, float32 [B, ...], or SpikeTimes for a net without an encoder; the readout's scale is
    made coarser until its membrane keeps a quarter of its register free on them. biases: "refuse", or "drop" (recorded
    in the table) where the profile has none. normalize: makes the net's input of uint8 images, kept in the encoder.

    A directly coded first layer is computed on the host (`host.Encoder`), since its input is real-valued. A net whose
    first layer takes spikes becomes a program that takes spikes.

    Raises CannotQuantize naming layer and reason; ValueError and TypeError for bad arguments.

    Examples:
        >>> program = emulator.quantize(models.mlp("64-32-10", steps=8), "generic8", bits=4)
        >>> max(int(abs(layer.weight).max()) for layer in program.layers) <= 8
        True
    """
    if calibration is not None:
        checks.batch("calibration", calibration, (Tensor, SpikeTimes), "a torch.Tensor or SpikeTimes")
        if not len(calibration):
            raise ValueError("calibration must have at least one sample")
    checks.optional("normalize", normalize, Normalize, "a firstspike.data.Normalize")
    checks.instance("name", name, str, "a str")
    if normalize is None:
        warn_of_missing(model, "the program will divide bytes by 255 alone: pass normalize=")
    model = as_net(model, None if calibration is None else tuple(calibration.shape[1:]), name="model")
    refuse_own_code(model)
    refresh_weights(model)
    target = profiles.load(profile)
    checks.one_of("biases", biases, ("refuse", "drop"))
    bits = scales.checked_bits(prepared_bits(model) if bits is None else bits, target)
    check_prepared_for(model, target, bits, granularity)
    granularity = scales.checked_granularity(granularity, target)
    checks.one_of("observer", observer, scales.OBSERVERS)
    maker = _Maker(target, bits, granularity, observer, biases == "drop", model.steps)
    program = maker.program(model, normalize, name)
    if calibration is not None and not program.layers[-1].fires:
        room = scales.readout_room(program, calibration)
        if room > 1:
            maker.coarser_readout = room
            program = maker.program(model, normalize, name)
    try:
        program.engine()  # which knows the limits of the emulator's own arithmetic
    except ValueError as error:
        raise CannotQuantize(str(error)) from error
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
        found = core_layers(model)
        encoder, shape = encoder_of(model)
        if not found:
            raise CannotQuantize("the net has no layer after its host layer; nothing is left for the cores")
        if normalize is not None:
            scaling = normalize.to_dict()
            encoder = replace(encoder, mean=scaling["mean"], std=scaling["std"])
        layers: list[Layer] = []
        table, shapes = [], [shape]  # of the input, and of what each layer gives
        for index, one in enumerate(found):
            compared = one.module is model.layers[-1] and model.compares_overshoots  # which needs one scale
            layer, row = self.layer(one, shapes, index, compared)
            layers.append(layer)
            table.append(row)
            shapes.append(layer.out_shape)
        return Program(layers, self.steps, self.profile, encoder, readout_of(model), name, table)

    def layer(
        self, core_layer: CoreLayer, shapes: list[Shape], index: int, compared: bool
    ) -> tuple[Layer, dict[str, Any]]:
        module, name, shape = core_layer.module, core_layer.name, shapes[index]
        if not isinstance(module, (fs.TTFSLinear, fs.TTFSConv2d, fs.Integrate)):
            raise CannotQuantize(f"layer {name}: only linear, convolutional and integrating layers run on the cores")
        p, fires, pool = self.profile, not isinstance(module, fs.Integrate), module.avg_pool
        weight, beta = folded(module, name)
        keep, decay_bits = self._leak(float(module.decay), name)
        threshold = threshold_of(module) if isinstance(module, fs.FiringLayer) else 0.0
        if fires and threshold <= 0:
            raise CannotQuantize(f"layer {name}: the threshold must be positive, got {threshold}")
        step = p.weight_step
        one = self.granularity == "tensor" or not fires or compared
        block, source = core_layer.block, core_layer.source
        beside = None if block is None else shortcut_scale(block, shapes[source + 1][2])
        scale, limited = self._scale(module, name, weight, beta, threshold if fires else None, pool, one, beside)
        column = scale.reshape(-1, *[1] * (weight.ndim - 1))
        q = scales.round_weights(weight, column, self.bits, step)
        clipped = int((np.abs(np.rint(weight / (column * step)) * step) > np.abs(q)).sum())
        if p.weight_sign == "source":
            one_sign_per_source(q, name)
        known = {float(s): scales.theta_integer(threshold, float(s), pool, p) if fires else 0 for s in scale}
        theta = np.array([known[float(s)] for s in scale], np.int64)
        bias, dropped = self._bias(beta * pool * pool / scale, name)
        start = (index + 1) * p.axon_delay
        made = out_shape(module, shape, pool)
        shortcut = None
        if block is not None and beside is not None:
            weights = scales.shortcut_integers(beside, scale[: len(beside)], threshold, pool, step)
            if isinstance(module, fs.TTFSLinear) and shapes[source + 1][:2] != (1, 1):
                raise CannotQuantize(
                    f"layer {name}: it ends a residual block whose input must then be flat, but is a map of "
                    f"{shapes[source + 1][0]} x {shapes[source + 1][1]}"
                )
            block.check_places(shapes[source + 1][:2], made[:2])
            shortcut = self._shortcut(weights, source, shapes[source + 1], made, index, name)
        conv = isinstance(module, fs.TTFSConv2d)
        layer = Layer(
            name=name,
            kind="conv" if conv else "linear",
            weight=arrange(q, conv, shape, pool, name),
            theta=theta,
            bias=bias,
            in_shape=shape,
            out_shape=made,
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
            scale=scale,
            shortcut=shortcut,
        )
        error = np.sqrt(np.mean((q * column - weight) ** 2))
        row = {
            "layer": name,
            "weights": int(q.size),
            "bits": self.bits,
            "scales": int(np.unique(scale).size),
            "max_abs_weight": float(np.abs(weight).max()),
            "rms_error": float(error),
            "clipped": clipped,
            "zeros": int((q == 0).sum()),
            "theta_min": int(theta.min()) if fires else None,
            "theta_max": int(theta.max()) if fires else None,
            "scale_set_by_threshold": limited,
            "dropped_bias": dropped,
            **{f"{register}_overflow_free": free for register, free in layer.overflow_free().items()},
        }
        return layer, row

    def _scale(
        self,
        module: nn.Module,
        name: str,
        weight: NDArray[np.float64],
        beta: NDArray[np.float64],
        threshold: float | None,
        pool: int,
        one: bool,
        beside: NDArray[np.float64] | None,
    ) -> tuple[NDArray[np.float64], bool]:
        """The scale of each output channel, and whether the threshold's width made one of them coarser.

        beside: the scale of a shortcut, which is one more weight of its channels, and is not clipped.
        """
        scale = held_scale(module)
        if scale is None:
            settings: dict[str, Any] = {"bits": self.bits, "observer": self.observer, "profile": self.profile}
            scale = scales.scale_of_layer(weight, beta, one=one, threshold=threshold, pool=pool, **settings)
        elif threshold is not None and (scale < scales.finest_scale(threshold, pool, self.profile)).any():
            raise CannotQuantize(
                f"layer {name}: profile {self.profile.name} has no threshold as large as qat.prepare made"
            )
        scale = np.broadcast_to(scale, (len(weight),)).copy()
        if threshold is None:
            return scale * self.coarser_readout, False
        if beside is not None:
            least = np.zeros(len(scale))
            least[: len(beside)] = scales.least_scale(beside, pool, self.bits, self.profile.weight_step)
            scale = np.maximum(scale, least.max() if one else least)
        finest = scales.finest_scale(threshold, pool, self.profile)
        return np.maximum(scale, finest), bool((scale < finest).any())

    def _shortcut(
        self, weights: NDArray[np.int64], source: int, shape: Shape, out: Shape, index: int, name: str
    ) -> Shortcut:
        """The input of a residual block into its last layer; its spikes wait for those that go through the block."""
        if self.profile.weight_sign == "source":
            raise CannotQuantize(
                f"layer {name}: a residual block gives a source weights of its own, which may differ in sign"
            )
        stride = shortcut_stride(shape[:2], out[:2])
        return Shortcut(source, shape, weights, stride, (index - source) * self.profile.axon_delay)

    def _leak(self, decay: float, name: str) -> tuple[int, int]:
        bits = self.profile.decay_bits
        if decay == 1:
            return 1, 0
        if (obstacle := scales.decay_obstacle(decay, self.profile)) is not None:
            raise CannotQuantize(f"layer {name}: {obstacle[0]} (profile {self.profile.name})")
        return scales.kept(decay, bits), bits

    def _bias(self, wanted: NDArray[np.float64], name: str) -> tuple[NDArray[np.int64], float]:
        """Biases on the grid of the weights, shifted like them; and the largest that was dropped, in the same unit."""
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
        q = np.rint(wanted)
        if (needed := int(np.abs(q).max()).bit_length() + 1) > p.bias_bits:
            own = f", or, in a profile of your own, set bias_bits = {needed}" if needed <= 40 else ""
            raise CannotQuantize(
                f"layer {name}: a bias of {largest:.0f} times the scale needs {needed} bits, profile {p.name} has {p.bias_bits}; "
                f"take a coarser scale (fewer bits, or granularity='tensor'), train with bias = false{own}"
            )
        return q.astype(np.int64) << p.weight_shift, 0.0
