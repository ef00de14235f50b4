"""Nets for signals of one dimension as nets for maps of one row."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

_PRODUCTS = ("in_channels", "out_channels", "groups", "padding_mode")


def in_rows(module: nn.Module, signals: Tensor) -> tuple[nn.Module, Tensor]:
    """Return a net with modules for maps in place of those for signals, and signals [B, C, N] as maps [B, C, 1, N].

    Nets without a module for signals of one dimension, and other inputs, stay as they are.
    """
    if signals.ndim != 3 or not any(isinstance(part, tuple(_MAKERS)) for part in module.modules()):
        return module, signals
    module = copy.deepcopy(module).eval().to("cpu", torch.float32)
    for name, part in list(module.named_modules()):
        kind = next((kind for kind in _MAKERS if isinstance(part, kind)), None)
        if kind is None:
            continue
        parent, _, key = name.rpartition(".")
        row = _MAKERS[kind](part)
        if not name:
            return row, signals.unsqueeze(2)
        setattr(module.get_submodule(parent), key, row)
    return module, signals.unsqueeze(2)


def _convolution(part: Any) -> nn.Module:
    sizes: dict[str, Any] = {name: getattr(part, name) for name in _PRODUCTS}
    for name, of_row in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
        value = getattr(part, name)
        sizes[name] = value if isinstance(value, str) else (of_row, *value)
    layer = nn.Conv2d(bias=part.bias is not None, **sizes)
    layer.weight = nn.Parameter(part.weight.detach().unsqueeze(2))
    if part.bias is not None:
        layer.bias = part.bias
    return layer


class _Normalization(nn.BatchNorm2d):
    """Batch normalisation of maps, or of values [B, N] as they come from a fully connected layer."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def _normalization(part: Any) -> nn.Module:
    layer = _Normalization(part.num_features, part.eps, affine=part.affine, track_running_stats=part.track_running_stats)
    layer.load_state_dict(part.state_dict())
    return layer.eval()


def _pool(kind: Any) -> Any:
    def made(part: Any) -> nn.Module:
        sizes = {"kernel_size": (1, _one(part.kernel_size)), "stride": (1, _one(part.stride)), "padding": (0, _one(part.padding))}
        more = {"dilation": (1, _one(part.dilation))} if kind is nn.MaxPool2d else {"count_include_pad": part.count_include_pad}
        pool: nn.Module = kind(**sizes, **more, ceil_mode=part.ceil_mode)
        return pool

    return made


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


_MAKERS: dict[type[nn.Module], Any] = {
    nn.Conv1d: _convolution,
    nn.BatchNorm1d: _normalization,
    nn.MaxPool1d: _pool(nn.MaxPool2d),
    nn.AvgPool1d: _pool(nn.AvgPool2d),
    nn.AdaptiveAvgPool1d: lambda part: nn.AdaptiveAvgPool2d((1, _one(part.output_size))),
    nn.ZeroPad1d: lambda part: nn.ZeroPad2d((*part.padding, 0, 0)),
    nn.Dropout1d: lambda part: nn.Identity(),
}
