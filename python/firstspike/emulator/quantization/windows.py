"""Programs of nets of windows: membrane units, integer weights, starts and rises (docs/emulator.md, "Nets of windows")."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ... import nn as fs
from ..._base import checks
from ..._base.geometry import out_size, shortcut_stride
from ...models import TTFSNet
from ...nn.windowed import WindowedLayer
from ..program.host import Encoder, Readout
from ..program.layers import Layer, PoolNeuron, Shape, Synapses, WindowedNeuron
from ..program.profile import Profile
from ..program.program import Program
from . import scales
from .modules import CoreLayer, arranged, core_layers, finite
from .rounding import WindowedQuantize
from .scales import CannotQuantize, Reals

NO_CURRENT = "layers of windows need a current that stays on, the chip has none"
Population = tuple[Shape, int, int]  # a map; the first step of its window, and its steps


def window_program(
    net: TTFSNet,
    profile: Profile,
    name: str,
    bits: int,
    per_channel: bool,
    observer: str,
    refuse: Callable[[CannotQuantize], object],
) -> Program | None:
    """The program of a net; None if a refusal that `refuse` takes leaves nothing to make it of."""
    if profile.window_shift is None or profile.update == "event":
        refuse(CannotQuantize("net", NO_CURRENT, ", or choose another chip", timing="step"))
        return None
    parts = core_layers(net)
    _fold(parts)
    encoder, shape, steps = _encoder(net, parts[0].module)
    populations: list[Population] = [(shape, 0, steps)]
    layers: list[Layer] = []
    table = []
    for part in parts:
        if isinstance(part.module, (fs.EarliestPool2d, fs.WindowedMaxPool2d)):
            layer = _max_pool(part, len(layers) - 1, populations[-1], profile)
            limit = profile.single_spike_steps
            if profile.single_spike == "refractory" and limit is not None and layer.steps > limit:
                problem = f"single spikes of a max pool need a refractory period of {layer.steps} steps, the chip has {limit}"
                refuse(CannotQuantize(part.name, problem, " or less, or use average pools", steps=limit))
            row: dict[str, Any] = {"layer": part.name, "weights": layer.weight.size, "bits": bits}
        elif isinstance(part.module, (WindowedLayer, fs.WindowedReadout)):
            layer, row = _Integers(part, populations, profile, bits, per_channel, observer).layer()
        else:
            kind = type(part.module).__name__
            raise CannotQuantize(part.name, f"{kind} cannot run on the cores", "use layers of windows")
        layers.append(layer)
        table.append(row)
        populations.append((layer.out_shape, layer.start, layer.steps))
    facts: dict[str, Any] = {"encoder": encoder, "readout": Readout(kind="membrane"), "name": name}
    return Program(layers=tuple(layers), steps=steps, profile=profile, table=tuple(table), **facts)


@torch.no_grad()
def _fold(parts: list[CoreLayer]) -> None:
    """Put normalisation into weights, and into the shortcuts that are added before it; a block then has a scale per channel."""
    for part in parts:
        module, block = part.module, part.block
        if not isinstance(module, WindowedLayer) or (factor := module.normalization_factor()) is None:
            continue
        module.fold()
        if block is None:
            continue
        if isinstance(block.shortcut, fs.WindowedShortcut):
            block.shortcut.weight.mul_(factor.view(-1, 1, 1, 1))
        else:
            block.scale = nn.Parameter(block.scale * factor)


def _encoder(net: TTFSNet, first: nn.Module) -> tuple[Encoder, Shape, int]:
    """The host's encoder, the map of its spikes and its steps."""
    encoder, size = net.encoder, tuple(net.input_shape)
    if not isinstance(encoder, fs.WindowedEncoder):
        problem = f"encoder {type(encoder).__name__} is not known"
        raise CannotQuantize("net", problem, "use an nn.WindowedEncoder, and the net's normalize")
    facts: dict[str, Any] = {} if net.normalize is None else net.normalize.settings()
    rows, columns = encoder.padding
    linear = isinstance(first, fs.Synapses) and first.weight.dim() == 2 and first.avg_pool == 1
    flat = len(size) != 3 or (linear and not any(encoder.padding))
    shape = (1, 1, math.prod(size)) if flat else (size[1] + 2 * rows, size[2] + 2 * columns, size[0])
    facts |= {
        "padding": (rows, columns),
        "fill": tuple(encoder.fill),
        "image_shape": size if flat and len(size) == 3 else None,
    }
    return Encoder(kind="windowed", **facts), shape, encoder.steps


