"""Exchange through NIR files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import firstspike
from firstspike import SpikeTimes
from firstspike import emulator as em
from firstspike.emulator.program import serialization

from ..fuzz import change_one, run_once
from ..nets import SPECS, changed, images, net

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")

from firstspike.emulator.program.nir import from_nir, to_nir  # noqa: E402  # needs nir


@pytest.mark.parametrize(("spec", "readout"), [*((spec, "membrane") for spec in SPECS), (SPECS[0], "first-spike")])
@pytest.mark.parametrize("name", ["generic8", "loihi-like"])
def test_round_trip_through_a_file(tmp_path, spec, name, readout):
    """Also of numbers of more than 53 bits, which are no floats."""
    program = em.quantize(net(spec, readout=readout), name)
    theta = program.layers[0].theta.copy()
    theta[0] = (1 << 59) + 1
    large = program.replace(layers=[changed(program.layers[0], theta=theta), *program.layers[1:]])
    for one in (program, large)[: 1 + program.layers[0].fires]:
        nir.write(tmp_path / "p.nir", to_nir(one))
        back = from_nir(nir.read(tmp_path / "p.nir", type_check=False))
        assert serialization.dumps(back) == serialization.dumps(one)


@pytest.mark.parametrize(
    ("spec", "encoder"), [("30-20-5", "latency"), (SPECS[2], "direct"), ("4C3s8-5", "latency"), ("4C3s8-6C1-5", "direct")]
)
def test_nirs_own_check_of_types_takes_the_graph(spec, encoder):
    """Also where a map is 1 x 1: what a convolution sends there has three dimensions, and is flattened."""
    program = em.quantize(net(spec, encoder=encoder))
    graph = to_nir(program)
    graph.infer_types()
    assert graph.check_types()
    assert serialization.dumps(from_nir(graph)) == serialization.dumps(program)


@pytest.mark.filterwarnings("ignore::firstspike.nir.FiresOnce")
def test_others_can_load_the_graph():
    """Arrays are float64 and the nodes are a plain net: read as a float net, they give the spikes of the program.

    One threshold per layer, so that float32 sums integers and compares them exactly.
    """
    model = net("30-20-5", encoder="latency", readout="first-spike")
    program, x = em.quantize(model, "generic8", granularity="tensor"), images(model)
    graph = to_nir(program)
    for name in ("0.synapses", "1.synapses"):
        assert graph.nodes[name].weight.dtype == graph.nodes[name].bias.dtype == np.float64
    times = program.input_times(x)
    raw = program.engine().run(times, all_times=True)
    assert not raw.counters[:, :, 5:].any()  # no overflow
    other = firstspike.nir.from_nir(graph, program.steps)
    np.testing.assert_array_equal(other(SpikeTimes(torch.from_numpy(times), program.steps)).times.numpy(), raw.times[-1])


def test_refusals():
    with pytest.raises(ValueError, match="no leak in discrete time"):
        to_nir(em.quantize(net(decay=0.5), "generic8"))
    ends = {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([3])})}
    with pytest.raises(em.ProgramError, match="no program of firstspike"):
        from_nir(nir.NIRGraph(ends, [("input", "output")], {}, type_check=False))
    for name, field in (("0.synapses", "weight"), ("0.synapses", "bias"), ("0.neurons", "v_threshold")):
        graph = to_nir(em.quantize(net(), "generic8"))
        setattr(graph.nodes[name], field, getattr(graph.nodes[name], field) + 0.5)
        with pytest.raises(em.ProgramError, match="layer 0: .* integers, got float64"):
            from_nir(graph)


SMALL = em.quantize(net("30-20-5", encoder="latency"), "loihi-like")


def attempt(graph):
    """A graph is refused as it should be, or its program runs."""
    try:
        program = from_nir(graph)
    except em.ProgramError:
        return
    run_once(program)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_value_at_any_place_of_the_record(data):
    graph = to_nir(SMALL)
    record = json.loads(graph.metadata["firstspike"])
    change_one(lambda options: data.draw(st.sampled_from(options)), record, depth=4)
    graph.metadata["firstspike"] = json.dumps(record)
    attempt(graph)


ARRAYS = [None, 7, "x", [], np.zeros(0, np.int64), np.zeros((2, 2), np.int64), np.full((20, 30), 1 << 62),
          np.full((20, 30), np.nan), np.zeros((20, 30), object), np.full(20, -(1 << 63))]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_array_in_any_node(data):
    graph = to_nir(SMALL)
    name = data.draw(st.sampled_from(list(graph.nodes)))
    if data.draw(st.booleans()):
        del graph.nodes[name]
    else:
        field = data.draw(st.sampled_from(["weight", "bias", "v_threshold"]))
        object.__setattr__(graph.nodes[name], field, data.draw(st.sampled_from(ARRAYS)))
    attempt(graph)
