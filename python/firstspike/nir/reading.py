"""From a NIR graph to a net."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import nn as fs
from .._base import checks
from ..models.files import build, planned, rebuild
from .writing import DT, KEY, neurons_node, parts_of

if TYPE_CHECKING:
    import nir

LINEAR = ("Linear", "Affine", "Conv2d")
NEURONS = ("IF", "LIF", "I", "LI")


class FiresOnce(UserWarning):
    """NIR's neurons reset and may fire again; the neurons of a net of `from_nir` fire once.

    Examples
    --------
    >>> issubclass(nir.FiresOnce, UserWarning)
    True
    """


def from_nir(
    graph: nir.NIRGraph | str | os.PathLike[str], steps: int | None = None, *, encoder: str = "spikes", dt: float = DT
) -> nn.Module:
    """Read the net of a NIR graph, a chain of Linear, Affine, Conv2d, Scale, AvgPool2d, SumPool2d, Flatten, IF, LIF, I and LI.

    A graph of `to_nir` gives back its net, with folded weights. Another graph becomes an `nn.Sequential` of our layers:
    SpikeTimes in; SpikeTimes out where it ends in neurons, or the membrane [T, B, C] where it ends in I or LI.
    A neuron of NIR fires at V > v_threshold; r of IF is 1 / dt or 1 for unscaled currents, and any other is a factor r dt of
    the weights. Scale is folded into the weights before it. Thresholds that differ between channels are folded, too: a sum
    within float32's rounding of them may go either way. A ValueError names the node that does not fit; FiresOnce warns of neurons
    that may fire more than once.

    Parameters
    ----------
    graph : nir.NIRGraph or path
        The graph, or a file of `nir.write`.
    steps, encoder, dt : int, str, float
        T, 1 to 254; "spikes", or "direct": the first layer gets data [B, ...] as a constant current; seconds per step. A graph of
        `to_nir` has its own.

    Examples
    --------
    >>> net = models.mlp("64-32-10", steps=8).eval()
    >>> x = torch.rand(4, 64)
    >>> torch.equal(nir.from_nir(nir.to_nir(net))(x), net(x))
    True
    """
    import nir

    if isinstance(graph, (str, os.PathLike)):
        graph = _read_file(nir, checks.path("graph", graph))
    checks.instance("graph", graph, nir.NIRGraph, "a nir.NIRGraph or a path")
    steps = None if steps is None else checks.steps(steps)
    checks.one_of("encoder", encoder, ("spikes", "direct"))
    dt = checks.positive("dt", dt)
    text = getattr(graph, "metadata", {}).get(KEY)
    if text is not None:
        return _own_net(graph, str(text), steps)
    if steps is None:
        raise ValueError("steps must be given: the graph does not say for how many steps its net runs")
    reader = _Reader(steps, dt, encoder == "direct")
    for name, node in _chain(graph.nodes, graph.edges):
        reader.add(name, node)
    net = reader.finish()
    if any(isinstance(layer, fs.FiringLayer) for layer in net):
        warnings.warn("neurons of this graph may fire more than once; here they fire once", FiresOnce, stacklevel=2)
    return net


def _read_file(nir: Any, path: Path) -> Any:
    """The graph of a file. Its type check is left out: nir 1.0.8 infers wrong shapes for kernels that are not square."""
    try:
        return nir.read(path, type_check=False)
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a file of nir.write, or is damaged ({error})") from error


def _chain(nodes: dict[str, Any], edges: Iterable[tuple[str, str]]) -> list[tuple[str, Any]]:
    """The nodes from input to output. Raises ValueError where there is not one path through all of them."""
    edges = list(edges)
    after, path = dict(edges), [name for name, node in nodes.items() if type(node).__name__ == "Input"][:1]
    while path and path[-1] in after and len(path) <= len(nodes):
        path.append(after[path[-1]])
    if sorted(path) != sorted(nodes) or len(edges) != len(path) - 1:
        odd = next(iter(set(path) ^ set(nodes)), path[-1] if path else "input")
        raise ValueError(f"node {odd}: the graph must be a chain from one Input, in which every node stands once")
    return [(name, nodes[name]) for name in path]


def _own_net(graph: nir.NIRGraph, text: str, steps: int | None) -> nn.Module:
    """The net of a graph of `to_nir`: the metadata describe it, and the nodes hold its weights."""
    try:
        record = json.loads(text)
        with torch.device("meta"):
            planned(record["net"])  # its size is checked
            empty = build(record["net"])
        layers = [(n, part) for n, part in parts_of(empty) if isinstance(part.layer, fs.Synapse)]
        names = {module: f"{name}." if name else "" for name, module in empty.named_modules(remove_duplicate=False)}
        beside = {f"layer{n}_shortcut" for n, part in layers if part.block is not None}
        nodes = {name: node for name, node in graph.nodes.items() if name not in beside}
        path = [node for _, node in _chain(nodes, [edge for edge in graph.edges if not beside.intersection(edge)])]
        synapses, neurons = ([node for node in path if type(node).__name__ in kinds] for kinds in (LINEAR, NEURONS))
        tensors = _scaling(record["net"])
        for (n, part), node, own in zip(layers, synapses, neurons, strict=True):
            layer: Any = part.layer
            _check_neurons(n, own, neurons_node(layer, own.r.shape, record["dt"], type(own).__name__))
            tensors[f"{names[layer]}weight"] = _tensor(node.weight)
            if layer.bias is not None:
                tensors[f"{names[layer]}bias"] = _tensor(node.bias)
            if part.block is not None:
                count = len(part.block.scale)
                tensors[f"{names[part.block]}scale"] = _scale(graph.nodes[f"layer{n}_shortcut"].weight, count)
        net = rebuild(record["net"], tensors)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the graph's metadata and nodes are not those of firstspike.nir.to_nir ({error})") from error
    own_steps = next((part.layer.steps for _, part in layers), None)
    if steps not in (None, own_steps):
        raise ValueError(f"steps must be None or those of the graph's net, {own_steps}, got {steps}")
    return net


def _scaling(described: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The buffers of `TTFSNet.normalize`, whose numbers are in the description."""
    settings = described.get("normalize", {}).get("settings", {})
    return {f"normalize.{name}": _tensor(values) for name, values in settings.items()}


