"""From the facts of a net to the integers of a program, for one profile (docs/emulator.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._base.geometry import shortcut_is_aligned, shortcut_stride
from ..program.host import Encoder
from ..program.layers import Layer, PixelNeuron, PoolNeuron, Register, StepNeuron, Synapses, WindowedNeuron
from ..program.pixels import MOST_SUM
from ..program.program import Program
from . import obstacles, scales, whole
from .facts import Facts, NetFacts, PixelFacts, PoolFacts, Reals, Shape, StepFacts, WindowedFacts
from .obstacles import Settings
from .refusals import CannotQuantize, Refusals

Integers = NDArray[np.int64]
Row = dict[str, Any]


class Population(NamedTuple):
    """Neurons that send spikes, of the input or a layer: their map, and the window in which they may fire."""

    shape: Shape
    start: int
    steps: int


def integers(
    net: NetFacts, settings: Settings, refusals: Refusals, name: str = "network", coarser: float = 1.0
) -> Program | None:
    """The program of a net; None if refusals leave no layers to make it of. coarser: a factor of a readout's scale."""
    able = obstacles.check(net, settings, refusals)
    if able is None:
        return None
    maker = _Maker(able, settings, refusals, coarser)
    layers: list[Layer] = []
    rows: list[Row] = []
    first = [able.pixels] if able.pixels is not None and settings.first_layer == "integers" else []
    for facts in (*first, *able.layers):
        with refusals.of(facts.name):
            layer, row = maker.layer(facts)
            layers.append(layer)
            rows.append(row)
            continue
        return None
    program = Program(
        layers=tuple(layers[len(first) :]),
        steps=net.steps,
        profile=settings.profile,
        encoder=Encoder(kind="spikes") if first else net.encoder,
        pixels=layers[0] if first else None,
        readout=net.readout,
        name=name,
        table=tuple(rows),
    )
    try:
        program.engine()
    except ValueError as error:  # the limits of the emulator's own arithmetic
        refusals.append(CannotQuantize(str(error), "use fewer bits, or narrower registers"))
        return None
    return program


