"""`learn_threshold`: one threshold per output that fires, learned, from the string to the chip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from firstspike import data, models, train
from firstspike import nn as fs

from ..samples import generator

SPEC = "4C3-R(4C3-4C3)-AP2-6C3x1s2-12-3"


def build(**options):
    settings = {"input_shape": (1, 8, 8), "steps": 6, "threshold": 0.8, "learn_threshold": True}
    return models.build(SPEC, generator=generator(0), **settings | options)


def varied(net, seed=1):
    """The net with thresholds that differ."""
    draw = generator(seed)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, fs.FiringLayer):
                layer.threshold.copy_(0.5 + torch.rand(len(layer.threshold), generator=draw))
    return net


def test_every_layer_that_fires_has_a_parameter_that_begins_at_the_threshold():
    net, plain = build(), build(learn_threshold=False)
    firing = [layer for layer in net.modules() if isinstance(layer, fs.FiringLayer)]
    assert len(firing) == 5 and all(isinstance(layer.threshold, nn.Parameter) for layer in firing)
    assert all(torch.equal(layer.threshold, torch.full_like(layer.threshold, 0.8)) for layer in firing)
    x = torch.rand(16, 1, 8, 8, generator=generator(2))
    (a, b) = (one.observe(x).layers for one in (net, plain))
    same = torch.cat([(u.times == v.times).flatten() for u, v in zip(a, b, strict=True)])
    assert same.double().mean() > 0.999  # weights are divided by the threshold: rounding apart, the same net
    net(x).square().sum().backward()
    assert all(layer.threshold.grad.abs().sum() > 0 for layer in firing[:-1])


def test_prepared_for_inference_the_scores_are_the_same_bits():
    """A block's shortcut is in units of its thresholds as well."""
    net, x = varied(build()).eval(), torch.rand(16, 1, 8, 8, generator=generator(2))
    assert torch.equal(models.prepare_for_inference(net)(x), net(x))


def test_training_learns_them_and_keeps_them_positive(tmp_path: Path):
    x = torch.rand(96, 1, 8, 8, generator=generator(5))
    labels = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    config = train.Config(spec="64-16-2", steps=4, epochs=3, batch=16, lr=0.2, threshold=0.5, learn_threshold=True)
    pair = (data.from_arrays(x, labels), data.from_arrays(x, labels))
    train.fit(config, directory=tmp_path, datasets=pair, progress=False)
    net = train.load_model(tmp_path)
    theta = net.layers[0].threshold.detach()
    assert isinstance(net.layers[0].threshold, nn.Parameter) and theta.std() > 0.01
    assert theta.min() > 0  # without a bound an lr of 0.2 takes some of them below 0, and the layer refuses those
    with pytest.raises(ValueError, match="threshold must be positive"):
        free = models.build("64-16-2", input_shape=(1, 8, 8), steps=4, threshold=0.5, learn_threshold=True)
        with torch.no_grad():
            free.layers[0].threshold -= 1
        free(x)
    fs.bound_thresholds(free)
    assert free(x).isfinite().all()