def _check_neurons(n: str, node: Any, own: Any) -> None:
    """Raise ValueError for neurons that differ from the metadata: the edited numbers would have no effect."""
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        if not np.array_equal(getattr(node, name, ()), getattr(own, name, ())):
            raise ValueError(f"layer {n}: {name} of its neurons must be the one that {KEY!r} in the metadata describes")


def _scale(weight: Any, count: int) -> torch.Tensor:
    """The scale of a residual block, of `count` numbers, from the weight of its shortcut, which has one per channel."""
    taps = np.array(weight, np.float32)
    taps = taps.reshape(taps.shape[:2])
    diagonal = np.diagonal(taps).copy()
    np.fill_diagonal(taps, 0)
    if taps.any() or not len(diagonal) or (count == 1 and (diagonal != diagonal[0]).any()):
        raise ValueError("the weight of a residual block's shortcut must be diagonal, one number for a block with one")
    scale = np.ones(count, np.float32)  # of channels that the input does not have
    scale[: len(diagonal)] = diagonal[:count]
    return torch.from_numpy(scale)


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))


class _Reader:
    """Makes layers of nodes, one by one."""

    def __init__(self, steps: int, dt: float, direct: bool) -> None:
        self.steps, self.dt, self.direct = steps, dt, direct
        self.layers: list[nn.Module] = []
        self.flatten = False  # data before a directly coded layer; one after spikes flattens itself
        self.pool, self.gain = 1, 1.0
        self.synapses: tuple[str, Any, NDArray[np.float64], NDArray[np.float64] | None] | None = None

    def add(self, name: str, node: Any) -> None:
        kind = type(node).__name__
        if kind in ("Input", "Output", "Flatten"):
            self.flatten |= kind == "Flatten" and self.direct and not self.layers
            return
        if self.layers and isinstance(self.layers[-1], fs.Integrate):
            raise ValueError(f"node {name}: nothing may follow a readout that integrates")
        if kind in ("AvgPool2d", "SumPool2d") and self.synapses is None:
            self._pool(name, node, kind)
        elif kind in LINEAR and self.synapses is None:
            self.synapses = name, node, *_weight_and_bias(name, node, kind, self.gain)
        elif kind == "Scale" and self.synapses is not None:
            self._scale(name, _real(name, "scale", node.scale))
        elif kind in NEURONS and self.synapses is not None:
            self._neurons(name, node, kind)
        else:
            before = "after synapses" if self.synapses is not None else "where synapses or a pool must follow"
            raise ValueError(f"node {name}: {kind} cannot stand {before}")

    def finish(self) -> nn.Sequential:
        if self.synapses is not None:
            raise ValueError(f"node {self.synapses[0]}: neurons must follow its currents, but the graph ends")
        if self.pool != 1 or not self.layers:
            raise ValueError("the graph must end in neurons")
        return nn.Sequential(*self.layers).eval()

    def _pool(self, name: str, node: Any, kind: str) -> None:
        names = ("kernel_size", "stride", "padding")
        size, stride, padding = (_pair(name, part, getattr(node, part)) for part in names)
        if size != stride or size[0] != size[1] or padding != (0, 0):
            raise ValueError(f"node {name}: a pool must be square, as large as its stride, and without padding")
        if not self.layers and self.direct:
            raise ValueError(f"node {name}: a directly coded net cannot begin with a pool")
        self.pool *= size[0]
        self.gain *= size[0] ** 2 if kind == "SumPool2d" else 1

    def _scale(self, name: str, scale: NDArray[np.float64]) -> None:
        assert self.synapses is not None
        at, node, weight, bias = self.synapses
        each = _per_channel(name, "scale", scale, len(weight))
        self.synapses = at, node, weight * _column(each, weight), None if bias is None else bias * each

    def _neurons(self, name: str, node: Any, kind: str) -> None:
        assert self.synapses is not None
        origin, synapses, weight, bias = self.synapses
        outputs = len(weight)
        for part in ("v_reset", "v_leak"):
            if np.any(getattr(node, part, 0.0)):
                raise ValueError(f"node {name}: {part} must be 0, potentials start and rest there")
        factor, decay = self._dynamics(name, node, kind, outputs)
        weight = weight * _column(factor, weight)
        bias = None if bias is None or not bias.any() else bias * factor
        for what, values in (("weight", weight), ("bias", bias)):
            if values is not None and not (np.abs(values) <= np.finfo(np.float32).max).all():
                raise ValueError(f"node {origin}: {what} must be finite in float32, also times those of node {name}")
        options: dict[str, Any] = {"steps": self.steps, "affine": None, "bias": bias is not None, "decay": decay}
        if kind in ("IF", "LIF"):
            options["threshold"] = _threshold(name, node, outputs)
        options["generator"] = torch.Generator()  # torch's own stays where it is
        layer = self._layer(name, origin, synapses, weight, options, kind in ("IF", "LIF"))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            if layer.bias is not None and bias is not None:
                layer.bias.copy_(torch.from_numpy(bias))
        self.layers.append(layer)
        self.synapses, self.pool, self.gain = None, 1, 1.0

    def _layer(
        self, name: str, origin: str, synapses: Any, weight: NDArray[np.float64], options: dict[str, Any], fires: bool
    ) -> fs.Synapse:
        direct, conv = self.direct and not self.layers, weight.ndim == 4
        if not fires and (conv or direct):
            raise ValueError(f"node {name}: a readout that integrates must follow Linear or Affine, and a firing layer")
        if not direct:
            options["avg_pool"] = self.pool
        if conv:
            convolution = fs.DirectConv2d if direct else fs.TTFSConv2d
            options |= _sizes(origin, synapses)
            return convolution(weight.shape[1], len(weight), weight.shape[2:], **options)
        if self.flatten and direct:
            self.layers.append(nn.Flatten())
        made = fs.DirectLinear if direct else fs.TTFSLinear if fires else fs.Integrate
        return made(weight.shape[1], len(weight), **options)

    def _dynamics(self, name: str, node: Any, kind: str, outputs: int) -> tuple[NDArray[np.float64], float]:
        """(factor of the current per channel, decay) of the step V = decay V + factor X."""
        r = _per_channel(name, "r", _real(name, "r", node.r), outputs)
        if kind in ("IF", "I"):
            return np.where(r == 1, 1.0, r * self.dt), 1.0
        tau = np.unique(np.asarray(node.tau, np.float64))
        if len(tau) != 1 or not np.float32(self.dt / tau[0]) < 1:
            raise ValueError(f"node {name}: tau must be one number for all neurons, above dt = {self.dt}")
        if np.isinf(tau[0]) and np.isinf(r).all():  # snnTorch writes beta = 1 so
            return np.ones(outputs), 1.0
        return r * self.dt / tau[0], float(np.float32(1 - self.dt / tau[0]))


