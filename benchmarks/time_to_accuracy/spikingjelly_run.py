"""A run in SpikingJelly: its net in the loop of `firstspike.train`, with the same batches, optimizer and schedule."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from firstspike import train
from firstspike.data import Dataset, Normalize
from firstspike.models.grammar import Conv, Pool
from firstspike.models.sizes import layer_sizes
from firstspike.train.loop import Forward, Method, train_epoch
from firstspike.train.progress import ProgressBar


class DirectSpikingJelly(nn.Module):
    """Direct coding, IFNode + ATan, multi-step, readout of the mean spikes by a linear layer; SpikingJelly's own
    initialisation.

    forward: images [B, C, H, W] to scores [B, classes]. The first synapse runs once, its current is repeated over time.
    """

    def __init__(self, spec: str, input_shape: tuple[int, ...], steps: int) -> None:
        super().__init__()
        self.steps = steps
        modules: list[nn.Module] = []
        sized = layer_sizes(spec, input_shape)
        flat = False
        for item in sized:
            if isinstance(item.token, Pool):
                modules.append(layer.AvgPool2d(item.token.factor))
                continue
            if isinstance(item.token, Conv):
                synapse = layer.Conv2d(
                    item.inputs, item.outputs, item.token.kernel, stride=item.token.stride, padding=item.token.padding
                )
            else:
                if not flat:
                    modules.append(layer.Flatten())
                flat, synapse = True, layer.Linear(item.inputs, item.outputs)
            modules.append(synapse)
            modules.append(neuron.IFNode(v_reset=None, surrogate_function=surrogate.ATan(), detach_reset=True))
        modules.pop()  # the last layer does not fire
        self.last = modules.pop()
        fires = next(i for i, module in enumerate(modules) if isinstance(module, neuron.IFNode))
        self.first, self.body = nn.Sequential(*modules[:fires]), nn.Sequential(*modules[fires:])
        functional.set_step_mode(self.body, "m")

    def forward(self, images: Tensor) -> Tensor:
        """Scores of images; the state is reset first."""
        functional.reset_net(self.body)
        current = self.first(images)
        scores: Tensor = self.last(self.body(current.expand(self.steps, *current.shape)).mean(0))
        return scores


def run(config: train.Config, datasets: tuple[Dataset, Dataset]) -> list[dict[str, float]]:
    """Train by the config; test accuracy in percent and seconds of each epoch."""
    torch.manual_seed(config.seed)
    images, test = datasets
    net = DirectSpikingJelly(config.spec, images.input_shape, config.steps)
    optimizer = train.build_optimizer(config, net)
    normalize = Normalize.of(images.images) if config.standardize else Normalize()
    found = []
    for epoch in range(config.epochs):
        _, times = train_epoch(
            Forward(net),
            optimizer,
            images,
            Method(config, normalize),
            epoch=epoch,
            device=torch.device("cpu"),
            bar=ProgressBar(False),
        )
        tested = train.evaluate(net, test, normalize=normalize)
        found.append(
            {"accuracy": 100 * tested.accuracy, "seconds": times["seconds"], "step_seconds": times["step_seconds"]}
        )
    return found
