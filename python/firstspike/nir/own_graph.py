"""From a graph that `to_nir` wrote back to its net."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from .. import nn as fs
from ..models.files import build, planned
from .writing import KEY, neurons_node, parts_of

if TYPE_CHECKING:
    import nir

LINEAR = ("Linear", "Affine", "Conv2d")
NEURONS = ("IF", "LIF", "I", "LI")


def chain(nodes: dict[str, Any], edges: Iterable[tuple[str, str]]) -> list[tuple[str, Any]]:
    """The nodes from input to output. Raises ValueError where there is not one path through all of them."""
    after: dict[str, str] = {}
    for source, target in edges:
        for end in (source, target):
            if end not in nodes:
                raise ValueError(f"node {end}: the edge from {source} to {target} names it, and it is not in the graph")
        if source in after:
            raise ValueError(f"node {source}: it goes to {after[source]} and to {target}; the graph must be a chain")
        after[source] = target
    starts = [name for name, node in nodes.items() if type(node).__name__ == "Input"]
    if len(starts) != 1:
        raise ValueError(f"the graph must have one Input, got {len(starts)}")
    path = [starts[0]]
    while path[-1] in after:
        if after[path[-1]] in path:
            raise ValueError(f"node {after[path[-1]]}: it is reached again; the graph must be a chain")
        path.append(after[path[-1]])
    if len(path) != len(nodes):
        missing = sorted(set(nodes) - set(path))
        raise ValueError(f"node {missing[0]}: it is not on the path from the input; the graph must be a chain")
    return [(name, nodes[name]) for name in path]


def own_net(graph: nir.NIRGraph, text: str, steps: int | None) -> nn.Module:
    """The net of a graph of `to_nir`: what it is built of from the metadata, its weights from the nodes.

    Raises ValueError where `steps` are not None and not those of the net, or where its neurons are not those of the nodes.
    """
    try:
        record = json.loads(text)
        _check_size(record["net"], graph)
        net = build(record["net"]).eval()
        found = [(n, part) for n, part in parts_of(net) if isinstance(part.layer, fs.Synapse)]
        beside = {f"layer{n}_shortcut" for n, part in found if part.block is not None}
        nodes = {name: node for name, node in graph.nodes.items() if name not in beside}
        path = chain(nodes, [edge for edge in graph.edges if not beside.intersection(edge)])
        with torch.no_grad():
            for (n, part), node in zip(found, (one for _, one in path if type(one).__name__ in LINEAR), strict=True):
                layer: Any = part.layer
                layer.weight.copy_(_tensor(node.weight, layer.weight.shape))
                if layer.bias is not None:
                    layer.bias.copy_(_tensor(node.bias, layer.bias.shape))
                if part.block is not None:
                    _read_scale(part.block, graph.nodes[f"layer{n}_shortcut"].weight)
        neurons = [node for _, node in path if type(node).__name__ in NEURONS]
        for (n, part), node in zip(found, neurons, strict=True):
            layer = part.layer
            _check_neurons(n, node, neurons_node(layer, node.r.shape, record["dt"], type(node).__name__))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the graph's metadata and nodes are not those of firstspike.nir.to_nir ({error})") from error
    own = next((part.layer.steps for _, part in found), None)
    if steps not in (None, own):
        raise ValueError(f"steps must be None or those of the graph's net, {own}, got {steps}")
    return net


def _check_size(described: Any, graph: nir.NIRGraph) -> None:
    """Raise ValueError before memory is taken for a net with more weights than its nodes have."""
    wanted = sum(math.prod(shape) for shape in planned(described).values())
    present = sum(
        np.size(getattr(node, name))
        for node in graph.nodes.values()
        for name in ("weight", "bias")
        if hasattr(node, name)
    )
    if wanted > present:
        raise ValueError(f"its net has {wanted} weights, scales and biases, its nodes {present}")


def _check_neurons(n: str, node: Any, own: Any) -> None:
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        got, wanted = (np.asarray(getattr(one, name, ())) for one in (node, own))
        if not np.array_equal(got, wanted):
            raise ValueError(
                f"layer {n}: {name} of its neurons was changed; without {KEY!r} in the metadata the nodes alone are read"
            )


def _read_scale(block: fs.Residual, weight: Any) -> None:
    taps = np.array(weight, np.float32)
    taps = taps.reshape(taps.shape[:2])
    diagonal = np.diagonal(taps).copy()
    np.fill_diagonal(taps, 0)
    one = len(block.scale) == 1
    if taps.any() or not len(diagonal) or (one and (diagonal != diagonal[0]).any()):
        raise ValueError(
            "the weight of a residual block's shortcut must be diagonal, and of one number for a block with one"
        )
    count = 1 if one else len(diagonal)
    block.scale[:count] = torch.from_numpy(diagonal[:count])


def _tensor(value: Any, shape: torch.Size) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(value, np.float32))
    if tensor.shape != shape:
        raise ValueError(f"a node has shape {tuple(tensor.shape)} where its layer has {tuple(shape)}")
    return tensor
