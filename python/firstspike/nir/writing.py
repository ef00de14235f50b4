"""From a net to a NIR graph."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import nn as fs
from .._base import checks
from .._base.geometry import layer_geometry, out_size, shortcut_stride
from .._base.modules import plain_copy
from ..models import TTFSNet, as_net
from ..models.chain import in_order, sample_shape
from ..models.files import describe
from ..models.net import Readout
from ..models.sizes import check_input_shape
from ..nn.residual import Part, fold_layers, parts

if TYPE_CHECKING:
    import nir

KEY = "firstspike.net"
DT = 1e-4  # seconds per step, what SpikingJelly and snnTorch assume
LONG = float(1 << 40)  # time constant, in steps, of a LIF neuron without a leak: 1 - 2^-40 is 1 in float32


def to_nir(
    net: nn.Module,
    *,
    input_shape: tuple[int, ...] | None = None,
    dt: float = DT,
    integrate_and_fire: str = "IF",
) -> nir.NIRGraph:
    """Write a net as a NIR graph: Input, AvgPool2d, Flatten, Linear or Affine or Conv2d, IF or LIF, I or LI, Output.

    Normalisation, affine and thresholds per neuron are folded into weights and biases. NIR's neurons fire at V > v_threshold,
    ours at V >= threshold, so v_threshold is the next float32 below the threshold. Currents are per step of `dt` seconds:
    r = 1 / dt for IF, tau = dt / (1 - decay) for LIF. A directly coded first layer becomes its synapses and neurons; its input
    is the data in every step. A membrane readout ends in I (decay 1) or LI. The input of a residual block goes into the
    neurons of its last layer through one more Conv2d, of kernel 1, or Linear, with a diagonal weight. NIR has no max and earliest
    pooling. Single spikes, steps, scaling, encoder and readout are in the graph's metadata; with them `from_nir` gives a net that
    computes the same bits.

    Parameters
    ----------
    net, input_shape : TTFSNet or Sequential, tuple of int
        A Sequential of our layers, with a readout or none, needs the shape of a sample, (N,) or (C, H, W), unless its first
        layer is fully connected.
    dt, integrate_and_fire : float, str
        Seconds per step; "IF", or "LIF" with a time constant so long that float32 sees no leak, for snnTorch.

    Examples
    --------
    >>> list(nir.to_nir(models.mlp("64-32-10", steps=8)).nodes)
    ['input', 'layer0_synapses', 'layer0_neurons', 'layer1_synapses', 'layer1_neurons', 'output']
    """
    import nir

    checks.one_of("integrate_and_fire", integrate_and_fire, ("IF", "LIF"))
    dt = checks.positive("dt", dt)
    folded, shape = _folded(net, input_shape)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(shape)})}
    shortcuts: dict[str, tuple[Any, str, str]] = {}  # name: node, source, neurons
    before = "input", shape
    for n, (_, layer, begins, block) in parts_of(folded):
        if isinstance(layer, nn.Flatten):
            continue  # a fully connected layer flattens itself
        if not isinstance(layer, fs.Synapse):
            raise ValueError(f"layer {n}: NIR has no node for {type(layer).__name__}")
        if begins:
            before = list(nodes)[-1], shape
        try:
            pool = layer_geometry(layer, (1, *shape), layer.weight).pool
        except ValueError as error:
            raise ValueError(f"input_shape must fit the net, but layer {n} gets shape {shape}: {error}") from error
        if pool > 1:
            size = np.array([pool, pool])
            nodes[f"layer{n}_pool"] = nir.AvgPool2d(size, size, np.array([0, 0]))
            shape = (shape[0], shape[1] // pool, shape[2] // pool)
        if layer.weight.dim() == 2 and len(shape) > 1:
            # Counted from the end, dimensions are the same without a batch and, as snnTorch reads them, with one.
            nodes[f"layer{n}_flatten"] = nir.Flatten({"input": np.array(shape)}, start_dim=-len(shape), end_dim=-1)
            shape = (math.prod(shape),)
        nodes[f"layer{n}_synapses"], shape = _synapses(nir, n, layer, shape)
        if layer.synaptic_decay:
            raise ValueError(f"layer {n}: its synaptic_decay, {layer.synaptic_decay:g}, cannot be written to NIR yet")
        nodes[f"layer{n}_neurons"] = neurons_node(layer, shape, dt, integrate_and_fire)
        if block is not None:
            node = _shortcut(nir, block, before[1], shape, n)
            shortcuts[f"layer{n}_shortcut"] = node, before[0], f"layer{n}_neurons"
    nodes["output"] = nir.Output({"output": np.array(shape)})
    edges = list(itertools.pairwise(nodes))
    for name, (node, source, neurons) in shortcuts.items():
        nodes[name] = node
        edges += [(source, name), (name, neurons)]
    record = json.dumps({"net": describe(folded), "dt": dt}, sort_keys=True)
    return nir.NIRGraph(nodes, edges, metadata={KEY: record}, type_check=False)


def parts_of(net: nn.Module) -> Iterator[tuple[str, Part]]:
    """The layers of a net in order, also within residual blocks, with their numbers in the names of nodes."""
    layers = net.layers if isinstance(net, TTFSNet) else in_order(net)
    for part in parts(layer for layer in layers if not isinstance(layer, nn.Identity)):
        yield "_".join(map(str, part.place)), part


def _folded(net: nn.Module, input_shape: tuple[int, ...] | None) -> tuple[nn.Module, tuple[int, ...]]:
    """A copy whose weights and biases are those that act, and the shape of one sample."""
    net = plain_copy(net).cpu()
    if isinstance(net, nn.Sequential) and isinstance([*net.modules()][-1], Readout):
        net = as_net(net, input_shape)
    if not isinstance(net, (TTFSNet, nn.Sequential)):
        raise TypeError(f"net must be a TTFSNet or a Sequential of our layers, got {type(net).__name__}")
    shape = None if input_shape is None else check_input_shape(input_shape)
    if isinstance(net, TTFSNet):
        if shape not in (None, net.input_shape):
            raise ValueError(f"input_shape must be the net's, {net.input_shape}, or None, got {input_shape}")
        shape, net._config = net.input_shape, None
    elif shape is None:
        shape = sample_shape(next((module for module in net.modules() if isinstance(module, fs.Synapse)), None))
    fold_layers(net)
    return net, shape


def _shortcut(nir: Any, block: fs.Residual, before: tuple[int, ...], shape: tuple[int, ...], n: str) -> Any:
    """The node between a block's input, of shape `before`, and the neurons of its last layer."""
    scale = _finite(n, "scale", block.scale)
    weight = np.zeros((shape[0], before[0]), np.float32)
    np.fill_diagonal(weight, scale if len(scale) == 1 else scale[: before[0]])
    if len(before) != len(shape):
        raise ValueError(f"layer {n}: a residual block of fully connected layers takes flat spikes, not maps {before}")
    if len(shape) == 1:
        return nir.Linear(weight)
    block.check_places(before[1:], shape[1:])
    stride = shortcut_stride((before[1], before[2]), (shape[1], shape[2]))
    return _convolution(nir, before, weight[:, :, None, None], None, stride, (0, 0))


