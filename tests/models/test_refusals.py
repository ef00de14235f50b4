"""What the functions of `firstspike.models` refuse: call, error, and the argument or token that the message names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from firstspike import SpikeTimes, models
from firstspike import nn as fs
from firstspike.surrogate import triangle

from ..samples import refusals


def build(spec: str = "16-12-4", **options: Any) -> models.TTFSNet:
    return models.build(spec, **{"input_shape": (16,), "steps": 5, **options})


BUILD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"encoder": "rate"}, ValueError, "encoder"),
    ({"readout": "vote"}, ValueError, "readout"),
    ({"pooling": "min"}, ValueError, "pooling"),
    ({"init": "he"}, ValueError, "init"),
    ({"affine": "pixel"}, ValueError, "affine"),
    ({"normalization": "layer"}, ValueError, "normalization"),
    ({"population": 0}, ValueError, "population"),
    ({"steps": 255}, ValueError, "steps"),
    ({"dropout": 1.0}, ValueError, "dropout"),
    ({"threshold": -1.0}, ValueError, "threshold"),
    ({"learn_threshold": 1}, ValueError, "learn_threshold"),
    ({"decay": 0.0}, ValueError, "decay"),
    ({"surrogate": "atan"}, ValueError, "surrogate"),
    ({"gamma": 0.9, "readout": "twd-exp"}, ValueError, "base|gamma"),
    ({"scale": -1.0, "readout": "twd-exp"}, ValueError, "scale"),
    ({"hidden_gain": -0.5}, ValueError, "hidden_gain"),
    ({"output_gain": 0.0, "readout": "twd-exp"}, ValueError, "output_gain"),
    ({"output_gain": 0.5}, ValueError, "output_gain"),
    ({"output_surrogate": triangle(1.5)}, ValueError, "output_surrogate"),
    ({"output_surrogate": 1.5, "readout": "twd-exp"}, ValueError, "output_surrogate"),
    ({"spec": "16-4", "output_gain": 0.5, "readout": "twd-exp"}, ValueError, "output_gain"),
    ({"input_steps": 31}, ValueError, "input_steps.*step.*31"),
    ({"timing": "time"}, ValueError, "timing.*time"),
    ({"timing": "windowed", "steps": 256}, ValueError, "steps.*256"),
    ({"timing": "windowed", "input_steps": 256}, ValueError, "input_steps.*256"),
    ({"timing": "windowed", "decay": 0.5}, ValueError, "decay.*windowed.*0.5"),
    ({"timing": "windowed", "readout": "twd-exp"}, ValueError, "readout"),
    ({"timing": "windowed", "normalization": "channel"}, ValueError, "normalization"),
    *(({"input_shape": shape}, ValueError, "input_shape") for shape in (None, "1,8,8", (1.0, 8, 8), (4, 4), (0,), 16.0)),
]


@pytest.mark.parametrize(("options", "error", "named"), BUILD)
def test_build(options: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        build(**options)


SPECS = [
    (models.build, "784-10", {"input_shape": (1, 10, 10)}, "784"),
    (models.build, "4C3-10", {"input_shape": (16,)}, "4C3"),
    (models.build, "4C3-AP2-4C3-MP5-10", {"input_shape": (1, 8, 9)}, "MP5"),
    (models.build, "16-4", {"input_shape": (16,)}, "4"),
    (models.build, "99999999C3-10", {"input_shape": (1, 8, 8)}, "10"),
    (models.build, "4C3-MP2-R(4C3)-3", {"input_shape": (1, 8, 8)}, "R(4C3)"),
    (models.build, "4C3-AP2-R(4C3)-3", {"input_shape": (1, 8, 8), "pooling": "max"}, "R(4C3)"),
    (models.build, "64-10-R(12)-10", {"input_shape": (64,), "timing": "windowed"}, "R(12)"),
    (models.mlp, "4C3-10", {}, "4C3"),
    (models.relu_counterpart, "784-10", {"input_shape": (1, 8, 8)}, "784"),
]


@pytest.mark.parametrize(("call", "spec", "options", "token"), SPECS)
def test_strings_whose_sizes_do_not_fit(call: Any, spec: str, options: dict[str, Any], token: str) -> None:
    steps = {} if call is models.relu_counterpart else {"steps": 5}
    with pytest.raises(models.GrammarError) as caught:
        call(spec, **steps, **options)
    assert spec[caught.value.start : caught.value.end] == token


def stacked(layers: Any, **options: Any) -> models.TTFSNet:
    return models.TTFSNet(layers, **{"encoder": "direct", "readout": "membrane", "input_shape": (4,), **options})


def hidden(steps: int = 8) -> fs.DirectLinear:
    return fs.DirectLinear(4, 3, steps=steps)


def last(steps: int = 8) -> fs.Integrate:
    return fs.Integrate(3, 2, steps=steps)


X = torch.rand(2, 1, 6, 6)
NAN = X.clone().index_put((torch.tensor(1), torch.tensor(0), torch.tensor(3), torch.tensor(1)), torch.tensor(torch.nan))
SPIKES = SpikeTimes(torch.zeros(2, 1, 6, 6, dtype=torch.uint8), 5)


def net(spec: str = "36-20-4", **options: Any) -> models.TTFSNet:
    return build(spec, input_shape=(1, 6, 6), **options)


def readout_alone() -> nn.Module:
    return nn.Sequential(fs.LatencyEncoder(4), fs.TTFSConv2d(1, 3, 3, steps=4), fs.TemporalWeighting(classes=4))


test_calls = refusals(
    (lambda: stacked(3), TypeError, "layers"),
    (lambda: stacked([hidden(), "last"]), TypeError, "layers"),
    (lambda: stacked([]), ValueError, "layers"),
    (lambda: stacked([hidden(8), last(9)]), ValueError, r"layers .*8, 9"),
    (lambda: stacked([hidden(), last()], encoder="rate"), ValueError, "encoder"),
    (lambda: stacked([hidden(), last()], encoder=3), TypeError, "encoder"),
    (lambda: stacked([hidden(), last()], readout="rate"), ValueError, "readout"),
    (lambda: stacked([hidden(), last()], readout=nn.Identity()), TypeError, "readout"),
    (lambda: stacked([hidden(), last()], readout="twd-exp"), ValueError, "readout"),
    (lambda: stacked([hidden()]), ValueError, "readout"),
    (lambda: stacked([hidden(), last()], input_shape=(1, 2)), ValueError, "input_shape"),
    (lambda: stacked([hidden(), last()], normalize=0.5), TypeError, "normalize"),
    (lambda: stacked([hidden(), last()]).config(), ValueError, "save"),
    (lambda: models.from_config([]), TypeError, "config"),
    (lambda: net()(X.flatten(1)[:, 1:]), ValueError, r"x .*\(2, 35\)"),
    (lambda: net("4C3-4")(X.flatten(1)), ValueError, r"x .*\(2, 36\)"),
    (lambda: net()(X[:, :, :5]), ValueError, "x"),
    (lambda: net()(X.repeat(1, 2, 1, 1)), ValueError, r"\(2, 2, 6, 6\)$"),
    (lambda: net()(X.double()), TypeError, "x must be float32"),
    (lambda: net()(X.numpy()), TypeError, "x must"),
    (lambda: net()(NAN), ValueError, r"x .*nan at \(1, 0, 3, 1\)"),
    (lambda: net(encoder="latency")(NAN), ValueError, "x .*nan"),
    (lambda: net()(X / 0), ValueError, "x .*inf"),
    (lambda: net(encoder="latency")(X - 1), ValueError, r"x must be in \[0, 1\]"),
    (lambda: net()(SPIKES), TypeError, "x must be images"),
    (lambda: net(encoder="spikes")(X), TypeError, "x must be SpikeTimes"),
    (lambda: net(encoder="spikes", steps=6)(SPIKES), ValueError, r"x .*x.rescale\(6\)"),
    (lambda: net(encoder="latency", steps=6)(SPIKES), ValueError, r"x .*x.rescale\(6\)"),
    (lambda: net(encoder="spikes")(SPIKES[:, :, :5]), ValueError, "x must have shape"),
    (lambda: models.as_net(fs.TTFSLinear(4, 2, steps=4)), TypeError, "net .*TTFSLinear"),
    (lambda: models.as_net(nn.Sequential()), ValueError, "readout"),
    (lambda: models.as_net(nn.Sequential(fs.TTFSLinear(4, 2, steps=4))), ValueError, "readout.*TTFSLinear"),
    (lambda: models.as_net(readout_alone()), ValueError, "input_shape"),
    (lambda: models.as_net(nn.Sequential(fs.WindowedReadout(4, 2))), ValueError, "WindowedEncoder"),
    (lambda: models.as_net(nn.Sequential(nn.Linear(4, 2), fs.MembraneReadout())), ValueError, "input_shape"),
    (lambda: models.prepare_for_inference(nn.Linear(2, 2)), TypeError, "net"),
    (lambda: models.prepare_for_inference(net().to("meta")), ValueError, "net must be on the CPU"),
    (lambda: models.prepare_for_inference(net())(torch.zeros(2, 5)), ValueError, "x must have shape"),
    (lambda: models.relu_counterpart("4C3-10", input_shape=(1, 8, 8), pooling="median"), ValueError, "pooling"),
    (lambda: models.load_pretrained("mnist-rnn"), ValueError, "name .*digits-cnn"),
    (lambda: models.pretrained_file("../digits-cnn"), ValueError, "name"),
)
