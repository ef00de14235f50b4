"""A net as it is now, for inference."""

from __future__ import annotations

import itertools
from typing import Self

import torch
from torch import Tensor, nn

from .._base.modules import plain_copy
from ..nn import Prepacked, SpikeInput
from ..nn.prepacked import can_prepack
from ..nn.residual import fold_layers
from ..spikes import SpikeTimes
from .chain import as_net
from .net import TTFSNet


class InferenceNet(nn.Module):
    """The scores of a net, without gradients, which `prepare_for_inference` makes.

    Parameters
    ----------
    net : a TTFSNet.

    Examples
    --------
    >>> net = models.prepare_for_inference(models.mlp("64-32-10", steps=8))
    >>> type(net).__name__, net(torch.rand(4, 64)).shape
    ('InferenceNet', torch.Size([4, 10]))
    """

    def __init__(self, net: TTFSNet) -> None:
        super().__init__()
        self.spec, self.steps, self.input_shape = net.spec, net.steps, net.input_shape
        net.layers = nn.ModuleList(_stages(net))
        self._net = net.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, whatever `mode` is, so that a net of which it is a part may be trained."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, float32 [B, classes], of x, float32 [B, *input_shape], as `TTFSNet.forward` gives them in evaluation."""
        with torch.no_grad():
            scores: Tensor = self._net(x)
        return scores


def prepare_for_inference(net: nn.Module) -> InferenceNet:
    """The net as it is now, for inference on the CPU: the same scores to the bit in less time, above all for few samples.

    Layers that take and return spikes are merged (`nn.Prepacked`), dropout is off, and later changes of the net have no effect.

    Parameters
    ----------
    net : on the CPU, a TTFSNet, or a Sequential of our layers that ends in a readout, which counts as its `models.as_net`.
        `emulator.IntegerNet` is the same for nets of windows, in integers.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8).eval()
    >>> x = torch.rand(4, 64)
    >>> torch.equal(prepare_for_inference(net)(x), net(x))
    True
    """
    net = as_net(plain_copy(net))
    if net.timing == "windowed":
        raise TypeError("net must be step by step; of a net of windows make emulator.IntegerNet(emulator.quantize(net))")
    for name, parameter in net.named_parameters():
        if parameter.device.type != "cpu":
            raise ValueError(f"net must be on the CPU, got {name} on {parameter.device}; net.cpu() brings it there")
    return InferenceNet(net)


@torch.no_grad()
def _stages(net: TTFSNet) -> list[nn.Module]:
    """The layers of a net; those that follow each other and can be prepacked, as one."""
    # Each layer, and where it can be prepacked the shape of the spikes that it gets of a sample.
    received: list[tuple[nn.Module, tuple[int, ...] | None]] = []
    x = torch.zeros(1, *net.input_shape, dtype=torch.uint8, device="cpu")
    signal = net._encoded(SpikeTimes(x, net.steps) if isinstance(net.encoder, SpikeInput) else x)
    for layer in net.layers:
        asked = layer is net.layers[-1] and net.compares_overshoots  # for its membrane, after the run
        fits = can_prepack(layer) and isinstance(signal, SpikeTimes) and not asked
        received.append((layer, tuple(signal.shape[1:]) if fits else None))
        signal = layer(signal)
    stages: list[nn.Module] = []
    for alone, group in itertools.groupby(received, key=lambda item: item[1] is None):
        layers, shapes = zip(*group, strict=True)
        stages += layers if alone else [Prepacked(layers, shapes[0])]
    fold_layers(nn.ModuleList(stages))
    return stages
