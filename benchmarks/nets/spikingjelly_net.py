"""SpikingJelly 2.0: IFNode + ATan. Its neurons fire more than once; it has no step-wise TTFS neuron."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from ..workloads import Workload
from .synapses import stages


class SpikingJellyNet(nn.Module):
    """forward: spikes float32 [T, B, ...] to scores [B, classes]: the last layer integrates (W times the sum of the
    spikes).

    step_mode: "m" or "s". soft: reset by subtraction, detached, its cheapest; else its default, to zero.
    channels_last: memory format of maps and weights.
    """

    def __init__(
        self,
        workload: Workload,
        steps: int,
        *,
        step_mode: str = "m",
        soft: bool = True,
        channels_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        made = stages(workload, steps, layer.Linear, layer.Conv2d, seed=seed)
        for stage in made:
            if stage.pool > 1:
                modules.append(layer.AvgPool2d(stage.pool))
            if stage.flat:
                modules.append(layer.Flatten())
            if not stage.last:
                modules.append(stage.synapse)
                reset = None if soft else 0.0
                modules.append(neuron.IFNode(v_reset=reset, surrogate_function=surrogate.ATan(), detach_reset=True))
        self.body = nn.Sequential(*modules)
        self.last = made[-1].synapse
        self.step_mode = step_mode
        self.channels_last = channels_last
        functional.set_step_mode(self.body, step_mode)
        if channels_last:
            self.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a dense train; the state is reset first."""
        functional.reset_net(self.body)
        if self.channels_last and x.dim() == 5:
            x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
        spikes = self.body(x) if self.step_mode == "m" else torch.stack([self.body(step) for step in x])
        scores: Tensor = self.last(spikes.sum(0))
        return scores