def _synapses(nir: Any, n: str, layer: fs.Synapse, shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """The node of a layer's weights, and the shape of its neurons."""
    weight = _finite(n, "weight", layer.weight)
    bias = None if layer.bias is None else _finite(n, "bias", layer.bias)
    if not isinstance(layer, (fs.TTFSConv2d, fs.DirectConv2d)):
        return (nir.Linear(weight) if bias is None else nir.Affine(weight, bias)), (len(weight),)
    sides = zip(shape[1:], layer.kernel_size, layer.stride, layer.padding, strict=True)
    node = _convolution(nir, shape, weight, bias, layer.stride, layer.padding)
    return node, (len(weight), *(out_size(*side) for side in sides))


def _convolution(nir: Any, shape: tuple[int, ...], weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    return nir.Conv2d(shape[1:], weight, stride, padding, dilation=(1, 1), groups=1, bias=bias)


def neurons_node(layer: fs.Synapse, shape: tuple[int, ...], dt: float, integrate_and_fire: str) -> Any:
    """The node of a layer's neurons, of that shape."""
    import nir

    def full(value: float) -> NDArray[np.float64]:
        return np.full(shape, value)

    decay: float = layer.decay  # type: ignore[assignment]
    if decay > 1:
        raise ValueError(f"{type(layer).__name__} has decay {decay:g}; NIR has no neuron whose potential grows")
    steps = LONG if decay == 1 else 1 / (1 - decay)  # the time constant
    leaky = {"tau": full(steps * dt), "r": full(steps), "v_leak": full(0.0)}
    if not isinstance(layer, fs.FiringLayer):
        return nir.I(r=full(1 / dt)) if decay == 1 else nir.LI(**leaky)
    below = np.nextafter(np.float32(layer.neuron["threshold"]), np.float32(-np.inf))
    fires = {"v_threshold": np.full(shape, below, np.float32), "v_reset": full(0.0)}
    return nir.IF(r=full(1 / dt), **fires) if decay == 1 and integrate_and_fire == "IF" else nir.LIF(**leaky, **fires)


def _finite(n: str, what: str, value: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.detach().numpy().copy()
    if not np.isfinite(array).all():
        raise ValueError(f"layer {n}: its {what} holds NaN or infinity")
    return array