def _max_pool(part: CoreLayer, index: int, source: Population, profile: Profile) -> Layer:
    """The layer whose neurons fire with the first spike in their kernel."""
    module: Any = part.module
    (height, width, channels), _, window = source
    plain = isinstance(module, fs.EarliestPool2d)
    kernel = checks.pair("kernel_size", module.kernel_size, 1)
    stride, padding = (kernel, (0, 0)) if plain else (module.stride, module.padding)
    theta, reached = _threshold(1, profile)
    shift, step = profile.window_shift or 0, profile.weight_step
    weight = -(-reached // (step << shift)) * step
    sizes = zip((height, width), kernel, stride, padding, strict=True)
    each = np.ones(channels, np.int64)
    out = (*(out_size(*size) for size in sizes), channels)
    synapses = Synapses(
        source=index,
        kind="conv",
        weight=np.full((1, *kernel, channels), weight, np.int64),
        in_shape=source[0],
        stride=stride,
        padding=padding,
        groups=channels,
        delay=profile.axon_delay,
        window=window,
    )
    start = source[1] + profile.axon_delay
    return Layer(
        name=part.name,
        inputs=(synapses,),
        out_shape=out,  # type: ignore[arg-type]
        neuron=PoolNeuron(theta=each * theta, fire=profile.fire, start=start, stop=start + window),
        accumulator=profile.accumulator,
        membrane=profile.membrane,
        shift=shift,
        scale=np.ones(channels),
    )


def _threshold(reached: int, profile: Profile) -> tuple[int, int]:
    """The register's threshold, and the smallest membrane that passes it, of those that are at least `reached`."""
    grid, strict = 1 << profile.threshold_shift, profile.fire == "gt"
    theta = -(-(reached - strict) // grid) * grid
    return theta, theta + strict


class _Integers:
    """A layer with weights in its way to integers. Arrays are per output channel; values are in units of the float net."""

    def __init__(
        self,
        part: CoreLayer,
        populations: list[Population],
        profile: Profile,
        bits: int,
        per_channel: bool,
        observer: str,
    ) -> None:
        module = part.module
        assert isinstance(module, (WindowedLayer, fs.WindowedReadout))
        self.part, self.profile, self.bits, self.observer = part, profile, bits, observer
        self.module, self.source, self.index = module, populations[-1], len(populations) - 2
        self.fires = isinstance(module, WindowedLayer)
        self.area = module.avg_pool**2
        made = module.quantizer
        self.quantizer = made if isinstance(made, WindowedQuantize) else None
        if self.quantizer is not None and (self.quantizer.bits, self.quantizer.step) != (bits, profile.weight_step):
            problem = f"qat.prepare made it for {self.quantizer.bits} bits in steps of {self.quantizer.step}"
            raise CannotQuantize(part.name, problem, "call qat.prepare with this profile and these settings")
        weight, bias = module.effective_weight_and_bias()
        assert bias is not None
        self.weight, self.bias = finite(part.name, "weight", weight), finite(part.name, "bias", bias)
        self.groups = len(self.weight) if self.fires and per_channel else 1
        self.side: Reals | None = None  # [channels] or [channels, outputs]
        if part.block is not None:
            assert isinstance(module, WindowedLayer)
            self.beside = populations[part.source + 1]
            shortcut = part.block.shortcut
            if isinstance(shortcut, fs.WindowedShortcut):
                self.side = finite(part.name, "shortcut", module.round_shortcut(shortcut.weight))[:, :, 0, 0].T
                self.side_pool = shortcut.avg_pool
            else:
                scale = finite(part.name, "scale of its residual block", module.round_shortcut(part.block.scale))
                self.side = np.broadcast_to(scale, (self.beside[0][2],))
                self.side_pool = getattr(part.block.layers[0], "avg_pool", 1)
        if isinstance(module, WindowedLayer):
            self.clip = np.broadcast_to(finite(part.name, "clip", module.clip), (len(self.weight),))
            if (self.clip <= 0).any():
                raise CannotQuantize(part.name, f"its clip is {self.clip.min():g}", "train with a smaller lr")

    def layer(self) -> tuple[Layer, dict[str, Any]]:
        """The layer in the finest units that its weights' bits and the chip's registers allow, and its row of the table."""
        per_level = self.weight / (self.area * self.source[2])  # of one level of a spike of the pooled map
        rows = per_level.reshape(len(per_level), -1)
        if self.side is not None:
            side = self.side / (self.side_pool**2 * self.beside[2])
            rows = np.concatenate([rows, side[:, None] if side.ndim == 1 else side.T], 1)
        if self.quantizer is not None:
            return self._row(*self._made(np.full(len(rows), float(self.quantizer.unit))), per_level, False)
        zeros = np.abs(self.bias).max() + (self.clip.max() if self.fires else 1.0)
        of_zeros = np.full(self.groups, zeros / (127 * self.source[2]))
        shaped = rows.reshape(self.groups, -1)
        unit = scales.choose_scale(shaped, self.bits, self.profile.weight_step, self.observer, of_zeros)
        unit = np.broadcast_to(unit, (len(rows),)).copy()
        coarser = False
        while True:
            layer, q = self._made(unit)
            excess = self._excess(layer)
            if (excess <= 1).all():
                break
            coarser = True
            if self.fires and (_rise(layer)[excess > 1] == 1).any():
                problem = f"sums of its weights need more than the {self.profile.membrane_bits} bits of the membrane"
                raise CannotQuantize(self.part.name, problem, "use fewer steps in the window before it, or another chip")
            unit *= np.where(excess > 1, excess * 1.01, 1) if self.fires else excess.max() * 1.01
        return self._row(layer, q, per_level, coarser)

    def _row(self, layer: Layer, q: NDArray[np.int64], per_level: Reals, coarser: bool) -> tuple[Layer, dict[str, Any]]:
        column = layer.scale.reshape(-1, *[1] * (self.weight.ndim - 1))
        wanted = per_level / column
        return layer, {
            "layer": self.part.name,
            "weights": q.size,
            "bits": self.bits,
            "scales": np.unique(layer.scale).size,
            "max_abs_weight": float(np.abs(self.weight).max()),
            "rms_error": float(np.sqrt(np.mean((q - wanted) ** 2 * (column * self.area * self.source[2]) ** 2))),
            "clipped": int((np.abs(np.rint(wanted)) > np.abs(q) + self.profile.weight_step / 2).sum()),
            "zeros": int((q == 0).sum()),
            "rise_min": int(_rise(layer).min()) if self.fires else None,
            "rise_max": int(_rise(layer).max()) if self.fires else None,
            "scale_set_by_threshold": coarser,
            **{f"{register}_overflow_free": free for register, free in layer.overflow_free().items()},
        }

    def _made(self, unit: Reals) -> tuple[Layer, NDArray[np.int64]]:
        """The layer with membranes in units of about `unit`, and its integer weights [O, ...]."""
        profile, module, (shape, _, window) = self.profile, self.module, self.source
        steps = module.steps if isinstance(module, WindowedLayer) else 0
        rise = np.zeros(len(unit), np.int64)
        theta = reached = 0
        if self.fires:
            rise = np.floor(self.clip / (steps * unit)).clip(min=1).astype(np.int64)
            rise = rise if self.quantizer is None else self.quantizer.rise.long().cpu().numpy()
            unit = self.clip / (steps * rise)
            theta, reached = _threshold(int(rise.max()) * (steps + 1), profile)
        q = self._rounded(self.weight / (self.area * window), unit)
        half = 0.0 if self.quantizer is not None and self.fires else 0.5  # a prepared bias lies between two integers
        bias = np.floor(self.bias / unit + rise / 2 + half).astype(np.int64)
        shortcut: tuple[Synapses, ...] = ()
        conv, outputs = self.weight.ndim == 4, len(unit)
        out: Shape = (1, 1, outputs)
        if conv:
            sizes = zip(shape[:2], self.weight.shape[2:], module.stride, module.padding, strict=True)
            height, width = (out_size(side // module.avg_pool, kernel, every, pad) for side, kernel, every, pad in sizes)
            out = height, width, outputs
        if self.side is not None:
            side_shape, _, side_window = self.beside
            side = self._rounded((self.side / (self.side_pool**2 * side_window)).T, unit).T
            rows, columns = side_shape[0] // self.side_pool, side_shape[1] // self.side_pool
            beside = Synapses(
                source=self.part.source,
                kind="diagonal" if side.ndim == 1 else "conv",
                in_shape=side_shape,
                weight=side if side.ndim == 1 else side[:, None, None],
                stride=shortcut_stride((rows, columns), out[:2]),
                pool=self.side_pool,
                window=side_window,
            )
            shortcut = (beside,)
        taken = (*shape[:2], shape[2] // module.groups)
        synapses = Synapses(
            source=self.index,
            kind="conv" if conv else "linear",
            weight=arranged(q, conv, taken, module.avg_pool, self.part.name),
            in_shape=shape,
            pool=module.avg_pool,
            stride=module.stride,
            padding=module.padding,
            groups=module.groups,
            delay=profile.axon_delay,
            window=window,
        )
        start = self.source[1] + window + profile.axon_delay
        neuron = WindowedNeuron(
            theta=np.full(outputs, theta, np.int64),
            bias=bias + reached - rise * (steps + 1),
            rise=rise,
            fire=profile.fire,
            start=start,
            stop=start + steps,
        )
        layer = Layer(
            name=self.part.name,
            inputs=(synapses, *shortcut),
            out_shape=out,
            neuron=neuron,
            accumulator=profile.accumulator,
            membrane=profile.membrane,
            shift=profile.window_shift or 0,
            scale=unit,
        )
        return layer, q

    def _rounded(self, per_level: Reals, unit: Reals) -> NDArray[np.int64]:
        column = unit.reshape(-1, *[1] * (per_level.ndim - 1))
        return scales.round_weights(per_level, column, self.bits, self.profile.weight_step)

    def _excess(self, layer: Layer) -> Reals:
        """By which factor each channel's values exceed the registers, at most; thresholds may take half of the membrane."""
        profile = self.profile
        ratios = [np.zeros(len(layer.theta))]
        for values, register in zip(layer.ranges(), (layer.accumulator, layer.membrane), strict=True):
            ratios += [values[0] / min(register.low, -1), values[1] / register.high]
        if self.fires:
            room = min(scales.largest_theta(profile), profile.membrane.high // 2)
            ratios.append(_rise(layer) * (layer.steps + 1) / room)
        excess: Reals = np.max(ratios, axis=0)
        return excess


def _rise(layer: Layer) -> NDArray[np.int64]:
    return layer.neuron_as(WindowedNeuron).rise


@torch.no_grad()
def prepare_windows(net: TTFSNet, profile: Profile, bits: int, per_channel: bool, observer: str) -> TTFSNet:
    """A net whose layers round weights and biases as `quantize` will, in place; normalisation is folded first."""

    def refuse(error: CannotQuantize) -> None:
        raise error

    program = window_program(net, profile, "network", bits, per_channel, observer, refuse)
    assert program is not None
    for part, made in zip(core_layers(net), program.layers, strict=True):
        layer = part.module
        if not isinstance(layer, (WindowedLayer, fs.WindowedReadout)):
            continue
        if layer.quantizer is not None:
            raise CannotQuantize(part.name, "the net calls it twice", "give each call a layer of its own")
        share, side = made.pool**2 * made.inputs[0].window, made.shortcut
        beside = 0 if side is None else side.pool**2 * side.window
        steps = made.steps if made.fires else 0
        unit, clip = float(made.scale[0]), layer.clip if isinstance(layer, WindowedLayer) else None
        quantizer = WindowedQuantize(bits, profile.weight_step, steps, _rise(made), unit, share, beside, clip)
        layer.quantizer = quantizer.to(layer.weight.device)
        if part.block is not None and part.block.shortcut is None and len(part.block.scale) == 1:
            part.block.scale = nn.Parameter(part.block.scale.repeat(len(made.theta)))
    return net
