"""The ReLU counterpart has the same layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from firstspike import models

from ..samples import generator


def test_layers() -> None:
    counterpart = models.relu_counterpart(
        "4C3-AP2-6C5-MP2-8C1-EP2-8C1-SP1-20-10", input_shape=(3, 24, 17), generator=generator(0)
    ).layers
    kinds = "Conv2d ReLU AvgPool2d Conv2d ReLU MaxPool2d Conv2d ReLU MaxPool2d Conv2d ReLU AvgPool2d Flatten Linear ReLU Linear"
    assert " ".join(type(layer).__name__ for layer in counterpart) == kinds
    assert counterpart(torch.rand(2, 3, 24, 17)).shape == (2, 10)
    assert counterpart[3].padding == (2, 2) and counterpart[13].in_features == 8 * 3 * 2


@pytest.mark.parametrize(("spec", "shape"), [("36-20-16-4", (1, 6, 6)), ("4C3-AP2-6C3-AP3-12-4", (1, 6, 6))])
def test_same_weights_as_the_spiking_net(spec: str, shape: tuple[int, ...]) -> None:
    net = models.build(spec, input_shape=shape, steps=5)
    counterpart = models.relu_counterpart(spec, input_shape=shape).layers
    ours = [layer.weight.shape for layer in net.layers]
    assert ours == [layer.weight.shape for layer in counterpart if hasattr(layer, "weight")]


def test_init_and_pooling() -> None:
    counterpart = models.relu_counterpart("100-300-200-10", input_shape=(100,), generator=generator(0)).layers
    assert counterpart[3].weight.var().item() == pytest.approx(2 / 300, rel=0.05)
    assert all((layer.bias == 0).all() for layer in counterpart if isinstance(layer, nn.Linear))
    other = models.relu_counterpart("100-300-200-10", input_shape=(100,), generator=generator(0)).layers
    assert torch.equal(other[1].weight, counterpart[1].weight)
    pooled = models.relu_counterpart("4C3-MP2-10", input_shape=(1, 4, 4), pooling="avg").layers
    assert isinstance(pooled[2], nn.AvgPool2d)


def test_batch_normalisation_before_each_relu() -> None:
    net = models.relu_counterpart("4C3-R(4C3-4C3)-AP2-8-3", input_shape=(1, 4, 4), normalization=True)
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds[:3] == ["Conv2d", "BatchNorm2d", "ReLU"] and kinds[-4:] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [type(layer).__name__ for layer in net.layers[3].body][-2:] == ["Conv2d", "BatchNorm2d"]
    again = models.relu_counterpart(**net.settings())
    again.load_state_dict(net.state_dict())
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(again.eval()(x), net.eval()(x))


def test_dropout_where_the_spiking_net_has_it() -> None:
    """Before the pool, as a TTFS layer loses spikes before it pools them; never of the data."""

    def kinds(spec: str, shape: tuple[int, ...]) -> str:
        layers = models.relu_counterpart(spec, input_shape=shape, dropout=0.25).layers
        return " ".join(type(layer).__name__ for layer in layers)

    assert kinds("4C3-AP2-9-4", (1, 6, 6)) == "Conv2d ReLU Dropout AvgPool2d Flatten Linear ReLU Dropout Linear"
    assert kinds("4C3-MP2-4", (1, 6, 6)) == "Conv2d ReLU MaxPool2d Dropout Flatten Linear"
    assert kinds("4C3-SP2-4", (1, 6, 6)) == "Conv2d ReLU AvgPool2d Dropout Flatten Linear"
    assert kinds("16-8-4", (16,)) == "Flatten Linear ReLU Dropout Linear"
