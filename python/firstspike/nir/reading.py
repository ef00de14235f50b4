"""From a NIR graph to a net."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import nn as fs
from .._base import checks
from .own_graph import LINEAR, NEURONS, chain, own_net
from .writing import DT, KEY

if TYPE_CHECKING:
    import nir


class FiresOnce(UserWarning):
    """NIR's neurons reset and may fire again; those of a net of `from_nir` fire once.

    Examples:
        >>> import warnings
        >>> import nir as nir_package
        >>> graph = nir_package.NIRGraph.from_list(
        ...     nir_package.Linear(np.ones((2, 3))), nir_package.IF(np.ones(2), v_threshold=np.ones(2))
        ... )
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     net = nir.from_nir(graph, steps=8, dt=1.0)
        >>> said[0].category.__name__
        'FiresOnce'
    """


def from_nir(graph: nir.NIRGraph, steps: int | None = None, *, encoder: str = "spikes", dt: float = DT) -> nn.Module:
    """The net of a NIR graph, a chain of Linear, Affine, Conv2d, Scale, AvgPool2d, SumPool2d, Flatten, IF, LIF, I and LI.

    A graph of `to_nir` gives back its net, with folded weights. Of another graph it becomes an `nn.Sequential` of our
    layers: SpikeTimes in; SpikeTimes out where it ends in neurons, or the membrane [T, B, C] where it ends in I or LI.
    The warning `FiresOnce` says that its neurons fire once.

    steps: T, 1 to 254; for a graph of `to_nir` None or the steps of its net. encoder: "spikes", or "direct": the first
    layer gets data [B, ...] as a constant current. dt: seconds per step. A graph of `to_nir` brings its own encoder and
    dt, which take precedence. A neuron of NIR fires at V > v_threshold; r of IF is 1 / dt or 1 for unscaled currents, and any
    other is a factor r dt of the weights. Scale is folded into the weights before it. Thresholds that differ between channels
    are folded, too: a sum within float32's rounding of them may go either way.

    Raises ValueError naming the node for what is not such a chain, for v_reset or v_leak other than 0, for thresholds that
    differ within a channel, and for pools that overlap; TypeError or ValueError for other arguments.

    Examples:
        >>> net = models.mlp("64-32-10", steps=8).eval()
        >>> x = torch.rand(4, 64)
        >>> torch.equal(nir.from_nir(nir.to_nir(net))(x), net(x))
        True
    """
    import nir

    checks.instance("graph", graph, nir.NIRGraph, "a nir.NIRGraph")
    steps = None if steps is None else checks.steps(steps)
    checks.one_of("encoder", encoder, ("spikes", "direct"))
    dt = checks.positive("dt", dt)
    text = getattr(graph, "metadata", {}).get(KEY)
    if text is not None:
        return own_net(graph, str(text), steps)
    if steps is None:
        raise ValueError("steps must be given: the graph does not say for how many steps its net runs")
    reader = _Reader(steps, dt, encoder == "direct")
    for name, node in chain(graph.nodes, graph.edges):
        reader.add(name, node)
    net = reader.finish()
    if any(isinstance(layer, fs.FiringLayer) for layer in net):
        warnings.warn(
            "the neurons of this graph may fire more than once; in firstspike they fire once", FiresOnce, stacklevel=2
        )
    return net


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
            bias = getattr(node, "bias", None)
            weight = _real(name, "weight", node.weight) * self.gain
            self.synapses = name, node, weight, None if bias is None else _real(name, "bias", bias)
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
        if self.pool != 1:
            raise ValueError("the graph ends in a pool; synapses and neurons must follow it")
        if not self.layers:
            raise ValueError("the graph has no neurons")
        return nn.Sequential(*self.layers).eval()

    def _pool(self, name: str, node: Any, kind: str) -> None:
        size, stride, padding = (_pair(getattr(node, part)) for part in ("kernel_size", "stride", "padding"))
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
            if np.any(np.asarray(getattr(node, part, 0.0)) != 0):
                raise ValueError(f"node {name}: {part} must be 0, potentials start and rest there")
        factor, decay = self._dynamics(name, node, kind, outputs)
        weight = weight * _column(factor, weight)
        bias = None if bias is None or not bias.any() else bias * factor
        for what, values in (("weight", weight), ("bias", bias)):
            if values is not None and not (np.abs(values) <= np.finfo(np.float32).max).all():
                raise ValueError(
                    f"node {origin}: {what} must be finite in float32, also times the factors of node {name}"
                )
        options: dict[str, Any] = {"steps": self.steps, "affine": None, "bias": bias is not None, "decay": decay}
        if kind in ("IF", "LIF"):
            options["threshold"] = _threshold(name, node, outputs)
        options["generator"] = torch.Generator()  # torch's own stays where it is: the weights are read next
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
        if conv:
            options |= _sizes(origin, synapses)
            if direct:
                return fs.DirectConv2d(weight.shape[1], len(weight), weight.shape[2:], **options)
            return fs.TTFSConv2d(weight.shape[1], len(weight), weight.shape[2:], avg_pool=self.pool, **options)
        if direct:
            if self.flatten:
                self.layers.append(nn.Flatten())
            return fs.DirectLinear(weight.shape[1], len(weight), **options)
        made = fs.TTFSLinear if fires else fs.Integrate
        return made(weight.shape[1], len(weight), avg_pool=self.pool, **options)

    def _dynamics(self, name: str, node: Any, kind: str, outputs: int) -> tuple[NDArray[np.float64], float]:
        """(factor of the current per channel, decay) of the step V = decay V + factor X."""
        r = _per_channel(name, "r", _real(name, "r", node.r), outputs)
        if kind in ("IF", "I"):
            return np.where(r == 1, 1.0, r * self.dt), 1.0
        tau = np.unique(np.asarray(node.tau, np.float64))
        if len(tau) != 1 or not tau[0] >= self.dt:
            raise ValueError(f"node {name}: tau must be one number for all neurons, at least dt = {self.dt}")
        if np.isinf(tau[0]) and np.isinf(r).all():  # snnTorch writes beta = 1 so
            return np.ones(outputs), 1.0
        decay = float(np.float32(1 - self.dt / tau[0]))
        if decay == 0:
            raise ValueError(f"node {name}: tau = dt forgets everything in each step; a decay above 0 is needed")
        return r * self.dt / tau[0], decay


def _threshold(name: str, node: Any, outputs: int) -> float | torch.Tensor:
    """The threshold of a layer that fires at >=: the next float32 above that of the node, which fires at >."""
    if not np.isfinite(np.asarray(node.v_threshold, np.float32)).all():
        raise ValueError(f"node {name}: v_threshold must be finite in float32")
    each = _per_channel(name, "v_threshold", np.asarray(node.v_threshold, np.float32), outputs).astype(np.float32)
    above = np.nextafter(each, np.float32(np.inf))
    if not (above >= np.finfo(np.float32).tiny).all():
        raise ValueError(f"node {name}: v_threshold must be positive, got {each.min()}")
    return float(above[0]) if len(set(above.tolist())) == 1 else torch.from_numpy(above)


def _real(name: str, what: str, values: Any) -> NDArray[np.float64]:
    """Numbers of a node, float64. Raises ValueError for complex ones, and for what is none."""
    found = np.asarray(values)
    if found.dtype.kind not in "fiu":
        raise ValueError(f"node {name}: {what} must hold real numbers, got {found.dtype}")
    return found.astype(np.float64)


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
    if _pair(node.dilation) != (1, 1) or int(np.max(node.groups)) != 1:
        raise ValueError(f"node {name}: dilation and groups must be 1")
    stride, kernel = _pair(node.stride), np.shape(node.weight)[2:]
    if isinstance(node.padding, str):
        if node.padding == "same" and (stride != (1, 1) or not all(side % 2 for side in kernel)):
            raise ValueError(f"node {name}: padding 'same' needs stride 1 and kernels of odd size")
        padding = (kernel[0] // 2, kernel[1] // 2) if node.padding == "same" else (0, 0)
    else:
        padding = _pair(node.padding)
    return {"stride": stride, "padding": padding}


def _pair(value: Any) -> tuple[int, int]:
    both = np.broadcast_to(np.asarray(value), (2,))
    return int(both[0]), int(both[1])
