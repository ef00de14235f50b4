"""Nets as NIR graphs, and NIR graphs as nets."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
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
from ..models.files import build, describe, planned, rebuild
from ..models.net import Readout
from ..models.sizes import check_input_shape
from ..nn.residual import Part, fold_layers, parts
from ..nn.stepwise import StepSynapses

if TYPE_CHECKING:
    import nir

KEY = "firstspike.net"
DT = 1e-4  # seconds per step, what SpikingJelly and snnTorch assume
LONG = float(1 << 40)  # time constant, in steps, of a neuron without a leak: 1 - 2^-40 is 1 in float32
LINEAR = ("Linear", "Affine", "Conv2d")
FIRING, INTEGRATING = ("IF", "LIF", "CubaLIF"), ("I", "LI", "CubaLI")


def to_nir(
    net: nn.Module,
    *,
    input_shape: tuple[int, ...] | None = None,
    dt: float = DT,
    integrate_and_fire: str = "LIF",
    integrator: bool = False,
) -> nir.NIRGraph:
    """Write a net as a NIR graph: Input, AvgPool2d, Flatten, Linear or Affine or Conv2d, LIF or CubaLIF, Output.

    SpikingJelly 2.0 and snnTorch 1.0 load the graph. Normalisation, affine and thresholds per neuron are folded into weights and
    biases. NIR's neurons fire at V > v_threshold, ours at V >= threshold, so v_threshold is the next float32 below the threshold.
    Currents are per step of `dt` seconds: tau = dt / (1 - decay), r = tau / dt, and likewise tau_syn and w_in where a layer has a
    synaptic_decay; a decay of 1 becomes 2^40 steps, which float32 cannot tell from it. A directly coded first layer becomes its
    synapses and neurons; its input is the data, scaled by `normalize`, in every step. A membrane readout ends with its
    synapses; its decay and mode are in the metadata. The input of a residual block goes into the neurons of its last layer
    through one more Conv2d, of kernel 1, or Linear, with a diagonal weight. NIR has no max and earliest pooling, and no neuron
    that fires in its own window. Single spikes, steps, scaling, encoder and readout are in the graph's metadata; with them
    `from_nir` gives a net that computes the same bits.

    Parameters
    ----------
    net, input_shape : TTFSNet or Sequential, tuple of int
        A Sequential of our layers, with a readout or none, needs the shape of a sample, (N,) or (C, H, W), unless its first
        layer is fully connected.
    dt : float
        Seconds per step; both packages assume the default.
    integrate_and_fire : str
        "LIF", or "IF" with r = 1 / dt, for neurons without a leak; snnTorch 1.0 does not load IF.
    integrator : bool
        True: a membrane readout ends in I, LI or CubaLI, which neither package loads.

    Examples
    --------
    >>> list(nir.to_nir(models.mlp("64-32-10", steps=8)).nodes)
    ['input', 'layer0_synapses', 'layer0_neurons', 'layer1_synapses', 'output']
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
        if not isinstance(layer, StepSynapses):
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
        if integrator or isinstance(layer, fs.FiringLayer):
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
    if any(getattr(module, "timing", None) == "windowed" for module in net.modules()):
        raise ValueError("NIR has no node for a neuron that fires in its own window; see emulator.quantize and export_c")
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
        shape = sample_shape(next((module for module in net.modules() if isinstance(module, StepSynapses)), None))
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


