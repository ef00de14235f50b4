"""Norse 1.1: IAF neurons with SuperSpike. Its neurons fire more than once."""

from __future__ import annotations

import norse.torch as norse
from torch import Tensor, nn

from ..workloads import Workload
from .synapses import stages


class Norse(nn.Module):
    """forward: spikes float32 [T, B, ...] to scores [B, classes]. Synapses run once over all steps, then `norse.IAF`
    over time.
    """

    def __init__(self, workload: Workload, steps: int, *, seed: int = 0) -> None:
        super().__init__()
        self.stages = stages(workload, steps, seed=seed)
        self.synapses = nn.ModuleList(stage.synapse for stage in self.stages)
        self.neurons = norse.IAF()

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a dense train."""
        for stage in self.stages:
            current = stage.current(x)
            if stage.last:
                return current
            x, _ = self.neurons(current.unflatten(0, x.shape[:2]))
        raise AssertionError("a net has a last layer")
