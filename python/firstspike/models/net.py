"""A feed-forward TTFS network."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import decode
from .. import nn as fs
from .._base import checks
from .._base.geometry import scaling_hint
from .._base.modules import has_own_forward
from ..nn import PooledSpikes
from ..spikes import SpikeTimes
from .coding import Readout, make_encoder, make_readout
from .observation import Observation
from .sizes import check_input_shape

_ENCODERS = (nn.Identity, fs.LatencyEncoder, fs.SpikeInput)


class TTFSNet(nn.Module):
    """A feed-forward net: an encoder, layers of `firstspike.nn` in order, a readout. `models.build` makes it from a string.

    layers: each takes what the one before gives; all have the same steps. The last one is `nn.Integrate` for a membrane
    readout, else a layer that fires. Average pooling is a factor inside the layers, max and earliest pooling are modules of
    their own. A first layer that is fully connected gets its input flattened.
    encoder: "direct" (the first layer is directly coded), "latency", "latency-log" or "spikes" (the input is SpikeTimes), or a
    module from data to what the first layer takes, which gets samples in the shape that the net is given. A latency encoder
    lets SpikeTimes pass; a module of one's own gets them.
    readout: a name as in `models.build`, then with one neuron per class, or `nn.MembraneReadout`, `nn.TemporalWeighting` or
    `nn.FirstSpike`.
    input_shape: of one sample, (N,) or (C, H, W).

    Raises TypeError or ValueError naming the argument that does not fit.

    Examples:
        >>> hidden, last = nn.DirectLinear(784, 100, steps=8), nn.Integrate(100, 10, steps=8)
        >>> net = models.TTFSNet([hidden, last], encoder="direct", readout="membrane-mean", input_shape=(1, 28, 28))
        >>> net(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    readout: Readout

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        encoder: str | nn.Module,
        readout: str | Readout,
        input_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(checks.in_order("layers", layers, nn.Module, "modules"))
        self.steps = _steps_of(self.layers)
        self.encoder = make_encoder(encoder, self.steps) if isinstance(encoder, str) else encoder
        checks.instance("encoder", self.encoder, nn.Module, "a name or a module")
        self.readout = make_readout(readout) if isinstance(readout, str) else readout
        checks.instance("readout", self.readout, (*Readout.__args__,), "a name or a readout of firstspike.nn")
        if isinstance(self.readout, fs.MembraneReadout) != isinstance(self.layers[-1], fs.Integrate):
            raise ValueError(
                "readout must be a membrane readout just where the last layer is nn.Integrate, "
                f"got {type(self.readout).__name__} after {type(self.layers[-1]).__name__}"
            )
        self.input_shape = check_input_shape(input_shape)
        first = self.layers[0]
        dense = isinstance(first, (fs.DirectLinear, fs.TTFSLinear, fs.Integrate))
        self.flat = dense and getattr(first, "avg_pool", 1) == 1
        self._config: dict[str, Any] | None = None

    @property
    def spec(self) -> str:
        """The string that `models.build` made the net of; "" for a stack of one's own."""
        return "" if self._config is None else str(self._config["spec"])

    @property
    def described(self) -> dict[str, Any] | None:
        """What `describe` was given."""
        return copy.deepcopy(self._config)

    def describe(self, config: dict[str, Any] | None) -> None:
        """Set the arguments with which `models.build` makes this net, for `config()`; None for a net made of layers."""
        checks.optional("config", config, Mapping, "a mapping of the arguments of models.build")
        if config is not None and not isinstance(config.get("spec"), str):
            raise ValueError("config must have the spec of models.build")
        self._config = copy.deepcopy(config)

    def config(self) -> dict[str, Any]:
        """The arguments with which `models.build` made this net, as JSON can hold them, for `models.from_config`.

        Later changes of the net are not in it; `firstspike.save` stores the net as it is.
        Raises ValueError for a net that was made of layers.
        """
        if self._config is None:
            raise ValueError("a net made of layers has no config of models.build; firstspike.save stores it")
        return copy.deepcopy(self._config)

    def forward(self, x: Tensor | SpikeTimes) -> Tensor:
        """Scores, float32 [B, classes], of x [B, *input_shape]; nets without convolutions take [B, N], too.

        x: float32 without NaN and infinity, which are refused on the CPU alone, or SpikeTimes over the net's steps where its
        first layer takes spikes.
        """
        return self._read(*self._run(x, None))

    def observe(self, x: Tensor | SpikeTimes) -> Observation:
        """The forward pass on x with its intermediate results; its scores carry gradients as those of `forward`."""
        seen = _Seen([], [], [])
        output, membrane = self._run(x, seen)
        scores = self._read(output, membrane)
        if isinstance(output, SpikeTimes):
            step = decode.decision_step(output)
            ties, silent = decode.ties(output, self.readout.classes), step == self.steps
        else:
            assert isinstance(self.readout, fs.MembraneReadout)
            step = decode.settled_step(self.readout.running(output.detach()))
            ties = silent = torch.zeros_like(step, dtype=torch.bool)
        none = torch.zeros(0, dtype=torch.int64, device=scores.device)
        return Observation(
            scores,
            seen.layers,
            output if isinstance(output, Tensor) else None,
            step,
            ties,
            silent,
            torch.stack(seen.repeated) if seen.repeated else none,
            torch.tensor(seen.units, dtype=torch.int64, device=scores.device),
            self.steps,
        )

    def _run(self, x: Tensor | SpikeTimes, seen: _Seen | None) -> tuple[SpikeTimes | Tensor, Tensor | None]:
        """What comes out of the last layer, and its membrane where the readout asks for it; `seen` gets the rest."""
        signal = self._encoded(x)
        layers = list(self.layers)
        last = layers.pop() if self.compares_overshoots else None
        if seen is None:
            for layer in layers:
                signal = layer(signal)
        else:
            for layer in layers:
                if isinstance(layer, fs.FiringLayer):
                    signal = layer(signal)
                    seen.layers.append(signal)
                    continue
                with _kept(layer, seen):
                    signal = layer(signal)
            if (
                last is None
                and isinstance(signal, SpikeTimes)
                and not any(signal.times is own.times for own in seen.layers)
            ):
                seen.layers.append(signal)  # of a last layer of another kind
        membrane = None
        if last is not None:
            signal, membrane = last(signal, membrane=True)
            if seen is not None:
                seen.layers.append(signal)
        return signal, membrane

    @property
    def compares_overshoots(self) -> bool:
        """Whether the readout breaks ties by the last layer's membrane, which it gets beside the spikes."""
        fires = isinstance(self.layers[-1], fs.FiringLayer)
        return fires and isinstance(self.readout, fs.FirstSpike) and self.readout.overshoot

    def _read(self, output: SpikeTimes | Tensor, membrane: Tensor | None) -> Tensor:
        scores: Tensor
        if membrane is None:
            scores = self.readout(output)
            return scores
        last = self.layers[-1]
        assert isinstance(last, fs.FiringLayer) and isinstance(output, SpikeTimes)
        scores = self.readout(output, decode.overshoot(output, membrane.detach(), threshold=last.neuron["threshold"]))
        return scores

    def _encoded(self, x: Tensor | SpikeTimes) -> Tensor | SpikeTimes:
        if isinstance(x, SpikeTimes) and isinstance(self.encoder, _ENCODERS) and not has_own_forward(self.encoder):
            if isinstance(self.encoder, nn.Identity):
                raise TypeError("x must be a float32 tensor: the first layer is directly coded, got SpikeTimes")
            if x.steps != self.steps:
                raise ValueError(
                    f"x must have steps = {self.steps}, got {x.steps}; x.rescale({self.steps}) changes them"
                )
            return self._input(x)
        signal: Tensor | SpikeTimes
        if isinstance(self.encoder, fs.SpikeInput):  # it refuses what is no spikes
            signal = self.encoder(x)
        elif isinstance(self.encoder, _ENCODERS):
            signal = self.encoder(self._input(x))
        else:  # one of the user's own gets the samples as they are
            self._check_input(x)
            signal = self.encoder(x)
            signal = signal.flatten(1) if self.flat and isinstance(signal, (Tensor, SpikeTimes)) else signal
        return signal

    def _input(self, x: Tensor | SpikeTimes) -> Tensor | SpikeTimes:
        self._check_input(x)
        return x.flatten(1) if self.flat else x

    def _check_input(self, x: Tensor | SpikeTimes) -> None:
        if isinstance(x, SpikeTimes):
            self._check_shape(x.shape)
            return
        x = checks.float32("x", x)
        self._check_shape(x.shape, images=True)
        checks.finite("x", x)

    def _check_shape(self, shape: torch.Size, images: bool = False) -> None:
        size = tuple(shape[1:])
        if size != self.input_shape and not (self.flat and size == (math.prod(self.input_shape),)):
            wanted = ", ".join(map(str, self.input_shape))
            hint = scaling_hint(self.input_shape, size) if images else ""
            raise ValueError(f"x must have shape [batch, {wanted}], got {tuple(shape)}{hint}")


class _Seen(NamedTuple):
    """What happens in a forward pass, in its order.

    Attributes:
        layers: the spikes of every layer that fires.
        repeated, units: of every call of a max pooling, how many pooled units fired more than once, and of how many.
    """

    layers: list[SpikeTimes]
    repeated: list[Tensor]
    units: list[int]


@contextmanager
def _kept(module: nn.Module, seen: _Seen) -> Iterator[None]:
    """Within it, `seen` gets what the layers and poolings inside a module do that this thread runs."""
    own = get_ident()

    def keep(part: nn.Module, arguments: Any, output: Any) -> None:
        if get_ident() != own:
            return
        if isinstance(output, PooledSpikes):
            seen.repeated.append(output.repeated)
            seen.units.append(math.prod(output.shape))
        else:
            seen.layers.append(output[0] if isinstance(output, tuple) else output)

    watched = (part for part in module.modules() if isinstance(part, (fs.FiringLayer, fs.MaxPool2d)))
    hooks = [part.register_forward_hook(keep) for part in watched]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _steps_of(layers: nn.ModuleList) -> int:
    steps: set[Any] = {layer.steps for layer in layers if hasattr(layer, "steps")}
    if len(steps) != 1:
        raise ValueError(f"layers must be at least one of firstspike.nn, all of the same steps, got {sorted(steps)}")
    return checks.steps(steps.pop())
