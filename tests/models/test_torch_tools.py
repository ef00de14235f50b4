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

from firstspike import SpikeTimes, losses, models

from ..samples import generator, spike_times

SPECS = ["36-20-4", "3C3-AP2-12-4", "3C3-R(3C3-4C3)-EP2-12-4"]
STEPS = 6


def build(spec: str, **options: Any) -> models.TTFSNet:
    return models.build(spec, input_shape=(1, 6, 6), steps=STEPS, generator=generator(0), **options)


def x(batch: int) -> torch.Tensor:
    return torch.rand(batch, 1, 6, 6, generator=generator(1))


@pytest.mark.parametrize("options", [{}, {"encoder": "latency", "readout": "first-spike"}, {"readout": "twd-exp"}])
@pytest.mark.parametrize("spec", SPECS)
def test_export_with_a_dynamic_batch(spec: str, options: dict[str, Any]) -> None:
    net = build(spec, **options).eval()
    program = torch.export.export(net, (x(5),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for batch in (2, 9):
        assert torch.equal(program.module()(x(batch)), net(x(batch)))


def test_export_of_a_net_on_spikes() -> None:
    net = build("36-20-4", encoder="spikes").eval()

    def spikes(batch: int) -> SpikeTimes:
        return SpikeTimes(spike_times((batch, 36), STEPS, "mixed", generator(0)), STEPS)

    program = torch.export.export(net, (spikes(5),), dynamic_shapes=([{0: torch.export.Dim("batch")}],))
    assert torch.equal(program.module()(spikes(9)), net(spikes(9)))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_one_graph(spec: str, train: bool) -> None:
    """In training with torch's own setting for operators whose output shape depends on the data."""
    import torch._dynamo as dynamo

    dynamo.reset()
    with torch.set_grad_enabled(train), dynamo.config.patch(capture_dynamic_output_shape_ops=train):
        found = dynamo.explain(build(spec, dropout=0.1, readout="first-spike").train(train))(x(4))
    assert found.graph_break_count == 0, [reason.reason for reason in found.break_reasons]


@pytest.mark.parametrize("readout", ["membrane", "first-spike"])
@pytest.mark.parametrize("spec", SPECS)
def test_meta(spec: str, readout: str) -> None:
    with torch.device("meta"):
        net = build(spec, encoder="latency", readout=readout)
    assert net.to("meta")(torch.empty(3, 1, 6, 6, device="meta")).shape == (3, 4)
    moved = build(spec, readout=readout).to("meta")
    assert moved(torch.empty(3, 1, 6, 6, device="meta")).shape == (3, 4)


@pytest.fixture(params=[torch.float64, torch.float16])
def default(request: pytest.FixtureRequest) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize("spec", SPECS)
def test_default_dtypes_change_nothing(spec: str, default: torch.dtype) -> None:
    def learned() -> list[torch.Tensor]:
        net = build(spec, readout="twd-linear", dropout=0.25)
        torch.manual_seed(0)
        seen = net.observe(torch.rand(4, 1, 6, 6, generator=generator(1), dtype=torch.float32))
        loss = seen.scores.square().mean() + losses.latency(seen.layers[0]) + losses.spike_count(seen.layers[0])
        loss.backward()
        return [seen.scores, *(p.grad for p in net.parameters() if p.grad is not None)]

    got = learned()
    torch.set_default_dtype(torch.float32)
    for one, other in zip(got, learned(), strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)


@pytest.mark.parametrize("spec", [*SPECS, "3C3-MP2-12-4"])
@pytest.mark.parametrize("grad", [False, True])
def test_an_exported_net_is_saved_and_loaded(spec: str, grad: bool) -> None:
    net, file = build(spec).eval(), io.BytesIO()
    with torch.set_grad_enabled(grad):
        torch.export.save(torch.export.export(net, (x(5),)), file)
    file.seek(0)
    assert torch.equal(torch.export.load(file).module()(x(5)), net(x(5)))


CROSSING = {
    "cnn": ("3C3-AP2-12-4", {"dropout": 0.2}),
    "pools": ("3C3-MP2-4C3-EP2-12-4", {"readout": "first-spike"}),
    "latency": ("36-20-4", {"encoder": "latency", "readout": "twd-exp"}),
    "bare": ("36-20-4", {"normalization": False, "affine": None}),
}


WAYS: dict[str, Callable[[torch.nn.Module], torch.nn.Module]] = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "deepcopy": copy.deepcopy,
}


def net(name: str) -> models.TTFSNet:
    """A net of `CROSSING` whose affine is not at rest."""
    spec, options = CROSSING[name]
    made = models.build(spec, input_shape=(1, 6, 6), steps=6, generator=generator(0), **options)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter += torch.rand(parameter.shape, generator=generator(1)) / 5
    return made.eval()


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CROSSING)
def test_scores_stay_the_same_to_the_bit(name: str, way: str, prepared: bool) -> None:
    made: torch.nn.Module = models.prepare_for_inference(net(name)) if prepared else net(name)
    x = torch.rand(7, 1, 6, 6, generator=generator(2))
    other = WAYS[way](made)
    assert torch.equal(other(x), made(x)) and not other.training
    if not prepared:
        assert list(other.state_dict()) == list(made.state_dict())
        other.train()(x).sum().backward()
        assert all(p.grad is not None for p in other.parameters())


def scores(net: torch.nn.Module, x: torch.Tensor) -> list[list[float]]:
    """What a worker computes."""
    torch.set_num_threads(1)
    return net(x).tolist()


def test_a_spawned_worker_gets_the_net() -> None:
    x = torch.rand(3, 1, 6, 6, generator=generator(2))
    both = [net("cnn"), models.prepare_for_inference(net("cnn"))]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.starmap(scores, [(each, x) for each in both])
    assert found == [both[0](x).tolist()] * 2
