"""Nets under torch's tools and in other processes: export, one graph, meta tensors, default dtypes, pickle, workers."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from firstspike import SpikeTimes, models

from ..samples import generator, spike_times

SPECS = ["36-20-4", "3C3-AP2-12-4", "3C3-R(3C3-4C3)-EP2-12-4"]
STEPS = 6


def build(spec: str, **options: Any) -> models.TTFSNet:
    return models.build(spec, input_shape=(1, 6, 6), steps=STEPS, generator=generator(0), **options)


def x(batch: int) -> torch.Tensor:
    return torch.rand(batch, 1, 6, 6, generator=generator(1))


@pytest.mark.parametrize("options", [{}, {"encoder": "latency", "readout": "first-spike"}, {"readout": "twd-exp"}])
@pytest.mark.parametrize("spec", [*SPECS, "3C3-MP2-12-4"])
def test_export_with_a_dynamic_batch(spec: str, options: dict[str, Any]) -> None:
    """With gradients and without; the program is saved and loaded."""
    net, file = build(spec, **options).eval(), io.BytesIO()
    with torch.set_grad_enabled(not options):
        program = torch.export.export(net, (x(5),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, file)
    file.seek(0)
    for made in (program, torch.export.load(file)):
        assert torch.equal(made.module()(x(9)), net(x(9)))


def test_export_of_a_net_on_spikes() -> None:
    net = build("36-20-4", encoder="spikes").eval()

    def spikes(batch: int) -> SpikeTimes:
        return SpikeTimes(spike_times((batch, 36), STEPS, "mixed", generator(0)), STEPS)

    program = torch.export.export(net, (spikes(5),), dynamic_shapes=([{0: torch.export.Dim("batch")}],))
    assert torch.equal(program.module()(spikes(9)), net(spikes(9)))


WAYS: dict[str, Callable[[torch.nn.Module], torch.nn.Module]] = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", [*SPECS, "3C3-MP2-4C3-EP2-12-4"])
def test_scores_stay_the_same_to_the_bit(spec: str, way: str, prepared: bool) -> None:
    net = build(spec, dropout=0.2, readout="first-spike").eval()
    made: torch.nn.Module = models.prepare_for_inference(net) if prepared else net
    other = WAYS[way](made)
    assert torch.equal(other(x(7)), made(x(7))) and not other.training
    if not prepared:
        assert list(other.state_dict()) == list(made.state_dict())
        other.train()(x(7)).sum().backward()
        assert all(p.grad is not None for p in other.parameters())


def scores(net: torch.nn.Module, x: torch.Tensor) -> list[list[float]]:
    """What a worker computes."""
    torch.set_num_threads(1)
    return net(x).tolist()


def test_a_spawned_worker_gets_the_net() -> None:
    net = build(SPECS[1]).eval()
    both = [net, models.prepare_for_inference(net)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.starmap(scores, [(each, x(3)) for each in both])
    assert found == [net(x(3)).tolist()] * 2
