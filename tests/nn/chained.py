"""Nets whose layers run as one call in training, and how their results are compared with layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import models
from firstspike.models import TTFSNet
from firstspike.nn import _chain

from ..samples import generator

MLP, CNN = "30-24-20-10", "4C3-AP2-6C3s2-12-10"
NETS: dict[str, dict[str, Any]] = {
    "plain": {"spec": MLP, "affine": None},
    "no bias": {"spec": MLP, "bias": False},
    "affine": {"spec": MLP},
    "normalised": {"spec": MLP, "normalization": True},
    "normalised per output": {"spec": CNN, "normalization": "channel", "dropout": 0.2},
    "normalised, affine per layer": {"spec": MLP, "normalization": True, "affine": "layer"},
    "growing": {"spec": MLP, "decay": 1.5},
    "normalised, no affine, leaky": {"spec": MLP, "normalization": True, "affine": None, "decay": 0.75},
    "dropout": {"spec": MLP, "normalization": True, "dropout": 0.3},
    "dropout, no normalisation": {"spec": MLP, "dropout": 0.3},
    "thresholds": {"spec": MLP, "normalization": True, "learn_threshold": True, "dropout": 0.2},
    "output spikes": {"spec": MLP, "normalization": True, "readout": "twd-exp"},
    "first spike": {"spec": MLP, "normalization": True, "readout": "first-spike"},
    "convolutions": {"spec": CNN, "normalization": True, "dropout": 0.2},
    "direct": {"spec": MLP, "encoder": "direct", "normalization": True},
    "direct convolution": {"spec": CNN, "encoder": "direct", "normalization": True, "dropout": 0.2},
}


def net_of(name: str, **options: Any) -> TTFSNet:
    settings = {"encoder": "latency", "steps": 6, **NETS[name], **options}
    settings["input_shape"] = (1, 8, 8) if settings["spec"] == CNN else (30,)
    return models.build(**settings, generator=generator(4))


def data(net: TTFSNet, batch: int = 7) -> Tensor:
    return torch.rand(batch, *net.input_shape, generator=generator(5))


def learn(net: TTFSNet, x: Any, call: Callable[..., Tensor] | None = None) -> list[Tensor]:
    """Scores, gradients, and what torch's generator draws afterwards."""
    net.zero_grad()
    torch.manual_seed(6)
    scores = (call or net)(x)
    torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)) % 10).backward()
    return [scores.detach(), *(p.grad for p in net.parameters() if p.grad is not None), torch.rand(1)]


def layer_by_layer(net: TTFSNet, monkeypatch: pytest.MonkeyPatch, x: Any) -> list[Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(_chain, "chains", lambda layers: [[layer] for layer in layers])
        return learn(net, x)


def nodes(tensor: Tensor) -> list[str]:
    """The names of the nodes of a graph of autograd."""
    found, todo = [], [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.append(node)
            todo += [before for before, _ in node.next_functions]
    return [node.name() for node in found]


def chained(net: TTFSNet, x: Any) -> int:
    """How many calls of chains a pass makes."""
    return sum("Chain" in name for name in nodes(net(x)))


def same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected) > 3
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
    assert all(float(b.abs().max()) > 0 for b in expected)