class _Maker:
    """Makes the integers of a net's layers, in order."""

    def __init__(self, net: NetFacts, settings: Settings, refusals: Refusals, coarser: float) -> None:
        self.net, self.settings, self.refusals, self.coarser = net, settings, refusals, coarser
        self.profile, self.bits = settings.profile, settings.bits_of(net)
        self.populations = [Population(net.shape, 0, net.steps)]  # of the input, and of each layer

    def layer(self, facts: Facts) -> tuple[Layer, Row]:
        """The next layer in integers, and its row of the table."""
        makers: dict[type, Any] = {
            PixelFacts: self._pixels,
            StepFacts: self._step,
            WindowedFacts: self._windowed,
            PoolFacts: self._pool,
        }
        layer: Layer
        layer, row = makers[type(facts)](facts)
        if not isinstance(facts, PixelFacts):
            obstacles.check_signs(layer, self.profile, self.refusals)
            self.populations.append(Population(layer.out_shape, layer.start, layer.steps))
        return layer, row | {f"{register}_overflow_free": free for register, free in layer.overflow_free().items()}

    def _step(self, facts: StepFacts) -> tuple[Layer, Row]:
        p, threshold = self.profile, facts.threshold
        if threshold is not None and threshold <= 0:
            raise CannotQuantize(f"its threshold is {threshold}", "set a positive threshold")
        weight, shortcut = facts.weight / obstacles.late(facts.synaptic_decay, p), self._shortcut(facts)
        scale, limited = self._scale(facts, weight, shortcut)
        theta, added = np.zeros(len(scale), np.int64), None
        if threshold is not None:
            theta = np.array([scales.theta_integer(threshold, s, facts.pool, p) for s in scale.tolist()], np.int64)
            if shortcut is not None:
                units = scale[: len(shortcut)]
                added = scales.shortcut_integers(shortcut, units, threshold, facts.pool, p.weight_step)
        bias, dropped = self._bias(facts, scale)
        start = self.populations[-1].start + p.axon_delay
        neuron = StepNeuron(
            theta=theta,
            bias=bias,
            fires=facts.fires,
            start=start,
            stop=start + self.net.steps,
            update=p.update,
            fire=p.fire,
            **obstacles.leak_of(facts.decay, facts.synaptic_decay, p),
        )
        q = self._rounded(weight, scale)
        return self._layer(facts, q, added, scale, neuron), _row(facts, q, weight, scale, self.bits, p.weight_step) | {
            "theta_min": int(theta.min()) if facts.fires else None,
            "theta_max": int(theta.max()) if facts.fires else None,
            "scale_set_by_threshold": limited,
            "dropped_bias": dropped,
        }

    def _scale(self, facts: StepFacts, weight: Reals, shortcut: Reals | None) -> tuple[Reals, bool]:
        """The scale of each output, and True if the threshold's width made one coarser."""
        p, threshold, one = self.profile, facts.threshold, self.settings.one_scale(facts)
        finest = 0.0 if threshold is None else scales.finest_scale(threshold, facts.pool, p)
        if facts.scale is None:
            options: dict[str, Any] = {"one": one, "bits": self.bits, "observer": self.settings.observer}
            scale = scales.scale_of_layer(weight, facts.bias, threshold, facts.pool, p, **options)
        else:
            scale = facts.scale / obstacles.late(facts.synaptic_decay, p)
            if (scale < finest).any():
                problem = f"profile {p.name} has no threshold as large as qat.prepare made"
                raise CannotQuantize(problem, "call qat.prepare with this profile")
        scale = np.broadcast_to(scale, (len(weight),)).copy()
        if threshold is None:
            return scale * self.coarser, False
        if shortcut is not None:
            least = np.zeros(len(scale))
            least[: len(shortcut)] = scales.least_scale(shortcut, facts.pool, self.bits, p.weight_step)
            scale = np.maximum(scale, least.max() if one else least)
        return np.maximum(scale, finest), bool((scale < finest).any())

    def _bias(self, facts: StepFacts, scale: Reals) -> tuple[Integers, float]:
        """Biases on the grid of the weights, shifted like them; and the largest that was dropped, in the same unit."""
        p, zeros = self.profile, np.zeros(len(scale), np.int64)
        exact = facts.bias * facts.pool**2 / scale
        largest = float(np.abs(exact).max(initial=0.0))
        if largest == 0 or not p.bias_bits:
            return zeros, largest
        q = np.rint(exact)
        if (needed := int(np.abs(q).max()).bit_length() + 1) > p.bias_bits:
            wider = f", or set bias_bits = {needed} in your own profile" if needed <= 40 else ""
            problem = f"a bias of {largest:.0f} times the scale needs {needed} bits, profile {p.name} has {p.bias_bits}"
            remedy = f"take a coarser scale (fewer bits, or granularity='tensor'), train with bias = false{wider}"
            self.refusals.append(CannotQuantize(problem, remedy))
            return zeros, largest
        return q.astype(np.int64) << p.weight_shift, 0.0

    def _windowed(self, facts: WindowedFacts) -> tuple[Layer, Row]:
        """The layer in the finest units that its weights' bits and the chip's registers allow."""
        p, window = self.profile, self.populations[-1].steps
        share = facts.pool**2 * window << (p.window_shift or 0)
        weight, shortcut = facts.weight / share, self._shortcut(facts)  # of one level of a spike of the pooled map
        if shortcut is not None:
            shares = facts.shortcut_pool**2 * self.populations[facts.source + 1].steps << (p.window_shift or 0)
            shortcut = shortcut / shares
        unit, limited = self._unit(facts, weight, shortcut) if facts.scale is None else (facts.scale, False)
        kept = self._kept(facts, weight) if facts.scale is None and shortcut is None and self.settings.keeps else None
        layer, q = self._in_units(facts, weight, shortcut, unit, kept)
        while facts.scale is None and ((excess := self._excess(layer)) > 1).any():
            limited = True
            if facts.fires and (layer.neuron_as(WindowedNeuron).rise[excess > 1] == 1).any():
                problem = f"sums of its weights need more than the {p.membrane_bits} bits of the membrane"
                raise CannotQuantize(problem, "use fewer steps in the window before it, or another chip")
            unit *= np.where(excess > 1, excess * 1.01, 1) if facts.fires else excess.max() * 1.01
            layer, q = self._in_units(facts, weight, shortcut, unit, kept)
        rise = layer.neuron_as(WindowedNeuron).rise
        return layer, _row(facts, q, weight, layer.scale, self.bits, p.weight_step, share) | {
            "rise_min": int(rise.min()) if facts.fires else None,
            "rise_max": int(rise.max()) if facts.fires else None,
            "scale_set_by_threshold": limited,
            "kept": 0 if kept is None else int(kept.rows.sum()),
            "exact": kept is not None and bool(kept.exact.all()),
        }

    def _kept(self, facts: WindowedFacts, weight: Reals) -> whole.Kept | None:
        """The channels whose weights are whole numbers of a unit, and stay so; None for none."""
        p, window, one = self.profile, self.populations[-1].steps, self.settings.one_scale(facts)
        if one and facts.fires:
            return None
        rows, grid = weight.reshape(len(weight), -1), p.weight_step << (p.window_shift or 0)
        level = np.zeros(len(rows)) if facts.clip is None else facts.clip / facts.steps
        unit = whole.common_unit(rows.reshape(1, -1) if one else rows) * (1 << (p.window_shift or 0))  # of sums before the shift
        unit = np.where(rows.any(1), unit, level)
        able = np.isfinite(unit) & (unit > 0)
        if not (able.all() if one else able.any()):
            return None
        unit = np.where(able, unit, 1.0)
        q = np.where(able[:, None], np.rint(rows * (1 << (p.window_shift or 0)) / unit[:, None]), 0)
        area, (lowest, highest) = facts.pool**2 * window, scales.weight_limits(self.bits)
        low, high = area * q.clip(max=0).sum(1), area * q.clip(min=0).sum(1)
        rise, offset = level / unit, (facts.bias + level / 2) / unit
        reach = np.maximum(high, -low) + np.abs(offset) + rise + 2
        limit = np.min(
            [
                grid * np.minimum(highest / q.max(1).clip(min=1), lowest / q.min(1).clip(max=-1)),
                p.accumulator.high / (np.maximum(high, -low) / window + rise + 1),
                self._room / ((rise + 1) * (facts.steps + 1)),
                (min(p.membrane.high // 2, -p.membrane.low) - (2 << p.threshold_shift)) / reach,
            ],
            0,
        )
        limit = np.where(able, np.floor(limit), 0)
        if facts.fires:
            return whole.keep(whole.Sums(rise, offset, low, high, facts.steps), unit, limit, grid)
        factor = limit.min() // grid * grid
        if not factor:
            return None
        every = np.ones(len(q), np.bool_)
        return whole.Kept(every, unit / factor, np.zeros(len(q), np.int64), np.rint(factor * offset).astype(np.int64), every)

    def _unit(self, facts: WindowedFacts, weight: Reals, shortcut: Reals | None) -> tuple[Reals, bool]:
        """The unit of each output's membrane by its weights and threshold, and True if a threshold's width made one coarser."""
        rows, largest = weight.reshape(len(weight), -1), np.abs(facts.bias).max()
        if shortcut is not None:
            rows = np.concatenate([rows, shortcut.T.reshape(len(rows), -1)], 1)
        groups = 1 if self.settings.one_scale(facts) else len(rows)
        zeros = (largest + (1.0 if facts.clip is None else facts.clip.max())) / (127 * self.populations[-1].steps)
        rows, step = rows.reshape(groups, -1), self.profile.weight_step
        unit = scales.choose_scale(rows, self.bits, step, self.settings.observer, np.full(groups, zeros))
        unit = np.maximum(np.full(len(weight), largest * 2.0**-40), unit)  # biases must fit 64 bits
        if facts.clip is None:
            return unit, False
        # Neurons share the largest threshold: without this bound, vanishing weights of one would make all others coarse.
        rise = np.floor(facts.clip / (facts.steps * unit)).clip(min=1)
        excess = rise * (facts.steps + 1) / self._room
        return unit * np.where(excess > 1, excess * 1.01, 1), bool((excess > 1).any())

    def _in_units(
        self, facts: WindowedFacts, weight: Reals, shortcut: Reals | None, unit: Reals, kept: whole.Kept | None
    ) -> tuple[Layer, Integers]:
        """The layer with membranes in units of about `unit`, and its integer weights [O, ...]."""
        p, steps, source = self.profile, facts.steps, self.populations[-1]
        rise, theta, reached = np.zeros(len(unit), np.int64), 0, 0
        if facts.clip is not None:
            rise = np.floor(facts.clip / (steps * unit)).clip(min=1).astype(np.int64)
            rise = rise if facts.rise is None or facts.scale is None else facts.rise
            rise = rise if kept is None else np.where(kept.rows, kept.rise, rise)
            unit = facts.clip / (steps * rise)
            theta, reached = scales.threshold_on_grid(int(rise.max()) * (steps + 1), p)
        half = 0.0 if facts.scale is not None and facts.fires else 0.5  # a prepared bias lies between two integers
        offset = np.floor(facts.bias / unit + rise / 2 + half).astype(np.int64)
        if kept is not None:
            offset, unit = np.where(kept.rows, kept.offset, offset), np.where(kept.rows, kept.unit, unit)
        start = source.start + source.steps + p.axon_delay
        neuron = WindowedNeuron(
            theta=np.full(len(unit), theta, np.int64),
            bias=offset + reached - rise * (steps + 1),
            rise=rise,
            fire=p.fire,
            start=start,
            stop=start + steps,
        )
        q = self._rounded(weight, unit)
        added = None if shortcut is None else self._rounded(shortcut.T, unit).T
        return self._layer(facts, q, added, unit, neuron), q

    def _excess(self, layer: Layer) -> Reals:
        """By which factor each channel's values exceed the registers, at most."""
        ratios = [np.zeros(len(layer.theta))]
        for values, register in zip(layer.ranges(), (layer.accumulator, layer.membrane), strict=True):
            ratios += [values[0] / min(register.low, -1), values[1] / register.high]
        if layer.fires:
            ratios.append(layer.neuron_as(WindowedNeuron).rise * (layer.steps + 1) / self._room)
        excess: Reals = np.max(ratios, axis=0)
        return excess

    @property
    def _room(self) -> int:
        """The largest threshold of a layer of windows, which may take half of the membrane."""
        return max(1, min(scales.largest_theta(self.profile), self.profile.membrane.high // 2))

    def _pool(self, facts: PoolFacts) -> tuple[Layer, Row]:
        """The layer whose neurons fire with the first spike in their kernel."""
        p, (shape, start, window) = self.profile, self.populations[-1]
        obstacles.check_period(window, "single spikes of a max pool", ", or use average pools", p, self.refusals)
        theta, reached = scales.threshold_on_grid(1, p)
        weight = -(-reached // (p.weight_step << (p.window_shift or 0))) * p.weight_step
        q = np.full((shape[2], 1, *facts.weight.shape[2:]), weight, np.int64)
        start += p.axon_delay
        neuron = PoolNeuron(theta=np.full(len(q), theta, np.int64), fire=p.fire, start=start, stop=start + window)
        facts = replace(facts, weight=q.astype(np.float64), groups=len(q))
        layer = self._layer(facts, q, None, np.ones(len(q)), neuron)
        return layer, {"layer": facts.name, "weights": q.size, "bits": self.bits}

    def _pixels(self, facts: PixelFacts) -> tuple[Layer, Row]:
        p, threshold, on_cores = self.profile, facts.threshold, scales.has_currents(self.profile)
        assert threshold is not None
        decay_bits = p.decay_bits if on_cores else 16
        keep = round(facts.decay * (1 << decay_bits))
        if facts.decay != 1 and (facts.decay > 1 or not 0 < keep < 1 << decay_bits):
            problem = f"decay {facts.decay:g} is not one of {decay_bits} bits below 1"
            raise CannotQuantize(problem, " in it, or quantise with first_layer = 'float'", decay=1.0)
        high, most = scales.most_current(p)
        if most < 1:
            raise scales.no_threshold(p)
        bits, scale = facts.made_for.get("pixel bits", min(self.settings.bits or 8, scales.MOST_PIXEL_BITS)), facts.scale
        if scale is None:
            options: dict[str, Any] = {"one": self.settings.one_scale(facts), "bits": bits, "observer": self.settings.observer}
            scale = scales.scale_of_layer(facts.weight, facts.bias, threshold, 1, p, step=1, **options)
        scale = np.broadcast_to(scale, (len(facts.weight),)).copy()
        q = scales.round_weights(facts.weight, _column(scale, facts.weight), bits)
        bias = np.rint(facts.bias * 255 / scale)
        if (255 * np.abs(q).reshape(len(q), -1).sum(1) + np.abs(bias) > MOST_SUM).any():
            raise CannotQuantize("sums of its pixels need more than 32 bits", "use fewer bits, or fewer inputs")
        pairs = [(scales.coarse_bits(threshold, s, most), scales.exact_ceil(threshold, s, 255)) for s in scale.tolist()]
        coarse, reached = np.array([(shift, -(-whole >> shift)) for shift, whole in pairs], np.int64).T
        shift, strict = p.weight_shift if on_cores else 0, on_cores and p.fire == "gt"
        theta = (reached << shift) - (strict << p.threshold_shift)
        neuron = PixelNeuron(
            theta=theta,
            bias=bias.astype(np.int64),
            fire="gt" if strict else "ge",
            stop=self.net.steps,
            keep=1 if facts.decay == 1 else keep,
            decay_bits=0 if facts.decay == 1 else decay_bits,
            zero=facts.zero,
            coarse=coarse,
            high=high,
            on_cores=on_cores,
        )
        layer = Layer(
            name=facts.name,
            inputs=(_synapses(facts, q, facts.image),),
            out_shape=facts.out_shape(facts.image),
            neuron=neuron,
            accumulator=Register.of(32),
            membrane=p.membrane if on_cores else Register.of(32),
            shift=shift,
            scale=scale,
        )
        row = _row(facts, q, facts.weight, scale, bits)
        return layer, row | {"theta_min": int(theta.min()), "theta_max": int(theta.max())}

    def _shortcut(self, facts: Facts) -> Reals | None:
        """The weights of a shortcut, one per channel of its source or [channels, O]; None without."""
        if facts.shortcut is None or facts.shortcut.ndim > 1:
            return facts.shortcut
        channels = self.populations[facts.source + 1].shape[2]
        return np.broadcast_to(facts.shortcut, (channels,)) if facts.shortcut.size == 1 else facts.shortcut[:channels]

    def _rounded(self, weight: Reals, scale: Reals) -> Integers:
        return scales.round_weights(weight, _column(scale, weight), self.bits, self.profile.weight_step)

    def _layer(self, facts: Facts, q: Integers, shortcut: Integers | None, scale: Reals, neuron: Any) -> Layer:
        """The layer of integer weights [O, ...] behind the last population; the shortcut's are [channels] or [channels, O]."""
        p, source, windowed = self.profile, self.populations[-1], neuron.timing == "windowed"
        place = {"source": len(self.populations) - 2, "delay": p.axon_delay, "window": source.steps if windowed else 0}
        inputs, out = [_synapses(facts, q, source.shape, **place)], facts.out_shape(source.shape)
        if shortcut is not None:
            block = self.populations[facts.source + 1]
            rows, columns, _ = block.shape
            if q.ndim == 2 and (rows, columns) != (1, 1):
                problem = f"it ends a residual block whose input is a map of {rows} x {columns}"
                raise CannotQuantize(problem, "begin the block after a fully connected layer")
            if not windowed and q.ndim == 4 and not shortcut_is_aligned((rows, columns), out[:2], facts.block_strides):
                down, across = facts.block_strides
                made_of = f"one row in {down} and one column in {across} make the block's output, {out[0]} x {out[1]}"
                problem = f"it ends a residual block whose input, {rows} x {columns}, is no map of which {made_of}"
                raise CannotQuantize(problem, "give its convolutions the padding that keeps the size")
            beside = Synapses(
                source=facts.source,
                kind="diagonal" if shortcut.ndim == 1 else "conv",
                weight=shortcut if shortcut.ndim == 1 else shortcut[:, None, None],
                in_shape=block.shape,
                pool=facts.shortcut_pool,
                stride=shortcut_stride((rows // facts.shortcut_pool, columns // facts.shortcut_pool), out[:2]),
                delay=0 if windowed else neuron.start - block.start,  # until the spikes through the block arrive
                window=block.steps if windowed else 0,
            )
            inputs.append(beside)
        return Layer(
            name=facts.name,
            inputs=tuple(inputs),
            out_shape=out,
            neuron=neuron,
            accumulator=p.accumulator,
            membrane=p.membrane,
            shift=(p.window_shift or 0) if windowed else p.weight_shift,
            scale=scale,
        )


def _synapses(facts: Facts, q: Integers, shape: Shape, **place: int) -> Synapses:
    """Synapses of integer weights [O, ...] in torch's order from a source of that shape."""
    height, width, channels = shape[0] // facts.pool, shape[1] // facts.pool, shape[2] // facts.groups
    inputs, what = (channels, "input channels") if q.ndim == 4 else (height * width * channels, "inputs")
    if q.shape[1] != inputs:
        raise CannotQuantize(f"it takes {q.shape[1]} {what}, the layer before gives {inputs}", "make these numbers equal")
    weight = q.transpose(1, 2, 3, 0) if q.ndim == 4 else None
    if weight is None:
        weight = q.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, len(q))
    return Synapses(
        kind="conv" if q.ndim == 4 else "linear",
        weight=weight,
        in_shape=shape,
        pool=facts.pool,
        stride=facts.stride,
        padding=facts.padding,
        groups=facts.groups,
        **place,
    )


def _column(values: Reals, weight: Reals) -> Reals:
    """Values [O] in a shape that goes with a weight [O, ...]."""
    return values.reshape(-1, *[1] * (weight.ndim - 1))


def _row(facts: Facts, q: Integers, weight: Reals, scale: Reals, bits: int, step: int = 1, share: int = 1) -> Row:
    """What the table says of integers, multiples of `step`, of a weight over `share` in units of `scale`."""
    column = _column(scale, weight)
    unclipped = np.abs(np.rint(weight / (column * step)) * step)
    return {
        "layer": facts.name,
        "weights": q.size,
        "bits": bits,
        "scales": np.unique(scale).size,
        "max_abs_weight": float(np.abs(weight).max()) * share,
        "rms_error": float(np.sqrt(np.mean((q * column - weight) ** 2))) * share,
        "clipped": int((unclipped > np.abs(q)).sum()),
        "zeros": int((q == 0).sum()),
    }
