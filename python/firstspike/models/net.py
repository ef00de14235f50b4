"""A feed-forward TTFS network."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from .. import _checks, decode
from ..nn import DirectLinear, FiringLayer, FirstSpike, MaxPool2d, MembraneReadout, TemporalWeighting, TTFSLinear
from ..spikes import SpikeTimes
from .observation import Observation


class TTFSNet(nn.Module):
    """A feed-forward net of the layers of `firstspike.nn`; `models.build` makes it from a string.

    encoder: `LatencyEncoder`, or `Identity` where the first layer is directly coded. layers: ModuleList in order;
    average pooling is a factor inside the layers, max and earliest pooling are modules of their own. readout:
    `MembraneReadout`, `TemporalWeighting` or `FirstSpike`. input_shape: of one sample. flat: whether samples are
    flattened first.
    """

    def __init__(
        self,
        encoder: nn.Module,
        layers: list[nn.Module],
        readout: MembraneReadout | TemporalWeighting | FirstSpike,
        *,
        input_shape: tuple[int, ...],
        flat: bool,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)
        self.readout = readout
        self.input_shape = input_shape
        self.flat = flat
        self.spec: str = config["spec"]
        self.steps: int = config["steps"]
        self._config = copy.deepcopy(config)

    def config(self) -> dict[str, Any]:
        """The arguments of `models.build` that made this net, as JSON can hold them, for `models.from_config`."""
        return copy.deepcopy(self._config)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, float32 [B, classes], of x, float32 [B, *input_shape]; nets without convolutions take [B, N], too."""
        return self._read(*self._run(x, []))

    def observe(self, x: Tensor) -> Observation:
        """The forward pass on x with all that it went through; its scores carry gradients as those of `forward`."""
        layers: list[SpikeTimes] = []
        before, output = self._run(x, layers)
        scores = self._read(before, output)
        if isinstance(output, SpikeTimes):
            step = decode.decision_step(output)
            ties, silent = decode.ties(output, self.readout.classes), step == self.steps
        else:
            assert isinstance(self.readout, MembraneReadout)
            step = decode.settled_step(self.readout.running(output.detach()))
            ties = silent = torch.zeros_like(step, dtype=torch.bool)
        pools = [layer for layer in self.layers if isinstance(layer, MaxPool2d)]
        none = torch.zeros(0, dtype=torch.int64, device=scores.device)
        return Observation(
            scores,
            layers,
            output if isinstance(output, Tensor) else None,
            step,
            ties,
            silent,
            torch.stack([pool.repeated for pool in pools]) if pools else none,
            torch.stack([pool.units for pool in pools]) if pools else none,
        )

    def _run(self, x: Tensor, layers: list[SpikeTimes]) -> tuple[SpikeTimes | Tensor, SpikeTimes | Tensor]:
        """What goes into the last layer and what comes out of it; the spikes of the firing layers go to `layers`."""
        signal = self.encoder(self._input(x))
        before = signal
        for layer in self.layers:
            before, signal = signal, layer(signal)
            if isinstance(layer, FiringLayer):
                layers.append(signal)
        return before, signal

    def _read(self, before: SpikeTimes | Tensor, output: SpikeTimes | Tensor) -> Tensor:
        if not isinstance(self.readout, FirstSpike):
            return self.readout(output)
        last = self.layers[-1]
        assert isinstance(last, (TTFSLinear, DirectLinear)) and isinstance(output, SpikeTimes)
        with torch.no_grad():
            overshoot = decode.overshoot(output, last.membrane(before), threshold=last.neuron["threshold"])  # type: ignore[arg-type]
        return self.readout(output, overshoot)

    def _input(self, x: Tensor) -> Tensor:
        x = _checks.float32("x", x)
        size = tuple(x.shape[1:])
        if size != self.input_shape and not (self.flat and size == (math.prod(self.input_shape),)):
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(f"x must have shape [batch, {wanted}], got {tuple(x.shape)}")
        return x.flatten(1) if self.flat else x
