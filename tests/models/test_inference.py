"""`prepare_for_inference`: a net's scores to the bit, whatever its encoder, pooling and readout."""

from __future__ import annotations

import copy

import pytest
import torch

from firstspike import models

from .test_net import NETS, build, images

STAGES = {
    "mlp": ["DirectLinear", "Prepacked"],
    "mlp atan": ["DirectLinear", "Prepacked"],
    "mlp latency": ["Prepacked"],
    "mlp twd": ["DirectLinear", "Prepacked"],
    "one layer": ["DirectLinear"],
    "cnn": ["DirectConv2d", "Prepacked"],
    "cnn earliest": ["DirectConv2d", "EarliestPool2d", "Prepacked", "TTFSLinear"],
    "cnn max": ["DirectConv2d", "MaxPool2d", "TTFSConv2d", "MaxPool2d", "TTFSLinear", "Prepacked"],
}


@pytest.mark.parametrize("name", NETS)
def test_the_same_scores(name: str) -> None:
    net = build(name, dropout=0.3) if name.startswith("mlp") else build(name)
    net.train()
    state = copy.deepcopy(net.state_dict())
    drawn = torch.get_rng_state()
    prepared = models.prepare_for_inference(net)
    assert torch.equal(drawn, torch.get_rng_state()) and net.training
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    net.eval()
    for batch in (1, 7):
        scores = prepared(images(batch))
        assert torch.equal(scores, net(images(batch))) and not scores.requires_grad and scores.unique().numel() > 2
    assert [type(stage).__name__ for stage in prepared._net.layers] == STAGES[name]


def test_it_stays_as_it_was_while_the_net_goes_on() -> None:
    net = build("cnn")
    prepared = models.prepare_for_inference(net)
    before = prepared(images())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    assert torch.equal(prepared(images()), before) and not torch.equal(net.eval()(images()), before)
    assert torch.equal(models.prepare_for_inference(net)(images()), net(images()))
    assert (prepared.spec, prepared.steps, prepared.input_shape) == (net.spec, net.steps, net.input_shape)


def test_tensors_on_the_cpu_where_another_device_is_the_default() -> None:
    net = models.build("6-6-3", input_shape=(6,), steps=5, encoder="latency").eval()
    x = torch.rand(4, 6)
    expected = net(x)
    with torch.device("meta"):
        prepared = models.prepare_for_inference(net)
        assert torch.equal(prepared(x), expected)


def test_preparing_changes_no_net_in_training() -> None:
    normed = models.mlp("6-5-4", steps=4).train()
    torch.nn.utils.spectral_norm(normed.layers[0])
    before = normed.layers[0].weight_u.clone()
    models.prepare_for_inference(normed)
    assert torch.equal(normed.layers[0].weight_u, before) and normed.training
