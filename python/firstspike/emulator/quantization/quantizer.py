"""From a trained network to a program: folding, scales, integers, and refusals that name layer, problem and remedy."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import nn as fs
from ..._base import checks
from ..._base.checks import MAX_STEPS
from ..._base.geometry import shortcut_stride
from ..._base.modules import plain_copy
from ...models import TTFSNet, as_net
from ...spikes import SpikeTimes
from ..program import profile as profiles
from ..program.host import Encoder
from ..program.layers import LARGEST_LEAKING_BITS, Layer, PixelNeuron, Register, StepNeuron, Synapses
from ..program.pixels import MOST_SUM
from ..program.profile import Profile
from ..program.program import Program
from . import modules, rounding, scales, windows
from .scales import CannotQuantize, Reals


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
    and the scale of a residual block one more weight of each neuron of its last layer. Weights become q = clip(round(W /
    scale)), half to even, and thresholds the integers that the rounded sums reach exactly where the real ones would
    (docs/emulator.md). A directly coded first layer, with the net's `normalize` folded in, takes pixels of 8 bits.

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
    checks.one_of("first_layer", first_layer, FIRST_LAYERS)
    target = profiles.load(profile)
    net = net_to_read(model, None if calibration is None else tuple(calibration.shape[1:]))
    quantizer = Quantizer(target, bits, granularity, observer, biases == "drop", first_layer == "integers")
    program = quantizer.program(net, name, calibration)
    assert program is not None
    return program


def net_to_read(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> TTFSNet:
    """A copy of a net with plain weights, in evaluation mode, whose structure can be relied on."""
    checks.instance("model", model, nn.Module, "a torch.nn.Module")
    copied = plain_copy(model)
    return as_net(copied, input_shape, name="model")


FIRST_LAYERS = ("integers", "float")


class Quantizer:
    """Makes programs under fixed settings. found: gets the refusals that a program can do without; else they are raised."""

    def __init__(
        self,
        profile: Profile,
        bits: int | None = None,
        granularity: str | None = None,
        observer: str = "mse",
        drop_biases: bool = False,
        integers: bool = True,
        found: list[CannotQuantize] | None = None,
    ) -> None:
        checks.one_of("observer", observer, scales.OBSERVERS)
        self.granularity = scales.checked_granularity(granularity, profile)
        self.bits = None if bits is None else checks.integer("bits", bits, 2, profile.weight_bits)
        self.profile, self.asked, self.observer, self.drop_biases = profile, granularity, observer, drop_biases
        self.integers, self.found = integers, found

    def _refuse(self, error: CannotQuantize) -> None:
        if self.found is None:
            raise error
        self.found.append(error)

    def program(self, model: TTFSNet, name: str, calibration: Tensor | SpikeTimes | None = None) -> Program | None:
        """The program of a net that `net_to_read` gave; None if a refused layer leaves no layers to make it of."""
        profile = self.profile
        if model.timing == "windowed":
            bits, per_channel = self.bits or rounding.prepared_bits(model) or profile.weight_bits, self.asked != "tensor"
            return windows.window_program(model, profile, name, bits, per_channel, self.observer, self._refuse)
        bits = self.bits or min(rounding.prepared_bits(model) or profile.weight_bits, profile.weight_bits)
        try:
            modules.check_prepared_for(model, profile, bits, self.asked, self.integers)
        except CannotQuantize as error:
            self._refuse(error)
            for module in model.modules():
                if rounding.quantizer_of(module) is not None:
                    module.quantizer = None  # type: ignore[assignment]
        layers = modules.core_layers(model)
        if not layers:
            raise CannotQuantize("net", "its only layer takes no spikes", "add a layer to spec")
        self._check_steps(model.steps, len(layers))
        able = [self._can_run(one) for one in layers]  # of all, so that all refusals are found
        if not all(able):
            return None
        encoder, shape = modules.encoder_of(model)
        shapes, made, table = [shape], [], []  # of the input, and of each layer's output
        facts: dict[str, Any] = {"encoder": encoder, "readout": modules.readout_of(model), "name": name}
        if self.integers and (first := modules.direct_layer(model)) is not None:
            pixels, row = self._pixels(model, first, shape)
            facts |= {"encoder": Encoder(kind="spikes"), "pixels": pixels}
            table.append(row)
        for index, one in enumerate(layers):
            compared = one.module is model.layers[-1] and model.compares_overshoots  # which needs one scale
            layer, row = self._layer(one, shapes, index, model.steps, bits, compared)
            made.append(layer)
            table.append(row)
            shapes.append(layer.out_shape)
        program = Program(layers=tuple(made), steps=model.steps, profile=profile, table=tuple(table), **facts)
        if calibration is not None and not made[-1].fires and (room := _readout_room(program, calibration)) > 1:
            made[-1], table[-1] = self._layer(layers[-1], shapes, len(made) - 1, model.steps, bits, False, room)
            program = program.replace(layers=made, table=table)
        try:
            program.engine()
        except ValueError as error:  # the limits of the emulator's own arithmetic
            raise CannotQuantize("net", str(error), "use fewer bits, or narrower registers") from error
        return program

    def _check_steps(self, steps: int, layers: int) -> None:
        profile, limit = self.profile, self.profile.single_spike_steps
        if profile.single_spike == "refractory" and limit is not None and steps > limit:
            problem = f"single spikes need a refractory period of {steps} steps, profile {profile.name} has {limit}"
            self._refuse(CannotQuantize("net", problem, " or less", steps=limit))
        if (total := steps + layers * profile.axon_delay) > MAX_STEPS:
            raise CannotQuantize("net", f"with its delays it takes {total} steps, of {MAX_STEPS}", "use fewer steps")

    def _can_run(self, layer: modules.CoreLayer) -> bool:
        """Refuse a layer, or its decay or biases, that the cores lack; False if no program can be made with it."""
        module, profile = layer.module, self.profile
        if not isinstance(module, (fs.TTFSLinear, fs.TTFSConv2d, fs.Integrate)):
            kind = type(module).__name__
            remedy = "" if "Pool" in kind else "use linear, convolutional and integrating layers"
            setting = {"pooling": "avg"} if "Pool" in kind else {}
            self._refuse(CannotQuantize(layer.name, f"{kind} cannot run on the cores", remedy, **setting))
            return False
        if (obstacle := scales.decay_obstacle(layer.name, float(module.decay), profile)) is not None:
            self._refuse(obstacle)
        if (obstacle := scales.current_obstacle(layer.name, float(module.synaptic_decay), profile)) is not None:
            self._refuse(obstacle)
        untrained = self.found is not None and module.bias is not None  # biases that may be zero until training
        biased = untrained or bool(modules.folded(module, layer.name)[1].any())
        if biased and module.synaptic_decay:
            problem = "its biases enter the current, the chip's the membrane"
            self._refuse(CannotQuantize(layer.name, problem, bias=False))
        elif not profile.bias_bits and not self.drop_biases and biased:
            why = "has none" if profile.bias_bits == 0 else "is not known to have any"
            remedy = ", fine-tune with emulator.qat, or drop them with biases='drop' (--drop-biases)"
            self._refuse(CannotQuantize(layer.name, f"it has biases, the chip {why}", remedy, bias=False))
        return True

    def _pixels(
        self, model: TTFSNet, first: fs.DirectLinear | fs.DirectConv2d, out: modules.Shape
    ) -> tuple[Layer, dict[str, Any]]:
        """The directly coded first layer in integers, with neurons of shape `out`, and its row of the table."""
        p, name, quantizer = self.profile, f"0:{type(first).__name__}", rounding.quantizer_of(first)
        on_cores = scales.has_currents(p)
        decay_bits = p.decay_bits if on_cores else 16
        leaks = first.decay != 1
        if leaks and (first.decay > 1 or not 0 < round(first.decay * (1 << decay_bits)) < 1 << decay_bits):
            problem = f"decay {first.decay:g} is not one of {decay_bits} bits below 1"
            raise CannotQuantize(name, problem, " in it, or quantise with first_layer = 'float'", decay=1.0)
        weight, beta, zero = modules.pixel_weights(model)
        threshold, (high, most) = modules.threshold_of(first), scales.most_current(p)
        bits = min(16, self.bits or (8 if quantizer is None else quantizer.bits))
        if quantizer is None:
            one = self.granularity == "tensor"
            options: dict[str, Any] = {"bits": bits, "observer": self.observer, "step": 1}
            scale = scales.scale_of_layer(weight, beta, threshold, 1, p, one=one, **options)
        else:
            scale = quantizer.scale.detach().double().cpu().numpy()
        scale = np.broadcast_to(scale, (len(weight),)).copy()
        column = scale.reshape(-1, *[1] * (weight.ndim - 1))
        q = scales.round_weights(weight, column, bits)
        bias = np.rint(beta * 255 / scale)
        if (255 * np.abs(q).reshape(len(q), -1).sum(1) + np.abs(bias) > MOST_SUM).any():
            raise CannotQuantize(name, "sums of its pixels need more than 32 bits", "use fewer bits, or fewer inputs")
        pairs = [(scales.coarse_bits(threshold, s, most), scales.exact_ceil(threshold, s, 255)) for s in scale.tolist()]
        coarse, reached = np.array([(bits, -(-whole >> bits)) for bits, whole in pairs], np.int64).T
        lift = p.weight_shift if on_cores else 0
        strict = on_cores and p.fire == "gt"
        size, flat = tuple(model.input_shape), len(model.input_shape) == 1
        shape: modules.Shape = (1, 1, size[0]) if flat else (size[1], size[2], size[0])
        synapses = Synapses(
            kind="linear" if weight.ndim == 2 else "conv",
            weight=modules.arranged(q, weight.ndim == 4, shape, 1, name),
            in_shape=shape,
            stride=first.stride if isinstance(first, fs.DirectConv2d) else (1, 1),
            padding=first.padding if isinstance(first, fs.DirectConv2d) else (0, 0),
        )
        neuron = PixelNeuron(
            theta=(reached << lift) - (strict << p.threshold_shift),
            bias=bias.astype(np.int64),
            fire="gt" if strict else "ge",
            stop=model.steps,
            keep=round(first.decay * (1 << decay_bits)) if leaks else 1,
            decay_bits=decay_bits if leaks else 0,
            zero=zero,
            coarse=coarse,
            high=high,
            on_cores=on_cores,
        )
        layer = Layer(
            name=name,
            inputs=(synapses,),
            out_shape=out,
            neuron=neuron,
            accumulator=Register.of(32),
            membrane=p.membrane if on_cores else Register.of(32),
            shift=lift,
            scale=scale,
        )
        return layer, _row(name, q, weight, column, bits) | {
            "theta_min": int(layer.theta.min()),
            "theta_max": int(layer.theta.max()),
            "accumulator_overflow_free": True,
            "membrane_overflow_free": True,
        }

    def _layer(
        self,
        core_layer: modules.CoreLayer,
        shapes: list[modules.Shape],
        index: int,
        steps: int,
        bits: int,
        compared: bool,
        coarser: float = 1.0,
    ) -> tuple[Layer, dict[str, Any]]:
        """The layer in integers, and its row of the table. coarser: a factor of a readout's scale."""
        p, module, name = self.profile, core_layer.module, core_layer.name
        assert isinstance(module, (fs.TTFSLinear, fs.TTFSConv2d, fs.Integrate))
        conv, pool, shape = isinstance(module, fs.TTFSConv2d), module.avg_pool, shapes[index]
        weight, beta = modules.folded(module, name)
        weight = weight / scales.late(float(module.synaptic_decay), p)
        threshold = modules.threshold_of(module) if isinstance(module, fs.FiringLayer) else None
        if threshold is not None and threshold <= 0:
            raise CannotQuantize(name, f"its threshold is {threshold}", "set a positive threshold")
        one = self.granularity == "tensor" or threshold is None or compared
        block, source = core_layer.block, shapes[core_layer.source + 1]
        beside = None if block is None else modules.shortcut_scale(block, source[2], name)
        scale, limited = self._scale(module, name, weight, beta, threshold, bits, one, beside)
        scale = scale if threshold is not None else scale * coarser
        column = scale.reshape(-1, *[1] * (weight.ndim - 1))
        q = scales.round_weights(weight, column, bits, p.weight_step)
        if p.weight_sign == "source":
            self._check_signs(q, block, name)
        theta = np.zeros(len(scale), np.int64)
        if threshold is not None:
            known = {s: scales.theta_integer(threshold, s, pool, p) for s in set(scale.tolist())}
            theta = np.array([known[s] for s in scale.tolist()], np.int64)
        bias, dropped = self._bias(beta * pool * pool / scale, name)
        out, start = modules.out_shape(module, shape, pool), (index + 1) * p.axon_delay
        shortcut: tuple[Synapses, ...] = ()
        if block is not None and beside is not None and threshold is not None:
            if isinstance(module, fs.TTFSLinear) and source[:2] != (1, 1):
                problem = f"it ends a residual block whose input is a map of {source[0]} x {source[1]}"
                raise CannotQuantize(name, problem, "begin the block after a fully connected layer")
            block.check_places(source[:2], out[:2])
            diagonal = Synapses(
                source=core_layer.source,
                kind="diagonal",
                in_shape=source,
                weight=scales.shortcut_integers(beside, scale[: len(beside)], threshold, pool, p.weight_step),
                stride=shortcut_stride(source[:2], out[:2]),
                delay=(index - core_layer.source) * p.axon_delay,  # until the spikes through the block arrive
            )
            shortcut = (diagonal,)
        current = None
        if module.synaptic_decay and scales.current_obstacle(name, float(module.synaptic_decay), p) is None:
            current = scales.kept(float(module.synaptic_decay), p)
        leaks = (module.decay != 1 or current is not None) and scales.decay_obstacle(name, float(module.decay), p) is None
        synapses = Synapses(
            source=index - 1,
            kind="conv" if conv else "linear",
            weight=modules.arranged(q, conv, shape, pool, name),
            in_shape=shape,
            pool=pool,
            stride=module.stride if isinstance(module, fs.TTFSConv2d) else (1, 1),
            padding=module.padding if isinstance(module, fs.TTFSConv2d) else (0, 0),
            delay=p.axon_delay,
        )
        neuron = StepNeuron(
            theta=theta,
            bias=bias,
            fire=p.fire,
            fires=threshold is not None,
            start=start,
            stop=start + steps,
            keep=scales.kept(float(module.decay), p) if leaks else 1,
            decay_bits=p.decay_bits if leaks and p.leak == "scale" else 0,
            leak=p.leak if leaks else "scale",
            current=current,
            update=p.update,
        )
        layer = Layer(
            name=name,
            inputs=(synapses, *shortcut),
            out_shape=out,
            neuron=neuron,
            accumulator=p.accumulator,
            membrane=p.membrane,
            shift=p.weight_shift,
            scale=scale,
        )
        return layer, _row(name, q, weight, column, bits, p.weight_step) | {
            "theta_min": int(theta.min()) if threshold is not None else None,
            "theta_max": int(theta.max()) if threshold is not None else None,
            "scale_set_by_threshold": limited,
            "dropped_bias": dropped,
            **{f"{register}_overflow_free": free for register, free in layer.overflow_free().items()},
        }

    def _scale(
        self,
        module: fs.Synapses,
        name: str,
        weight: Reals,
        beta: Reals,
        threshold: float | None,
        bits: int,
        one: bool,
        beside: Reals | None,
    ) -> tuple[Reals, bool]:
        """The scale of each output channel, and True if the threshold's width made one coarser. beside: a shortcut's weights."""
        p, pool, quantizer = self.profile, module.avg_pool, rounding.quantizer_of(module)
        finest = 0.0 if threshold is None else scales.finest_scale(threshold, pool, p)
        if quantizer is None:
            chosen = scales.scale_of_layer(weight, beta, threshold, pool, p, one=one, bits=bits, observer=self.observer)
        else:
            chosen = quantizer.scale.detach().double().cpu().numpy() / scales.late(float(module.synaptic_decay), p)  # type: ignore[arg-type]
            if (chosen < finest).any():
                problem = f"profile {p.name} has no threshold as large as qat.prepare made"
                raise CannotQuantize(name, problem, "call qat.prepare with this profile")
        scale = np.broadcast_to(chosen, (len(weight),)).copy()
        if threshold is None:
            return scale, False
        if beside is not None:
            least = np.zeros(len(scale))
            least[: len(beside)] = scales.least_scale(beside, pool, bits, p.weight_step)
            scale = np.maximum(scale, least.max() if one else least)
        return np.maximum(scale, finest), bool((scale < finest).any())

    def _check_signs(self, q: NDArray[np.int64], block: fs.Residual | None, name: str) -> None:
        """Refuse integers [O, I, ...] that give a source weights of both signs."""
        per_source = q.reshape(len(q), q.shape[1], -1)
        both = ((per_source > 0).any((0, 2)) & (per_source < 0).any((0, 2))).any()
        if both or block is not None:
            problem = "a source has weights of both signs" if both else "a residual block gives a source two weights"
            problem += ", the profile has one sign per source"
            self._refuse(CannotQuantize(name, problem, "choose another chip"))

    def _bias(self, wanted: Reals, name: str) -> tuple[NDArray[np.int64], float]:
        """Biases on the grid of the weights, shifted like them; and the largest that was dropped, in the same unit."""
        p, zeros = self.profile, np.zeros(wanted.shape, np.int64)
        largest = float(np.abs(wanted).max(initial=0.0))
        if largest == 0 or not p.bias_bits:
            return zeros, largest
        q = np.rint(wanted)
        if (needed := int(np.abs(q).max()).bit_length() + 1) > p.bias_bits:
            wider = f", or set bias_bits = {needed} in your own profile" if needed <= 40 else ""
            problem = f"a bias of {largest:.0f} times the scale needs {needed} bits, profile {p.name} has {p.bias_bits}"
            coarser = f"take a coarser scale (fewer bits, or granularity='tensor'), train with bias = false{wider}"
            self._refuse(CannotQuantize(name, problem, coarser))
            return zeros, largest
        return q.astype(np.int64) << p.weight_shift, 0.0


def _row(name: str, q: NDArray[np.int64], weight: Reals, column: Reals, bits: int, step: int = 1) -> dict[str, Any]:
    """What the table says of integer weights. column: the scales, in the shape of the weight."""
    unclipped = np.abs(np.rint(weight / (column * step)) * step)
    return {
        "layer": name,
        "weights": q.size,
        "bits": bits,
        "scales": np.unique(column).size,
        "max_abs_weight": float(np.abs(weight).max()),
        "rms_error": float(np.sqrt(np.mean((q * column - weight) ** 2))),
        "clipped": int((unclipped > np.abs(q)).sum()),
        "zeros": int((q == 0).sum()),
    }


def _readout_room(program: Program, calibration: Tensor | SpikeTimes) -> float:
    """The factor by which the readout's scale must grow so that its membrane stays within 3/4 of its register."""
    last, register = program.layers[-1], program.layers[-1].membrane
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
