"""Exchange through NIR (neuromorphs/NIR): integers in standard nodes, and a metadata record that makes the round trip
exact.

The graph is Input, then for each layer an optional SumPool2d, Flatten, Conv2d or Affine with integral weights and
biases (in units of the membrane), and IF, or I for a readout. A residual block's input goes through one more Conv2d or
Linear, with a diagonal weight, into the neurons of the block's last layer. Arrays are float64, or int64 beyond 53 bits.
NIR's IF fires at V > threshold, so a `ge` threshold is written one less. The metadata hold the rest, as JSON.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._base import checks
from .layers import Layer, StepNeuron
from .program import Program
from .serialization import FAULTS, ProgramError, put_together, take_apart

if TYPE_CHECKING:
    import nir

KEY = "firstspike"


def to_nir(program: Program) -> nir.NIRGraph:
    """Return a program as a NIR graph; `nir.write("program.nir", graph)` stores it. ValueError for a program with a leak.

    Parameters
    ----------
    program : from `quantize`.

    Examples
    --------
    >>> graph = to_nir(emulator.quantize(models.mlp("64-32-10", steps=8)))
    >>> list(graph.nodes)
    ['input', '0.synapses', '0.neurons', 'output']
    """
    import nir

    checks.instance("program", program, Program, "a firstspike.emulator.Program")
    if program.timing == "windowed":
        raise ValueError("NIR has no node for a neuron that fires in its own window; use emulator.save or emulator.export_c")
    header, arrays = take_apart(program)
    height, width, channels = program.input_shape
    flat_input = height == width == 1 and program.layers[0].kind == "linear"
    sizes = [channels] if flat_input else [channels, height, width]
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(sizes)})}
    for n, layer in enumerate(program.layers):
        neuron = layer.neuron_as(StepNeuron)
        if neuron.decay_bits or neuron.leak == "shift" or neuron.current is not None:
            raise ValueError(f"layer {layer.name}: NIR has no leak in discrete time")
        pooled_h, pooled_w, _ = layer.pooled_shape
        if layer.pool > 1:
            nodes[f"{n}.pool"] = nir.SumPool2d(*(np.array([size, size]) for size in (layer.pool, layer.pool, 0)))
        after_map = layer.in_shape[:2] != (1, 1) or (n > 0 and program.layers[n - 1].kind == "conv")
        if layer.kind == "linear" and after_map:
            map_shape = (layer.in_shape[2], pooled_h, pooled_w)
            nodes[f"{n}.flatten"] = nir.Flatten({"input": np.array(map_shape)}, start_dim=0)
        nodes[f"{n}.synapses"] = _synapses(nir, layer)
        shape = (layer.out_shape[2], *layer.out_shape[:2]) if layer.kind == "conv" else (layer.out_shape[2],)
        theta = neuron.theta - (neuron.fire == "ge")
        each = np.broadcast_to(theta.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
        one = np.ones(shape)
        fires = nir.IF(r=one, v_threshold=_loadable(each), v_reset=one * 0)
        nodes[f"{n}.neurons"] = fires if layer.fires else nir.I(r=one)
    nodes["output"] = nir.Output({"output": np.array(shape)})
    edges = list(itertools.pairwise(nodes))
    for n, layer in enumerate(program.layers):
        if layer.shortcut is not None:
            source = "input" if layer.shortcut.source < 0 else f"{layer.shortcut.source}.neurons"
            nodes[f"{n}.shortcut"] = _shortcut(nir, layer)
            edges += [(source, f"{n}.shortcut"), (f"{n}.shortcut", f"{n}.neurons")]
    record = {
        "header": header,
        "scale": {name: array.tolist() for name, array in arrays.items() if name.endswith(".scale")},
        "host": {
            name: {"shape": array.shape, "type": array.dtype.name, "values": array.ravel().tolist()}
            for name, array in arrays.items()
            if name.startswith(("encoder.", "pixels."))
        },
    }
    return nir.NIRGraph(nodes, edges, metadata={KEY: json.dumps(record)}, type_check=False)


def from_nir(graph: nir.NIRGraph) -> Program:
    """Return the program in a graph of `to_nir`: integers from the nodes, the rest from the metadata. ProgramError for another.

    Parameters
    ----------
    graph : made by `to_nir`.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> again, x = from_nir(to_nir(program)), torch.rand(20, 64)
    >>> bool((emulator.run(again, x).scores == emulator.run(program, x).scores).all())
    True
    """
    try:
        record = json.loads(graph.metadata[KEY])
        header, arrays = record["header"], {}
        for name, values in record["scale"].items():
            arrays[name] = np.array(values, np.float64)
        for name, host in record["host"].items():
            arrays[name] = np.array(host["values"], host["type"]).reshape(host["shape"])
        for n, plain in enumerate(header["layers"]):
            arrays.update(_read_layer(graph.nodes, n, plain))
    except FAULTS as error:
        raise ProgramError(f"no program of firstspike in the graph: {type(error).__name__}: {error}") from error
    return put_together(header, arrays)


def _conv(nir: Any, size: tuple[int, ...], weight: NDArray[Any], stride: Any, padding: Any, bias: NDArray[Any]) -> Any:
    return nir.Conv2d(input_shape=size, weight=weight, stride=stride, padding=padding, dilation=1, groups=1, bias=bias)


def _shortcut(nir: Any, layer: Layer) -> Any:
    assert layer.shortcut is not None
    height, width, channels = layer.shortcut.in_shape
    weight = np.zeros((layer.out_shape[2], channels), np.int64)
    np.fill_diagonal(weight, layer.shortcut.weight.astype(np.int64) << layer.shift)
    if layer.kind == "linear":
        return nir.Linear(_loadable(weight))
    taps, bias = _loadable(weight)[:, :, None, None], np.zeros(len(weight))
    return _conv(nir, (height, width), taps, layer.shortcut.stride, (0, 0), bias)


def _synapses(nir: Any, layer: Layer) -> Any:
    weight, bias = _loadable(layer.weight.astype(np.int64) << layer.shift), _loadable(layer.bias)
    height, width, channels = layer.pooled_shape
    if layer.kind == "conv":
        return _conv(nir, (height, width), weight.transpose(3, 0, 1, 2), layer.stride, layer.padding, bias)
    rows = weight.reshape(height, width, channels, -1).transpose(3, 2, 0, 1)
    return nir.Affine(rows.reshape(layer.out_shape[2], -1), bias)


def _read_layer(nodes: dict[str, Any], n: int, plain: dict[str, Any]) -> dict[str, NDArray[Any]]:
    synapses, neurons, shift = nodes[f"{n}.synapses"], nodes[f"{n}.neurons"], plain["shift"]
    own, *shortcuts = plain["inputs"]
    if shift not in range(62):
        raise ProgramError(f"layer {n}: shift must be from 0 to 61, got {shift}")
    weight = _unshifted(_integers(synapses.weight, n), shift, n)
    if own["kind"] == "conv":
        weight = weight.transpose(1, 2, 3, 0)
    else:
        height, width, channels = own["in_shape"]
        sizes = (-1, channels, height // own["pool"], width // own["pool"])
        weight = weight.reshape(sizes).transpose(2, 3, 1, 0).reshape(-1, len(weight))
    outputs = len(synapses.weight)
    theta = np.zeros(outputs, np.int64)
    if plain["neuron"]["fires"]:
        each = _integers(neurons.v_threshold, n).reshape(outputs, -1)
        if (each != each[:, :1]).any():
            raise ProgramError(f"layer {n}: its thresholds must be one per output channel")
        theta = each[:, 0] + (plain["neuron"]["fire"] == "ge")
    read = {"inputs.0.weight": np.ascontiguousarray(weight), "neuron.theta": theta, "neuron.bias": _integers(synapses.bias, n)}
    if shortcuts:
        taps = _integers(nodes[f"{n}.shortcut"].weight, n)
        taps = _unshifted(taps.reshape(taps.shape[:2]), shift, n)
        read["inputs.1.weight"] = np.diagonal(taps).copy()
        np.fill_diagonal(taps, 0)
        if len(read["inputs.1.weight"]) < taps.shape[1] or taps.any():
            raise ProgramError(f"layer {n}: the weight of its shortcut must be diagonal")
    return {f"layers.{n}.{name}": array for name, array in read.items()}


def _unshifted(values: NDArray[np.int64], shift: int, n: int) -> NDArray[np.int64]:
    if (values & ((1 << shift) - 1)).any():
        raise ProgramError(f"layer {n}: its weights must be multiples of 2^{shift}")
    unshifted: NDArray[np.int64] = values >> shift
    return unshifted


def _integers(values: Any, n: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    exact = np.issubdtype(array.dtype, np.integer)
    if np.issubdtype(array.dtype, np.floating):
        exact = bool((array == np.rint(array)).all() and (np.abs(array) < 1 << 53).all())  # False for NaN as well
    if not exact:
        raise ProgramError(f"layer {n}: weights, thresholds and biases must be integers, got {array.dtype} of others")
    return array.astype(np.int64)


def _loadable(values: NDArray[np.int64]) -> NDArray[Any]:
    """The integers as float64, which other packages load, if that is exact."""
    return values.astype(np.float64) if (np.abs(values) < 1 << 53).all() else values
