"""firstspike's net on spikes that are coded already."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from firstspike import SpikeTimes, models
from firstspike.nn import Prepacked

from ..workloads import Workload


class Ours(nn.Module):
    """Layers and readout of a `TTFSNet`: weights and biases as a plain layer has them, membrane readout, triangle
    surrogate.

    forward: spikes [B, 784] or [B, 1, 28, 28] to scores [B, classes]. paper: with weight normalisation and affine, as
    the paper trains; without, to compare with libraries that have neither. recompute: each layer under
    `torch.utils.checkpoint`, which keeps its input alone and runs it again in the backward pass. decay: of every neuron
    and of the readout. prepacked: the layers in one, for inference (`firstspike.nn.Prepacked`).
    """

    def __init__(
        self,
        workload: Workload,
        steps: int,
        *,
        paper: bool = False,
        recompute: bool = False,
        decay: float = 1.0,
        prepacked: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        net = models.build(
            workload.spec,
            input_shape=workload.input_shape,
            steps=steps,
            encoder="spikes",
            readout="membrane",
            normalization=paper,
            affine="channel" if paper else None,
            bias=True,
            decay=decay,
            generator=torch.Generator().manual_seed(seed),
        )
        shape = (math.prod(workload.input_shape),) if net.flat else workload.input_shape
        self.net: Any = nn.Sequential(Prepacked(net.layers, shape), net.readout) if prepacked else net

    @property
    def layers(self) -> nn.ModuleList:
        """The layers of a net that is not prepacked."""
        layers: nn.ModuleList = self.net.layers
        return layers

    def forward(self, spikes: SpikeTimes) -> Tensor:
        """Scores of the spikes."""
        scores: Tensor
        if not self.recompute:
            scores = self.net(spikes)
            return scores
        signal = spikes
        for layer in self.layers:
            signal = checkpoint(layer, signal, use_reentrant=False)
        scores = self.net.readout(signal)
        return scores
