"""The ReLU counterpart: the same net with ReLU neurons, the ceiling that a spiking net is compared with."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from .. import init
from .. import nn as fs
from .._base import checks
from .._base.geometry import shortcut_stride
from ..nn.image_scaling import as_float
from .grammar import Conv, Pool, Residual, is_dense
from .sizes import SizedLayer, check_input_shape, layer_sizes


def relu_counterpart(
    spec: str,
    *,
    input_shape: tuple[int, ...],
    pooling: str | None = None,
    dropout: float = 0.0,
    normalization: bool = False,
    generator: Generator | None = None,
) -> ReluNet:
    """The net of a string with ReLU in place of TTFS neurons: x, float32 [B, *input_shape], to logits [B, classes].

    The same sizes, kernels, padding, pools (earliest ones by maximum, single spikes by average) and dropout; biases, and true He
    initialisation with biases of 0.

    Parameters
    ----------
    spec : the net's string, as in `build`.
    input_shape, pooling, dropout, generator : as in `build`.
    normalization : batch normalisation before each ReLU, as in nets of windows.

    Examples
    --------
    >>> relu_counterpart("64-32-10", input_shape=(1, 8, 8))(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4, 10])
    """
    shape, dropout = check_input_shape(input_shape), checks.real("dropout", dropout, 0.0, 0.99)
    normal = checks.boolean("normalization", normalization)
    settings: dict[str, Any] = {"spec": spec, "input_shape": list(shape), "pooling": pooling, "dropout": dropout}
    settings |= {"normalization": True} if normal else {}
    net = ReluNet(_layers(layer_sizes(spec, shape, pooling), dropout, normal), settings)
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            init.kaiming_(layer.weight, generator=generator)
            assert isinstance(layer.bias, Tensor)
            nn.init.zeros_(layer.bias)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # faster convolutions


class ReluNet(nn.Module):
    """The net that `relu_counterpart` makes. `layers` is its Sequential, `normalize` None or an `nn.Normalize` before it.

    Parameters
    ----------
    layers : the modules.
    settings : of `relu_counterpart`.

    Examples
    --------
    >>> type(relu_counterpart("64-32-10", input_shape=(64,)).layers[1]).__name__
    'Linear'
    """

    normalize: fs.Normalize | None

    def __init__(self, layers: list[nn.Module], settings: dict[str, Any]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.normalize = None
        self._settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of x [B, *input_shape], float32, or uint8 pixels p, which count as p / 255."""
        x = as_float("x", x) if x.dtype == torch.uint8 else x
        logits: Tensor = self.layers(x if self.normalize is None else self.normalize(x))
        return logits

    def settings(self) -> dict[str, Any]:
        """The arguments of `relu_counterpart` with which the net can be built again."""
        return dict(self._settings)


def _layers(sized: list[SizedLayer], dropout: float, normal: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, item in zip([None, *sized], sized, strict=False):
        token = item.token
        if is_dense(token) and not any(isinstance(layer, nn.Flatten) for layer in layers):
            layers.append(nn.Flatten())
        if isinstance(token, Conv):
            layers += [_convolution(item, token), *_normalization(item, normal), nn.ReLU()]
        elif isinstance(token, Residual):
            layers.append(Block(item, dropout, normal))
        elif isinstance(token, Pool):
            layers.append((nn.AvgPool2d if token.kind in ("avg", "single") else nn.MaxPool2d)(token.kernel))
        else:
            if dropout and layers[:-1]:
                layers.insert(_behind_the_neurons(layers, before), nn.Dropout(dropout))
            layers.append(nn.Linear(item.inputs, item.outputs))
            if item is not sized[-1]:
                layers += [*_normalization(item, normal), nn.ReLU()]
    return layers


class Block(nn.Module):
    """A residual block with ReLU: its input is added to what the last layer gives, before that layer's ReLU."""

    def __init__(self, item: SizedLayer, dropout: float, normal: bool = False) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for part in item.body:
            if isinstance(part.token, Conv):
                parts.append(_convolution(part, part.token))
            else:
                parts += [*([nn.Dropout(dropout)] if dropout else []), nn.Linear(part.inputs, part.outputs)]
            parts += [*_normalization(part, normal), nn.ReLU()]
        self.body = nn.Sequential(*parts[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Activations of the last layer, of x [B, C, H, W] or [B, N]; every n-th row and column of x as in `nn.Residual`."""
        y: Tensor = self.body(x)
        if x.dim() == 4:
            rows, columns = shortcut_stride((x.shape[2], x.shape[3]), (y.shape[2], y.shape[3]))
            x = x[:, :, ::rows, ::columns]
        missing = y.shape[1] - x.shape[1]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, 0, missing) if x.dim() == 4 else (0, missing)))


def _convolution(item: SizedLayer, token: Conv) -> nn.Conv2d:
    return nn.Conv2d(item.inputs, item.outputs, token.kernel, token.stride, token.padding)


def _normalization(item: SizedLayer, normal: bool) -> list[nn.Module]:
    if not normal:
        return []
    return [nn.BatchNorm2d(item.outputs) if isinstance(item.token, Conv) else nn.BatchNorm1d(item.outputs)]


def _behind_the_neurons(layers: list[nn.Module], before: SizedLayer | None) -> int:
    """Where units are dropped: a TTFS layer that pools its input by averages loses spikes before it pools."""
    pooled = before is not None and isinstance(before.token, Pool) and before.token.kind == "avg"
    return len(layers) - isinstance(layers[-1], nn.Flatten) - pooled
