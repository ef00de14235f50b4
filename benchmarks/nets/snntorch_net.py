"""snnTorch 1.0: Leaky with beta 1 and ATan, without a reset; it steps through time in Python. Its neurons fire more
than once.
"""

from __future__ import annotations

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from ..workloads import Workload
from .synapses import stages


class SnnTorch(nn.Module):
    """forward: spikes float32 [T, B, ...] to scores [B, classes]. Synapses run once over all steps, neurons step by
    step.
    """

    def __init__(self, workload: Workload, steps: int, *, seed: int = 0) -> None:
        super().__init__()
        self.stages = stages(workload, steps, seed=seed)
        self.synapses = nn.ModuleList(stage.synapse for stage in self.stages)
        self.neurons = nn.ModuleList(
            snntorch.Leaky(beta=1.0, spike_grad=surrogate.atan(alpha=2.0), reset_mechanism="none") for _ in self.stages[1:]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a dense train."""
        for index, stage in enumerate(self.stages):
            current = stage.current(x)
            if stage.last:
                return current
            leaky, membrane, spikes = self.neurons[index], torch.zeros_like(current[: x.shape[1]]), []
            for step in current.unflatten(0, x.shape[:2]).unbind(0):
                spike, membrane = leaky(step, membrane)
                spikes.append(spike)
            x = torch.stack(spikes)
        raise AssertionError("a net has a last layer")
