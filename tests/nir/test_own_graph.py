"""Graphs of our own that were edited."""

from __future__ import annotations

import json

import pytest

from firstspike import models

pytest.importorskip("nir")
from firstspike.nir import from_nir, to_nir  # needs nir


@pytest.mark.parametrize(("field", "decay"), [("v_threshold", 1.0), ("r", 1.0), ("tau", 0.75)])
def test_neurons_that_were_edited_are_not_passed_over(field: str, decay: float) -> None:
    """What the metadata say of them counts, so that an edited node would have no effect."""
    graph = to_nir(models.build("6-5-4-3", input_shape=(6,), steps=4, encoder="latency", decay=decay))
    from_nir(graph)
    neurons = graph.nodes["layer1_neurons"]
    setattr(neurons, field, getattr(neurons, field) * 3)
    with pytest.raises(ValueError, match=f"layer 1: {field} of its neurons was changed; without 'firstspike.net'"):
        from_nir(graph)


def test_metadata_that_ask_for_much_memory_are_refused() -> None:
    graph = to_nir(models.mlp("64-32-10", steps=8))
    record = json.loads(graph.metadata["firstspike.net"])
    record["net"]["layers"][0]["settings"] |= {"in_features": 10**7, "out_features": 10**6}
    graph.metadata["firstspike.net"] = json.dumps(record)
    with pytest.raises(ValueError, match=r"its net has 1000000\d+ weights, scales and biases, its nodes 2\d+"):
        from_nir(graph)
