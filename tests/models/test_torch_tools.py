"""Nets under torch's tools: export with a dynamic batch, one graph, meta tensors, backward hooks, default dtypes."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor

from firstspike import SpikeTimes, functional, losses, models, nn, surrogate

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


def test_full_backward_hooks_see_the_gradients_of_spikes() -> None:
    net = build("3C3-R(3C3-3C3)-EP2-12-4")
    seen: dict[str, tuple[Any, Any]] = {}

    def hook(module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        seen[type(module).__name__] = inputs, outputs

    handles = [layer.register_full_backward_hook(hook) for layer in net.layers]
    data = x(3).requires_grad_()
    weights = torch.randn(3, 4, generator=generator(3))
    (net(data) * weights).sum().backward()
    assert list(seen) == ["Integrate", "TTFSLinear", "EarliestPool2d", "Residual", "DirectConv2d"]
    for inputs, outputs in seen.values():
        assert len(inputs) == len(outputs) == 1
        assert all(g is not None and g.abs().max() > 0 for g in (*inputs, *outputs))
    assert torch.equal(seen["DirectConv2d"][0][0], data.grad)
    assert seen["TTFSLinear"][1][0].dim() == seen["EarliestPool2d"][1][0].dim() == 1  # at the support
    for handle in handles:
        handle.remove()
    seen.clear()
    net(x(3)).sum().backward()
    assert not seen


def test_behind_a_dense_surrogate_hooks_see_a_gradient_at_every_step() -> None:
    layer, seen = nn.TTFSLinear(6, 5, steps=4, surrogate=surrogate.atan()), []
    layer.register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs))
    spikes = functional.ramp(torch.rand(3, 6, generator=generator(0)).requires_grad_(), steps=4)
    layer(spikes).dense().sum().backward()
    assert seen[0][0].shape == (4, 3, 5)


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


def test_a_layer_of_float32_under_a_default_of_float64(default: torch.dtype) -> None:
    layer = nn.TTFSLinear(3, 2, steps=4, affine="layer")
    assert {p.dtype for p in layer.parameters()} == {torch.float32}


def test_full_backward_pre_hooks_see_and_change_gradients_of_spikes() -> None:
    layer, seen = nn.TTFSLinear(6, 5, steps=4), []
    spikes = functional.ramp(torch.rand(3, 6, generator=generator(0)).requires_grad_(), steps=4)

    def gradient() -> Tensor:
        (found,) = torch.autograd.grad(layer(spikes).dense().sum(), layer.weight)
        return found

    before = gradient()
    handle = layer.register_full_backward_pre_hook(lambda module, outputs: seen.append(outputs) or (2 * outputs[0],))
    assert torch.equal(gradient(), 2 * before) and before.any()
    assert len(seen) == 1 and seen[0][0].dim() == 1  # at the support
    handle.remove()
    assert torch.equal(gradient(), before) and len(seen) == 1


@pytest.mark.parametrize("spec", [*SPECS, "3C3-MP2-12-4"])
@pytest.mark.parametrize("grad", [False, True])
def test_an_exported_net_is_saved_and_loaded(spec: str, grad: bool) -> None:
    net, file = build(spec).eval(), io.BytesIO()
    with torch.set_grad_enabled(grad):
        torch.export.save(torch.export.export(net, (x(5),)), file)
    file.seek(0)
    assert torch.equal(torch.export.load(file).module()(x(5)), net(x(5)))
