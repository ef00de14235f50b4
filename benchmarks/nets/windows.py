"""Nets of windows, their counterparts with ReLU and in SpikingJelly, and what they get."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from firstspike import data, models

from ..workloads import Workload


def images_of(size: int, workload: Workload) -> tuple[Tensor, Tensor]:
    """The first test images of Fashion-MNIST, uint8, flat for a net without convolutions, and their labels."""
    dataset = data.load("fashion-mnist", train=False)
    images = dataset.images[:size]
    return images.flatten(1) if workload.flat else images, dataset.labels[:size]


def channels_last(x: Tensor) -> Tensor:
    """Maps as torch's convolutions read them fastest."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def net_of(workload: Workload, steps: int) -> nn.Module:
    """A net of windows with batch normalisation, for exact pixels."""
    generator = torch.Generator().manual_seed(0)
    return models.build(
        workload.spec, input_shape=workload.input_shape, steps=steps, timing="windowed", input_steps=255, generator=generator
    )


def relu_of(workload: Workload, normalization: bool = True) -> nn.Module:
    """Its ReLU counterpart in torch."""
    generator = torch.Generator().manual_seed(0)
    return models.relu_counterpart(
        workload.spec, input_shape=workload.input_shape, normalization=normalization, generator=generator
    )


def spikingjelly_of(workload: Workload, steps: int, seed: int = 0) -> nn.Module:
    """Its counterpart in SpikingJelly, which takes images as well."""
    from .spikingjelly_net import DirectSpikingJelly  # needed to measure, not to show a record

    torch.manual_seed(seed)
    return DirectSpikingJelly(workload, steps)
