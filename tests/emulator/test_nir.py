"""Exchange through NIR files."""

from __future__ import annotations

import numpy as np
import pytest

from firstspike import emulator as em
from firstspike.emulator import file

from .nets import SPECS, images, net

nir = pytest.importorskip("nir")

from firstspike.emulator.nir import from_nir, to_nir  # noqa: E402  # needs nir


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["generic8", "loihi-like"])
@pytest.mark.parametrize("readout", ["membrane", "first-spike"])
def test_round_trip_through_a_file(tmp_path, spec, name, readout):
    model = net(spec, readout=readout)
    program = em.quantize(model, name)
    nir.write(tmp_path / "p.nir", to_nir(program))
    back = from_nir(nir.read(tmp_path / "p.nir", type_check=False))
    assert file.dumps(back) == file.dumps(program)
    x = images(model)
    np.testing.assert_array_equal(em.run(back, x).counters, em.run(program, x).counters)


def test_nodes_mean_what_nir_says():
    """IF fires at V > v_threshold: for integers and a `ge` layer that is theta - 1; weights are in membrane units."""
    program = em.quantize(net(), "generic8")
    graph = to_nir(program)
    assert (graph.nodes["0.neurons"].v_threshold[:, 0, 0] == program.layers[0].theta - 1).all()
    loihi = em.quantize(net(), "loihi-like")
    nodes = to_nir(loihi).nodes
    assert (nodes["0.neurons"].v_threshold[:, 0, 0] == loihi.layers[0].theta).all()
    assert (nodes["0.synapses"].weight == loihi.layers[0].weight.transpose(3, 0, 1, 2).astype(int) * 64).all()
    assert nodes["0.synapses"].weight.dtype == np.int64


def test_changed_weights_are_taken_from_the_nodes():
    graph = to_nir(em.quantize(net(), "generic8"))
    graph.nodes["0.synapses"].weight[0, 0, 0, 0] = 5
    assert from_nir(graph).layers[0].weight[0, 0, 0, 0] == 5


def test_refusals():
    with pytest.raises(ValueError, match="no leak in discrete time"):
        to_nir(em.quantize(net(decay=0.5), "generic8"))
    with pytest.raises(em.ProgramError, match="has no 'firstspike' record"):
        from_nir(
            nir.NIRGraph(
                {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([3])})},
                [("input", "output")],
                {},
                type_check=False,
            )
        )
    graph = to_nir(em.quantize(net(), "generic8"))
    graph.nodes["0.synapses"].weight = graph.nodes["0.synapses"].weight + 0.5
    with pytest.raises(em.ProgramError, match="must be integers"):
        from_nir(graph)
    graph = to_nir(em.quantize(net(), "generic8"))
    graph.metadata["firstspike"] = "{}"
    with pytest.raises(em.ProgramError, match="no valid program in the graph"):
        from_nir(graph)