def _synapses(nir: Any, n: str, layer: StepSynapses, shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """The node of a layer's weights, and the shape of its neurons."""
    weight = _finite(n, "weight", layer.weight)
    bias = None if layer.bias is None else _finite(n, "bias", layer.bias * layer.bias_scale)
    if not isinstance(layer, (fs.TTFSConv2d, fs.DirectConv2d)):
        return (nir.Linear(weight) if bias is None else nir.Affine(weight, bias)), (len(weight),)
    sides = zip(shape[1:], layer.kernel_size, layer.stride, layer.padding, strict=True)
    node = _convolution(nir, shape, weight, bias, layer.stride, layer.padding)
    return node, (len(weight), *(out_size(*side) for side in sides))


def _convolution(nir: Any, shape: tuple[int, ...], weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    return nir.Conv2d(shape[1:], weight, stride, padding, dilation=(1, 1), groups=1, bias=bias)


def neurons_node(layer: StepSynapses, shape: tuple[int, ...], dt: float, integrate_and_fire: str) -> Any:
    """The node of a layer's neurons, of that shape."""
    import nir

    def full(value: float) -> NDArray[np.float64]:
        return np.full(shape, value)

    decay, synaptic_decay = float(layer.decay), float(layer.synaptic_decay)
    if decay > 1:
        raise ValueError(f"{type(layer).__name__} has decay {decay:g}; NIR has no neuron whose potential grows")
    steps, current = (LONG if each == 1 else 1 / (1 - each) for each in (decay, synaptic_decay))  # the time constants
    fires = {}
    if isinstance(layer, fs.FiringLayer):
        below = np.nextafter(np.float32(layer.neuron.threshold), np.float32(-np.inf))
        fires = {"v_threshold": np.full(shape, below, np.float32), "v_reset": full(0.0)}
    if synaptic_decay:
        currents = {"tau_syn": full(current * dt), "tau_mem": full(steps * dt), "w_in": full(current)}
        return (nir.CubaLIF if fires else nir.CubaLI)(**currents, r=full(steps), v_leak=full(0.0), **fires)
    if decay == 1 and (integrate_and_fire == "IF" or not fires):
        return (nir.IF if fires else nir.I)(r=full(1 / dt), **fires)
    return (nir.LIF if fires else nir.LI)(tau=full(steps * dt), r=full(steps), v_leak=full(0.0), **fires)


def _finite(n: str, what: str, value: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.detach().numpy().copy()
    if not np.isfinite(array).all():
        raise ValueError(f"layer {n}: its {what} holds NaN or infinity")
    return array


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
    """Read the net of a NIR graph, a chain of synapses, pools and neurons.

    The nodes are Linear, Affine, Conv2d, Scale, AvgPool2d, SumPool2d, Flatten, IF, LIF and CubaLIF; at the end I, LI and CubaLI.
    A graph of `to_nir` gives back its net, with folded weights. Another graph becomes an `nn.Sequential` of our layers:
    SpikeTimes in; SpikeTimes out where it ends in neurons that fire, else the membrane [T, B, C].
    A neuron of NIR fires at V > v_threshold; r of IF is 1 / dt or 1 for unscaled currents, and any other is a factor r dt of
    the weights, as are those of LIF and CubaLIF. Scale, and a pool between a convolution and its neurons, are folded into the
    weights before them; thresholds that differ between channels, too: a sum within float32's rounding of them may go either
    way. A ValueError names the node that does not fit; FiresOnce warns of neurons that may fire more than once.

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
        try:
            with np.errstate(all="ignore"):  # what is not finite then is refused
                reader.add(_with_arrays(node))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"node {name}: {error}") from error
    if reader.weight is not None or reader.pool != 1 or not reader.layers:
        raise ValueError("the graph must end in neurons: add an I or LI node (to_nir: integrator=True)")
    net = nn.Sequential(*reader.layers).eval()
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


def _with_arrays(node: Any) -> Any:
    """The node with arrays in place of torch's tensors, which the exporters of sinabs and norse leave in nodes."""
    plain = copy.copy(node)
    for name, value in getattr(node, "__dict__", {}).items():
        if isinstance(value, torch.Tensor):
            setattr(plain, name, value.detach().cpu().numpy())
    return plain


def _chain(nodes: dict[str, Any], edges: Iterable[tuple[str, str]]) -> list[tuple[str, Any]]:
    """The nodes from input to output. Raises ValueError where there is not one path through all of them."""
    edges = list(edges)
    sources: dict[str, list[str]] = {}
    for source, target in edges:
        sources.setdefault(target, []).append(source)
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        raise ValueError(f"node {error.args[1][0]}: the graph is recurrent; here no neuron hears of its own spike") from None
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
        layers = [(n, part) for n, part in parts_of(empty) if isinstance(part.layer, StepSynapses)]
        names = {module: f"{name}." if name else "" for name, module in empty.named_modules(remove_duplicate=False)}
        beside = {f"layer{n}_shortcut" for n, part in layers if part.block is not None}
        nodes = {name: node for name, node in graph.nodes.items() if name not in beside}
        path = [node for _, node in _chain(nodes, [edge for edge in graph.edges if not beside.intersection(edge)])]
        kinds = LINEAR, (*FIRING, *INTEGRATING)
        synapses, neurons = ([node for node in path if type(node).__name__ in kind] for kind in kinds)
        if isinstance(layers[-1][1].layer, fs.Integrate) and len(neurons) < len(layers):
            neurons.append(None)  # the graph ends with the readout's synapses
        scaling = record["net"].get("normalize", {}).get("settings", {})  # the description has its numbers
        tensors = {f"normalize.{name}": _tensor(values) for name, values in scaling.items() if name != "saturate"}
        for (n, part), node, own in zip(layers, synapses, neurons, strict=True):
            layer: Any = part.layer
            if own is not None:
                _check_neurons(n, own, neurons_node(layer, own.r.shape, record["dt"], type(own).__name__))
            tensors[f"{names[layer]}weight"] = _tensor(node.weight)
            if layer.bias is not None:
                tensors[f"{names[layer]}bias"] = _tensor(node.bias) / layer.bias_scale
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


def _check_neurons(n: str, node: Any, own: Any) -> None:
    """Raise ValueError for neurons that differ from the metadata: the edited numbers would have no effect."""
    for name in ("tau", "tau_syn", "tau_mem", "w_in", "r", "v_leak", "v_threshold", "v_reset"):
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
    """Makes layers of nodes, one by one: pools, then synapses and what scales them, then neurons."""

    def __init__(self, steps: int, dt: float, direct: bool) -> None:
        self.steps, self.dt, self.direct = steps, dt, direct
        self.layers: list[nn.Module] = []
        self.flatten = False  # data before a directly coded layer; one after spikes flattens itself
        self.pool, self.gain = 1, 1.0
        self.weight: NDArray[np.float64] | None = None  # of the synapses whose neurons have not come yet
        self.bias: NDArray[np.float64] = np.zeros(0)
        self.sizes: dict[str, Any] = {}  # stride and padding of a convolution, else empty

    def add(self, node: Any) -> None:
        kind = type(node).__name__
        if kind in ("Input", "Output", "Flatten"):
            self.flatten |= kind == "Flatten" and self.direct and not self.layers
            return
        if self.layers and isinstance(self.layers[-1], fs.Integrate):
            raise ValueError("nothing may follow a readout that integrates")
        builder = (_BEFORE if self.weight is None else _AFTER).get(kind)
        if builder is None:
            place = "where synapses or a pool must follow" if self.weight is None else "after synapses"
            raise ValueError(f"{kind} cannot stand {place}")
        builder(self, node)

    def add_pool(self, node: Any) -> None:
        if not self.layers and self.direct:
            raise ValueError("a directly coded net cannot begin with a pool")
        size, gain = _pool(node)
        self.pool *= size
        self.gain *= gain

    def fold_pool(self, node: Any) -> None:
        """Fold a pool behind a convolution into its kernel: each tap is added wherever the pool takes it, stride by stride."""
        if not self.sizes:
            raise ValueError(f"{type(node).__name__} cannot stand after fully connected synapses")
        assert self.weight is not None
        size, gain = _pool(node)
        (down, right), kernel = self.sizes["stride"], self.weight.shape[2:]
        wider = np.zeros((*self.weight.shape[:2], kernel[0] + down * (size - 1), kernel[1] + right * (size - 1)))
        for y, x in itertools.product(range(size), repeat=2):
            wider[..., y * down :, x * right :][..., : kernel[0], : kernel[1]] += self.weight / size**2
        self.weight, self.sizes = wider, self.sizes | {"stride": (down * size, right * size)}
        self._multiply(np.full(len(self.bias), gain))

    def add_synapses(self, node: Any) -> None:
        weight, bias = np.asarray(node.weight, np.float64) * self.gain, getattr(node, "bias", None)
        dims = 4 if type(node).__name__ == "Conv2d" else 2
        if weight.ndim != dims or not weight.size:
            raise ValueError(f"weight must have {dims} dimensions, none of size 0, got shape {weight.shape}")
        self.weight = weight
        self.bias = np.zeros(len(weight)) if bias is None else np.asarray(bias, np.float64)
        if self.bias.shape != (len(weight),):
            raise ValueError(f"bias must have shape ({len(weight)},), got {self.bias.shape}")
        self.sizes = _sizes(node) if dims == 4 else {}

    def add_scale(self, node: Any) -> None:
        self._multiply(_per_channel("scale", node.scale, len(self.bias)))

    def add_neurons(self, node: Any) -> None:
        for part in ("v_reset", "v_leak"):
            if np.any(getattr(node, part, 0.0)):
                raise ValueError(f"{part} must be 0, potentials start and rest there")
        factor, decays = self._dynamics(node)
        weight = self._multiply(factor)
        if not all((np.abs(values) <= np.finfo(np.float32).max).all() for values in (weight, self.bias)):
            raise ValueError("weight and bias must be finite in float32, also times what the neurons multiply them by")
        layer = self._layer(node, weight, decays)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(self.bias) / layer.bias_scale)
        self.layers.append(layer)
        self.weight, self.pool, self.gain = None, 1, 1.0

    def _multiply(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply the weights and the bias by a factor per output channel."""
        assert self.weight is not None
        self.weight, self.bias = (self.weight.T * each).T, self.bias * each
        return self.weight

    def _layer(self, node: Any, weight: NDArray[np.float64], decays: dict[str, float]) -> StepSynapses:
        fires, direct = type(node).__name__ in FIRING, self.direct and not self.layers
        conv = bool(self.sizes)
        if not fires and (conv or direct):
            raise ValueError("a readout that integrates must follow Linear or Affine, and a firing layer")
        options: dict[str, Any] = {"steps": self.steps, "affine": None, "bias": bool(self.bias.any()), **decays}
        options["generator"] = torch.Generator()  # torch's own stays where it is
        if fires:
            options["threshold"] = _threshold(node, len(weight))
        if not direct:
            options["avg_pool"] = self.pool
        if conv:
            convolution = fs.DirectConv2d if direct else fs.TTFSConv2d
            return convolution(weight.shape[1], len(weight), weight.shape[2:], **self.sizes, **options)
        if self.flatten and direct:
            self.layers.append(nn.Flatten())
        kind = fs.DirectLinear if direct else fs.TTFSLinear if fires else fs.Integrate
        return kind(weight.shape[1], len(weight), **options)

    def _dynamics(self, node: Any) -> tuple[NDArray[np.float64], dict[str, float]]:
        """The factor of the current per channel, and the decays, of V = decay V + I, I = synaptic_decay I + factor X."""
        kind = type(node).__name__
        r = _per_channel("r", node.r, len(self.bias))
        if kind in ("IF", "I"):
            return np.where(r == 1, 1.0, r * self.dt), {"decay": 1.0}
        if kind in ("LIF", "LI"):
            factor, decay = self._fading(node, "tau", r)
            return factor, {"decay": decay}
        factor, decay = self._fading(node, "tau_mem", r)
        current, synaptic_decay = self._fading(node, "tau_syn", _per_channel("w_in", node.w_in, len(self.bias)))
        return factor * current, {"decay": decay, "synaptic_decay": synaptic_decay}

    def _fading(self, node: Any, name: str, gain: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """(factor per channel, decay) of a step of tau dx/dt = gain X - x."""
        tau = np.unique(np.asarray(getattr(node, name), np.float64))
        if len(tau) != 1 or not (tau[0] > 0 and np.float32(self.dt / tau[0]) <= 1):
            raise ValueError(f"{name} must be one number for all neurons, at least dt = {self.dt}")
        if np.isinf(tau[0]) and np.isinf(gain).all():  # snnTorch writes a decay of 1 so
            return np.ones(len(gain)), 1.0
        return gain * self.dt / tau[0], float(np.float32(1 - self.dt / tau[0]))


# The builders of nodes by their kind, without synapses and with synapses that wait for neurons.
_Builder = Callable[[_Reader, Any], None]
_BEFORE: dict[str, _Builder] = dict.fromkeys(LINEAR, _Reader.add_synapses)
_BEFORE |= dict.fromkeys(("AvgPool2d", "SumPool2d"), _Reader.add_pool)
_AFTER: dict[str, _Builder] = {"Scale": _Reader.add_scale}
_AFTER |= dict.fromkeys(("AvgPool2d", "SumPool2d"), _Reader.fold_pool)
_AFTER |= dict.fromkeys((*FIRING, *INTEGRATING), _Reader.add_neurons)


def _pool(node: Any) -> tuple[int, int]:
    """Side of a pool, and what it multiplies averages by."""
    size, stride, padding = (_pair(part, getattr(node, part)) for part in ("kernel_size", "stride", "padding"))
    if size != stride or size[0] != size[1] or padding != (0, 0):
        raise ValueError("a pool must be square, as large as its stride, and without padding")
    return size[0], size[0] ** 2 if type(node).__name__ == "SumPool2d" else 1


def _threshold(node: Any, outputs: int) -> float | torch.Tensor:
    """The threshold of a layer that fires at >=: the next float32 above the node's, which fires at >."""
    each = _per_channel("v_threshold", node.v_threshold, outputs).astype(np.float32)
    above = np.nextafter(each, np.float32(np.inf))
    if not ((above >= np.finfo(np.float32).tiny) & np.isfinite(above)).all():
        raise ValueError(f"v_threshold must be positive and finite in float32, got {each}")
    return float(above[0]) if len(set(above.tolist())) == 1 else torch.from_numpy(above)


def _per_channel(what: str, values: Any, outputs: int) -> NDArray[np.float64]:
    """One value per output channel. Raises ValueError where values differ within a channel."""
    values = np.asarray(values, np.float64)
    if values.size == 1:
        return np.full(outputs, values.ravel()[0])
    if not values.size or values.size % outputs:
        raise ValueError(f"{what} must be one number, or one for each of {outputs} channels, got shape {values.shape}")
    each: NDArray[np.float64] = values.reshape(outputs, -1)
    if (each != each[:, :1]).any():
        raise ValueError(f"{what} must be the same for all neurons of a channel")
    return each[:, 0]


def _sizes(node: Any) -> dict[str, Any]:
    """Stride and padding of a convolution."""
    if (_pair("dilation", node.dilation), _pair("groups", node.groups)) != ((1, 1), (1, 1)):
        raise ValueError("dilation and groups must be 1")
    stride, kernel = _pair("stride", node.stride), np.shape(node.weight)[2:]
    padding = node.padding if isinstance(node.padding, str) else None
    if padding == "same" and (stride != (1, 1) or not all(side % 2 for side in kernel)):
        raise ValueError("padding 'same' needs stride 1 and kernels of odd size")
    named = {"same": (kernel[0] // 2, kernel[1] // 2), "valid": (0, 0)}.get(padding or "")
    return {"stride": stride, "padding": _pair("padding", node.padding) if named is None else named}


def _pair(what: str, value: Any) -> tuple[int, int]:
    return checks.pair(what, np.asarray(value).tolist(), 0)
