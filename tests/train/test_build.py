"""Nets and optimizers from configs."""

import pytest
import torch
from torch import nn

from firstspike import models, surrogate
from firstspike.train import Config, Muon, build_model, build_optimizer


def test_settings_reach_the_net():
    config = Config(
        spec="4C3-AP2-8-4", steps=5, decay=0.9, synaptic_decay=0.5, threshold=0.5, learn_threshold=True, dropout=0.1,
        surrogate="atan", surrogate_scale=3.0, pooling="max", population=2, readout="twd-exp",
    )  # fmt: skip
    net = build_model(config, input_shape=(1, 6, 6))
    (first, *_), steps = net.layers, net.steps
    assert isinstance(net, models.TTFSNet) and steps == 5
    assert all(layer.synaptic_decay == 0.5 for layer in net.layers if hasattr(layer, "weight"))
    assert first.surrogate == surrogate.atan(3.0) and isinstance(first.threshold, nn.Parameter)
    assert float(first.threshold.detach().max()) == 0.5 and net.layers[-1].weight.shape[0] == 8
    with pytest.raises(ValueError, match="readout"):
        build_model(config.replace(readout="none of these"), input_shape=(1, 6, 6))


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD), ("muon", Muon)]
)
def test_optimizers(name, kind):
    config = Config(spec="36-8-4", optimizer=name, lr=0.1, weight_decay=0.0 if name == "muon" else 0.01)
    net = build_model(config, input_shape=(1, 6, 6))
    made = build_optimizer(config, net)
    assert type(made) is kind and {group["lr"] for group in made.param_groups} == {0.1}
    if name != "muon":
        decay = {p: group["weight_decay"] for group in made.param_groups for p in group["params"]}
        assert all(decay[p] == (0.01 if p.ndim > 1 else 0.0) for p in net.parameters())


def test_a_rate_in_the_unit_of_other_optimizers_is_warned_of_with_muon():
    config = Config(spec="36-8-4", optimizer="muon", lr=0.004)
    net = build_model(config, input_shape=(36,))
    with pytest.warns(UserWarning, match=r"0\.02 to 0\.05"):
        build_optimizer(config, net)
    build_optimizer(config.replace(lr=0.02), net)