def _threshold(name: str, node: Any, outputs: int) -> float | torch.Tensor:
    """The threshold of a layer that fires at >=: the next float32 above the node's, which fires at >."""
    each = _per_channel(name, "v_threshold", np.asarray(node.v_threshold, np.float32), outputs)
    above = np.nextafter(each, np.float32(np.inf))
    if not ((above >= np.finfo(np.float32).tiny) & np.isfinite(above)).all():
        raise ValueError(f"node {name}: v_threshold must be positive and finite in float32, got {each}")
    return float(above[0]) if len(set(above.tolist())) == 1 else torch.from_numpy(above)


def _real(name: str, what: str, values: Any) -> NDArray[np.float64]:
    """Numbers of a node, float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"node {name}: {what} must hold real numbers, got {array.dtype}")
    return array.astype(np.float64)


def _weight_and_bias(
    name: str, node: Any, kind: str, gain: float
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The weight, times a gain, and the bias of a node of synapses. Raises ValueError for other shapes than their layer's."""
    weight, dims = _real(name, "weight", node.weight) * gain, 4 if kind == "Conv2d" else 2
    if weight.ndim != dims:
        raise ValueError(f"node {name}: weight of {kind} must have {dims} dimensions, got shape {weight.shape}")
    bias = None if getattr(node, "bias", None) is None else _real(name, "bias", node.bias)
    if bias is not None and bias.shape != (len(weight),):
        raise ValueError(f"node {name}: bias must have shape ({len(weight)},), got {bias.shape}")
    return weight, bias


