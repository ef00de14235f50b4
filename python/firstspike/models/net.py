"""A feed-forward TTFS network, its encoders and readouts by name, and what `observe` gives."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import decode
from .. import nn as fs
from .._base import checks
from ..nn.image_scaling import as_float
from ..spikes import SpikeTimes
from .sizes import check_input_shape

CURVES = {"latency": "linear", "latency-log": "log"}
ENCODERS = ("direct", *CURVES, "spikes")
MEMBRANE = {"membrane": "last", "membrane-mean": "mean", "membrane-weighted": "weighted"}
TEMPORAL = {"twd-exp": "exp", "twd-linear": "linear"}
READOUTS = (*MEMBRANE, *TEMPORAL, "first-spike")
Readout = fs.MembraneReadout | fs.TemporalWeighting | fs.FirstSpike | fs.WindowedReadout


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """A forward pass with its spikes, membrane and decision steps.

    Attributes
    ----------
    scores, membrane : Tensor, Tensor or None
        Float [B, classes], as `forward` gives them; float [T, B, outputs] of a membrane readout.
    layers : list of SpikeTimes
        Of every layer that fires, in the order in which they run, also within other modules.
    decision_step : Tensor
        Int64 [B], 0 to T - 1; a decision in step t costs t + 1 steps. With a spiking readout `decode.decision_step`, T without
        an output spike (`emulator.Run` has -1 there); with a membrane readout `decode.settled_step` of the running scores; in
        nets of windows the last step.
    ties, silent : Tensor
        Bool [B]: the first output step has spikes of several classes; there is no output spike. False with a membrane readout.
    repeated, units, steps : Tensor, Tensor, int
        Int64 [P]: for each max pool the pooled units that fired more than once, and all pooled units. The net's `latency`.
    running : Tensor or None
        Float [T, B, classes], the scores if the run stopped after each step; None in nets of windows (`TTFSNet.running`).

    Examples
    --------
    >>> seen = models.mlp("64-32-10", steps=8).observe(torch.rand(4, 64))
    >>> seen.scores.shape, seen.layers[0].shape, seen.membrane.shape
    (torch.Size([4, 10]), torch.Size([4, 32]), torch.Size([8, 4, 10]))
    """

    scores: Tensor
    layers: list[SpikeTimes]
    membrane: Tensor | None
    decision_step: Tensor
    ties: Tensor
    silent: Tensor
    repeated: Tensor
    units: Tensor
    steps: int
    running: Tensor | None = None

    def spikes_per_neuron(self) -> Tensor:
        """The mean spikes per neuron, 0 to 1, of each firing layer: float64 [layers]; NaN for an empty batch."""
        shares = [(~layer.silent).double().mean() for layer in self.layers]
        return torch.stack(shares) if shares else self.scores.new_empty(0, dtype=torch.float64)

    def spikes(self) -> Tensor:
        """The number of spikes of each sample over all firing layers, int64 [B]; encoded input is not counted."""
        counts = [layer.count() for layer in self.layers]
        return torch.stack(counts).sum(0) if counts else torch.zeros_like(self.decision_step)


class TTFSNet(nn.Module):
    """A feed-forward net: an encoder, layers of `firstspike.nn` in order, a readout. `models.build` makes it from a string.

    Its `timing` is the layers': "step" if all of them share the steps, "windowed" if each fires in its own window.

    Parameters
    ----------
    layers : iterable of Module
        Each takes the output of the one before. Step by step all have the same steps, and the last one is `nn.Integrate` for a
        membrane readout, else a layer that fires. Average pooling is a factor inside the layers, max and earliest pooling are
        modules. A first layer that is fully connected gets its input flattened.
    encoder : str or Module
        "direct" (the first layer is directly coded), "latency", "latency-log", "spikes" (the input is SpikeTimes), or a module
        that turns samples, as the net gets them, into the input of the first layer; `nn.WindowedEncoder` for layers of windows.
        SpikeTimes bypass a latency encoder and a `WindowedEncoder`.
    readout : str or Module
        A name as in `models.build`, then with one neuron per class, or `nn.MembraneReadout`, `nn.TemporalWeighting` or
        `nn.FirstSpike`; `nn.WindowedReadout` after layers of windows.
    input_shape : tuple of int
        The shape of one sample, (N,) or (C, H, W).
    normalize : nn.Normalize, optional
        Scales images before the encoder, which takes values in [0, 1] where it is not "direct" (`nn.Normalize.to_unit`).
        It is the attribute `normalize`, which may be set later, and is saved with the net.

    Attributes
    ----------
    timing : str
        "step" or "windowed".
    steps : int
        T of the layers; of layers of windows the longest window.

    Examples
    --------
    >>> hidden, last = nn.DirectLinear(784, 100, steps=8), nn.Integrate(100, 10, steps=8)
    >>> net = models.TTFSNet([hidden, last], encoder="direct", readout="membrane-mean", input_shape=(1, 28, 28))
    >>> net(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    >>> net = models.build("8C3-AP2-32-10", input_shape=(1, 8, 8), steps=16, timing="windowed")
    >>> net.timing, net.input_steps, net.latency
    ('windowed', 15, 32)
    """

    readout: Readout
    normalize: fs.Normalize | None
    _config: dict[str, Any] | None = None  # set by `models.build`

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        encoder: str | nn.Module,
        readout: str | Readout,
        input_shape: tuple[int, ...],
        normalize: fs.Normalize | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(checks.in_order("layers", layers, nn.Module, "modules"))
        self.readout = make_readout(readout) if isinstance(readout, str) else readout
        checks.instance("readout", self.readout, (*Readout.__args__,), "a name or a readout of firstspike.nn")
        steps = sorted({layer.steps for layer in self._synapses() if hasattr(layer, "steps")})
        if self.readout.timing == "step" and len(steps) != 1:
            raise ValueError(f"layers must be at least one of firstspike.nn, all of the same steps, got {steps}")
        self.steps = max(steps, default=0)
        self.encoder = make_encoder(encoder, self.steps) if isinstance(encoder, str) else encoder
        checks.instance("encoder", self.encoder, nn.Module, "a name or a module")
        timings = {part.timing for part in self.modules() if getattr(part, "timing", None) is not None}
        if len(timings) > 1:
            raise ValueError("layers, encoder and readout must have the same timing, got step by step and windows")
        self.timing = self.readout.timing
        first, last = [*self.layers, self.readout][0], [None, *self.layers][-1]
        if isinstance(self.readout, fs.MembraneReadout) != isinstance(last, fs.Integrate):
            pair = f"{type(self.readout).__name__} after {type(last).__name__}"
            raise ValueError(f"readout must be a membrane readout just after nn.Integrate, got {pair}")
        self.input_shape = check_input_shape(input_shape)
        self.flat = flat_size(first) is not None
        checks.optional("normalize", normalize, fs.Normalize, "an nn.Normalize")
        self.normalize = normalize

    @property
    def spec(self) -> str:
        """The string from which `models.build` made the net; "" for a net made of layers."""
        return "" if self._config is None else str(self._config["spec"])

    def config(self) -> dict[str, Any]:
        """The arguments with which `models.build` made this net, as JSON can hold them, for `models.from_config`.

        Later changes of the net are not in it; `firstspike.save` stores the net as it is.
        """
        if self._config is None:
            raise ValueError("a net made of layers has no config of models.build; firstspike.save stores it")
        return copy.deepcopy(self._config)

    @property
    def input_steps(self) -> int:
        """The steps of the encoder's spikes."""
        steps: list[Any] = [part.steps for part in self.encoder.modules() if hasattr(part, "steps")]
        return int([self.steps, *steps][-1])

    @property
    def latency(self) -> int:
        """The steps after which scores are there: T, or the sum of all windows of layers that fire, after the input's window."""
        return self.steps if self.timing == "step" else sum(self._windows())

    @property
    def score_steps(self) -> range:
        """The numbers of steps after which a run may stop, as there are scores: 1 to T.

        In nets of windows they count from the start of the input's window, and are those of the last window.
        """
        if self.timing == "step":
            return range(1, self.steps + 1)
        end = self.input_steps + self.latency
        return range(end - [self.input_steps, *self._windows()][-1] + 1, end + 1)

    def _windows(self) -> list[int]:
        """The windows of the layers of windows that fire."""
        return [layer.steps for layer in self._synapses() if layer.fires]

    def _synapses(self) -> list[Any]:
        """The layers with a weight, also those within others."""
        return [layer for layer in self.layers.modules() if isinstance(layer, fs.Synapses)]

    def forward(self, x: Tensor | SpikeTimes) -> Tensor:
        """Scores, float32 [B, classes], of x [B, *input_shape]; nets without convolutions take [B, N], too.

        x: float32; uint8 pixels p, which count as p / 255; or SpikeTimes where its first layer takes spikes, step by step over
        the net's steps. On the CPU, NaN, infinity and, but with direct coding, scaled values outside [0, 1] are refused.
        """
        return self._read(*self._run(x))

    def running(self, x: Tensor | SpikeTimes) -> Tensor:
        """The scores of a run that stops after each number of `score_steps`, float32 [steps, B, classes]. No gradient.

        `models.stop_after` makes the net that stops; `decode.stopped` stops each sample when its best score leads enough.
        """
        with torch.no_grad():
            return self._running(*self._run(x))

    def observe(self, x: Tensor | SpikeTimes) -> Observation:
        """The forward pass on x with its intermediate results; its scores carry gradients as those of `forward`."""
        layers: list[SpikeTimes] = []
        repeated: list[Tensor] = []
        units: list[int] = []

        def keep(module: nn.Module, _: Any, result: Any) -> None:
            if isinstance(module, fs.Synapses) and module.fires:
                layers.append(result[0] if isinstance(result, tuple) else result)  # with its membrane
            elif isinstance(module, fs.MaxPool2d):
                repeated.append(module.repeated.clone())
                units.append(int(module.units))

        hooks = [module.register_forward_hook(keep) for module in self.layers.modules()]
        try:
            output, membrane = self._run(x)
        finally:
            for hook in hooks:
                hook.remove()
        scores, steps = self._read(output, membrane), max(self.latency, 1)
        step = decision_step(self.readout, output, steps)
        ties = silent = torch.zeros_like(step, dtype=torch.bool)
        if isinstance(output, SpikeTimes) and self.timing == "step":
            ties, silent = decode.ties(output, getattr(self.readout, "classes", None)), step == steps
            layers += [] if any(output is spikes for spikes in layers) else [output]
        pooled = torch.tensor(units, dtype=torch.int64, device=scores.device)
        twice = torch.stack(repeated) if repeated else pooled
        potential = output if isinstance(output, Tensor) else None
        running = self._running(output, membrane) if self.timing == "step" else None
        return Observation(scores, layers, potential, step, ties, silent, twice, pooled, steps, running)

    def _run(self, x: Tensor | SpikeTimes) -> tuple[SpikeTimes | Tensor, Tensor | None]:
        """The output of the last layer, and its membrane if the readout needs it."""
        signal: Any = self._encoded(x)
        layers, membrane = [*self.layers], None
        last = layers.pop() if self.compares_overshoots else None
        for layer in layers:
            signal = layer(signal)
        if last is not None:
            signal, membrane = last(signal, membrane=True)
        return signal, membrane

    @property
    def compares_overshoots(self) -> bool:
        """True if the readout breaks ties by the membrane of the last layer, which it gets with the spikes."""
        asked = isinstance(self.readout, fs.FirstSpike) and self.readout.overshoot
        return asked and isinstance(self.layers[-1], fs.FiringLayer)

    def _read(self, output: SpikeTimes | Tensor, membrane: Tensor | None) -> Tensor:
        beside = []
        if membrane is not None:
            threshold = self.layers[-1].neuron.threshold  # type: ignore[union-attr]
            beside = [decode.overshoot(output, membrane.detach(), threshold=threshold)]  # type: ignore[arg-type]
        scores: Tensor = self.readout(output, *beside)
        return scores

    @torch.no_grad()
    def _running(self, output: SpikeTimes | Tensor, membrane: Tensor | None) -> Tensor:
        """As `running`, of what the last layer gave."""
        if isinstance(output, Tensor):
            assert isinstance(self.readout, fs.MembraneReadout)
            return self.readout.running(output.detach())
        steps = range(1, output.steps + 1)
        if self.timing == "windowed":
            return torch.stack([self.readout(_integrated(output, k)) for k in steps])
        beside = [None if membrane is None else membrane[:k] for k in steps]
        return torch.stack([self._read(output.first(k), part) for k, part in zip(steps, beside, strict=True)])

    def _encoded(self, x: Tensor | SpikeTimes) -> Tensor | SpikeTimes:
        """The input of the first layer."""
        signal: Any
        if isinstance(self.encoder, fs.SpikeInput):
            signal = self.encoder(x)  # it refuses images
            self._check_shape(signal.shape)
        elif isinstance(x, SpikeTimes):
            self._check_shape(x.shape)
            if isinstance(self.encoder, nn.Identity):
                raise TypeError("x must be images: the first layer is directly coded, got SpikeTimes")
            if isinstance(self.encoder, fs.LatencyEncoder):  # its spikes may be given in place of images
                signal = fs.SpikeInput(self.steps, code_steps=self.encoder.code_steps)(x)
            else:
                signal = x if getattr(self.encoder, "unit_range", False) else self.encoder(x)
        else:
            signal = self.encoder(self._image(x))
        return signal.flatten(1) if self.flat and isinstance(signal, (Tensor, SpikeTimes)) else signal

    def _image(self, x: Tensor) -> Tensor:
        """Checked and scaled images, float32; pixels stay so for `normalize`, or for an encoder of windows."""
        if isinstance(x, Tensor) and x.dtype == torch.uint8:
            taken = self.normalize is not None or getattr(self.encoder, "timing", None) == "windowed"
            x = x if taken else as_float("x", x)
        else:
            x = checks.float32("x", x)
            if not getattr(self.encoder, "unit_range", False):  # such an encoder compares all values
                checks.finite("x", x)
        self._check_shape(x.shape)
        return x if self.normalize is None else self.normalize(x)

    def _check_shape(self, shape: torch.Size) -> None:
        size = tuple(shape[1:])
        if size != self.input_shape and not (self.flat and size == (math.prod(self.input_shape),)):
            expected = ", ".join(map(str, self.input_shape))
            raise ValueError(f"x must have shape [batch, {expected}], got {tuple(shape)}")


def make_encoder(name: str, steps: int) -> nn.Module:
    """The module of an encoder: "direct", "latency", "latency-log" or "spikes"; ValueError for another name."""
    checks.one_of("encoder", name, ENCODERS)
    if name == "direct":
        return nn.Identity()
    return fs.SpikeInput(steps) if name == "spikes" else fs.LatencyEncoder(steps, CURVES[name])


def make_readout(name: str, *, classes: int | None = None, gamma: float = 1.2, scale: float = 10.0) -> Readout:
    """The module of a readout, by the names of `READOUTS`; gamma of temporal weighting, scale of spiking readouts."""
    checks.one_of("readout", name, READOUTS)
    if name in MEMBRANE:
        return fs.MembraneReadout(MEMBRANE[name], classes=classes)
    if name == "first-spike":
        return fs.FirstSpike(classes=classes, scale=scale)
    return fs.TemporalWeighting(gamma, TEMPORAL[name], classes=classes, scale=scale)


def decision_step(readout: Readout, received: SpikeTimes | Tensor, steps: int) -> Tensor:
    """The step in which each sample is decided, int64 [B]; in nets of windows the last of `steps`."""
    if readout.timing == "windowed":
        return torch.full((len(received),), steps - 1, device=received.device)
    if isinstance(received, SpikeTimes):
        return decode.decision_step(received)
    assert isinstance(readout, fs.MembraneReadout)
    return decode.settled_step(readout.running(received.detach()))


def _integrated(spikes: SpikeTimes, steps: int) -> SpikeTimes:
    """Spikes whose values are what a readout of windows has integrated of the given ones after `steps` steps of their window."""
    late, times = spikes.times >= steps, spikes.times + (spikes.steps - steps)
    return SpikeTimes._trusted(times.masked_fill(late, checks.SILENT), spikes.steps)


def flat_size(first: Any) -> int | None:
    """The inputs of a fully connected layer that pools nothing; None for others."""
    flat = isinstance(first, fs.Synapses) and first.weight.dim() == 2 and first.avg_pool == 1
    return first.weight.shape[1] if flat else None
