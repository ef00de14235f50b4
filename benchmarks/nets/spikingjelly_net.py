"""SpikingJelly 2.0: its IFNode and LIFNode, which fire more than once, and a node that fires once.

It ships no time-stepped neuron that fires once. The one that its issue 403 shows overrides hooks that 2.0 removed; `FireOnce`
is that neuron on the base class that 2.0 offers for custom dynamics: its users would run it.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from firstspike.surrogate import triangle

from ..workloads import Workload
from .synapses import decayed_sum, stages


class FireOnce(neuron.SimpleBaseNode):  # type: ignore[misc]
    """V[t] = decay V[t - 1] + X[t]; it fires once, where V >= 1, and keeps integrating: the neuron of firstspike.

    Its surrogate derivative is SpikingJelly's triangle, of the width that firstspike's has; the flag that it has fired
    carries no gradient.
    """

    v: Any
    fired: Any

    def __init__(self, decay: float = 1.0) -> None:
        super().__init__(v_reset=None, surrogate_function=surrogate.PiecewiseQuadratic(1 / triangle().scale))
        self.decay = decay
        self.register_memory("fired", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        """Integrate a step's current."""
        self.v = self.v + x if self.decay == 1 else self.decay * self.v + x

    def neuronal_fire(self) -> Tensor:
        """The step's spikes."""
        spikes: Tensor = self.surrogate_function(self.v - self.v_threshold) * (1.0 - self.fired)
        return spikes

    def neuronal_reset(self, spike: Tensor) -> None:
        """Remember who fired; the potential stays."""
        self.fired = self.fired + spike.detach()


class SpikingJellyNet(nn.Module):
    """forward: spikes float32 [T, B, ...] to scores [B, classes]: the last layer integrates (W times the sum of the
    spikes).

    step_mode: "m" or "s". soft: reset by subtraction, detached, its cheapest; else its default, to zero. fires_once:
    `FireOnce` in place of SpikingJelly's neurons. decay: of every neuron (a `LIFNode`) and of the readout. channels_last:
    memory format of maps and weights.
    """

    def __init__(
        self,
        workload: Workload,
        steps: int,
        *,
        step_mode: str = "m",
        soft: bool = True,
        fires_once: bool = False,
        decay: float = 1.0,
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
                modules += [stage.synapse, FireOnce(decay) if fires_once else _node(decay, soft)]
        self.body = nn.Sequential(*modules)
        self.last = made[-1].synapse
        self.decay = decay
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
        scores: Tensor = self.last(decayed_sum(spikes, self.decay))
        return scores


def _node(decay: float, soft: bool) -> nn.Module:
    """Its own neuron: integrate-and-fire, or leaky with that decay and the current as it is."""
    options = {"v_reset": None if soft else 0.0, "surrogate_function": surrogate.ATan(), "detach_reset": True}
    if decay == 1:
        node: nn.Module = neuron.IFNode(**options)
    else:
        node = neuron.LIFNode(tau=1 / (1 - decay), decay_input=False, **options)
    return node


class DirectSpikingJelly(nn.Module):
    """Direct coding, batch normalisation, IFNode + ATan, multi-step, readout of the mean spikes by a linear layer.

    Initialised as SpikingJelly does.

    forward: images uint8 [B, C, H, W] to scores [B, classes]. The first synapse runs once; its current is repeated over time.
    """

    def __init__(self, workload: Workload, steps: int) -> None:
        super().__init__()
        self.steps = steps
        modules: list[nn.Module] = []
        for stage in stages(workload, steps, layer.Linear, layer.Conv2d):
            stage.synapse.reset_parameters()  # type: ignore[operator]
            modules += [layer.AvgPool2d(stage.pool)] if stage.pool > 1 else []
            modules += [layer.Flatten()] if stage.flat else []
            if stage.last:
                self.last = stage.synapse
            else:
                normal = layer.BatchNorm1d if stage.synapse.weight.dim() == 2 else layer.BatchNorm2d  # type: ignore[operator]
                modules += [stage.synapse, normal(len(stage.synapse.weight)), _node(1.0, True)]  # type: ignore[arg-type]
        fires = next(i for i, module in enumerate(modules) if isinstance(module, neuron.IFNode))
        self.first, self.body = nn.Sequential(*modules[:fires]), nn.Sequential(*modules[fires:])
        functional.set_step_mode(self.body, "m")

    def forward(self, images: Tensor) -> Tensor:
        """Scores of images; the state is reset first."""
        functional.reset_net(self.body)
        current = self.first(images / 255 if images.dtype == torch.uint8 else images)
        scores: Tensor = self.last(self.body(current.expand(self.steps, *current.shape)).mean(0))
        return scores