def _per_channel(name: str, what: str, values: NDArray[Any], outputs: int) -> NDArray[Any]:
    """One value per output channel. Raises ValueError where values differ within a channel."""
    if values.size == 1:
        return np.full(outputs, values.ravel()[0])
    if values.shape[0] != outputs:
        raise ValueError(f"node {name}: {what} must have {outputs} channels first, got shape {values.shape}")
    each = values.reshape(outputs, -1)
    if (each != each[:, :1]).any():
        raise ValueError(f"node {name}: {what} must be the same for all neurons of a channel")
    return each[:, 0]


def _column(each: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return each.reshape(-1, *[1] * (weight.ndim - 1))


def _sizes(name: str, node: Any) -> dict[str, Any]:
    """Stride and padding of a convolution."""
    if _pair(name, "dilation", node.dilation) != (1, 1) or _pair(name, "groups", node.groups) != (1, 1):
        raise ValueError(f"node {name}: dilation and groups must be 1")
    stride, kernel = _pair(name, "stride", node.stride), np.shape(node.weight)[2:]
    if not isinstance(node.padding, str):
        return {"stride": stride, "padding": _pair(name, "padding", node.padding)}
    if node.padding not in ("same", "valid"):
        raise ValueError(f"node {name}: padding must be 'same', 'valid' or whole numbers, got {node.padding!r}")
    if node.padding == "same" and (stride != (1, 1) or not all(side % 2 for side in kernel)):
        raise ValueError(f"node {name}: padding 'same' needs stride 1 and kernels of odd size")
    return {"stride": stride, "padding": (kernel[0] // 2, kernel[1] // 2) if node.padding == "same" else (0, 0)}


def _pair(name: str, what: str, value: Any) -> tuple[int, int]:
    sides = _real(name, what, value).ravel()
    if sides.size not in (1, 2) or not all(map(float.is_integer, sides.tolist())):
        raise ValueError(f"node {name}: {what} must be one or two whole numbers, got {value}")
    return int(sides[0]), int(sides[-1])
