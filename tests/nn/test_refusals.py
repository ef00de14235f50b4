"""Refusals of firstspike.nn: call, error, and the argument that the message names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import Parameter

from firstspike import SpikeTimes, nn

from ..samples import refusals

T = 4
KINDS: list[tuple[type[nn.Synapses], tuple[int, ...]]] = [
    (nn.DirectLinear, (6, 5)),
    (nn.DirectConv2d, (6, 5, 3)),
    (nn.TTFSLinear, (6, 5)),
    (nn.TTFSConv2d, (6, 5, 3)),
    (nn.Integrate, (6, 5)),
]


def spikes(*shape: int, steps: int = T) -> SpikeTimes:
    return SpikeTimes(torch.zeros(shape, dtype=torch.uint8), steps)


def linear(**options: Any) -> nn.TTFSLinear:
    return nn.TTFSLinear(12, 5, steps=T, **options)


def conv(**options: Any) -> nn.TTFSConv2d:
    return nn.TTFSConv2d(3, 5, 3, steps=T, **options)


def block(scale: Any = 1.0, **options: Any) -> nn.Residual:
    return nn.Residual([linear(), nn.TTFSLinear(5, 12, steps=T)], scale=scale, **options)


OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"steps": 300}, ValueError, "steps"),
    ({"steps": None}, TypeError, "steps"),
    ({"affine": "row"}, ValueError, "affine"),
    ({"bias": 1}, TypeError, "bias"),
    ({"init": "zeros"}, ValueError, "init"),
    ({"normalization": "output"}, ValueError, "normalization"),
    ({"normalization": None}, ValueError, "normalization"),
    ({"decay": 2.5}, ValueError, "decay"),
    ({"synaptic_decay": 2.0}, ValueError, "synaptic_decay"),
    ({"steps": 100, "decay": 1.3}, ValueError, "decay"),
    ({"threshold": 0}, ValueError, "threshold"),
    ({"threshold": torch.ones(4)}, ValueError, "threshold"),
    ({"threshold": torch.zeros(5)}, ValueError, "threshold"),
    ({"threshold": torch.ones(5, requires_grad=True) * 2}, TypeError, "threshold"),
    ({"surrogate": "triangle"}, TypeError, "surrogate"),
    ({"avg_pool": 0}, ValueError, "avg_pool"),
    ({"gain": -1.0}, ValueError, "gain"),
    ({"dropout": 1.0}, ValueError, "dropout"),
    ({"dropout": "half"}, TypeError, "dropout"),
    ({"stride": 0}, ValueError, "stride"),
    ({"padding": -1}, ValueError, "padding"),
    ({"padding": "same", "stride": 2}, ValueError, "padding"),
    ({"padding": "valid"}, TypeError, "padding"),
    ({"size": 3}, TypeError, "size"),
]


@pytest.mark.parametrize(("kind", "sizes"), KINDS)
@pytest.mark.parametrize(("options", "error", "name"), OPTIONS, ids=str)
def test_options(kind: Any, sizes: tuple[int, ...], options: dict[str, Any], error: type[Exception], name: str) -> None:
    if name not in kind.__signature__.parameters:
        error = TypeError  # Python refuses the keyword
    with pytest.raises(error, match=name):
        kind(*sizes, **{"steps": T, **options})


@pytest.mark.parametrize(("kind", "sizes"), KINDS)
def test_sizes(kind: Any, sizes: tuple[int, ...]) -> None:
    for place, name in enumerate(["in_", "out_", "kernel_size"][: len(sizes)]):
        for value, error in ((0, ValueError), (2.5, TypeError), (2**31, ValueError)):
            with pytest.raises(error, match=name):
                kind(*sizes[:place], value, *sizes[place + 1 :], steps=T)


test_calls = refusals(
    # spikes of layers
    (lambda: linear()(torch.zeros(2, 12)), TypeError, "spikes"),
    (lambda: linear()([1]), TypeError, "spikes"),
    (lambda: linear()(torch.zeros(T, 2, 12, dtype=torch.float64)), TypeError, "spikes"),
    (lambda: linear()(spikes(2, 12, steps=8)), ValueError, "spikes"),
    (lambda: linear()(torch.zeros(8, 2, 12)), ValueError, "spikes"),
    (lambda: linear()(spikes(2, 13)), ValueError, "spikes"),
    (lambda: linear()(spikes(2, 13).dense()), ValueError, "spikes"),
    (lambda: linear(avg_pool=2)(spikes(2, 3, 6, 4)), ValueError, "spikes"),
    (lambda: linear(avg_pool=2)(spikes(2, 3, 6, 1)), ValueError, "avg_pool"),
    (lambda: linear(avg_pool=2)(spikes(2, 12).dense()), ValueError, "avg_pool"),
    (lambda: linear()(spikes(2, 12), membrane=1), TypeError, "membrane"),
    (lambda: linear().membrane(spikes(2, 13)), ValueError, "spikes"),
    (lambda: nn.Integrate(12, 5, steps=T)(spikes(2, 3, 2, 3)), ValueError, "spikes"),
    (lambda: conv()(spikes(2, 12)), ValueError, "spikes"),
    (lambda: conv()(spikes(2, 4, 5, 5)), ValueError, "spikes"),
    (lambda: conv()(spikes(2, 3, 2, 5)), ValueError, "weight"),
    (lambda: conv().membrane(spikes(2, 3, 2, 5)), ValueError, "weight"),
    (lambda: nn.TTFSLinear(44, 6, steps=T)(nn.MaxPool2d(2)(spikes(4, 5, 7, 6))), ValueError, "spikes"),
    (lambda: linear()(nn.MaxPool2d(2)(spikes(2, 3, 4, 4)), spikes(2, 5)), TypeError, "spikes"),
    # data of directly coded layers
    (lambda: nn.DirectLinear(12, 5, steps=T)(torch.zeros(2, 13)), ValueError, "x"),
    (lambda: nn.DirectLinear(12, 5, steps=T)(torch.zeros(2, 3, 4)), ValueError, "x"),
    (lambda: nn.DirectLinear(12, 5, steps=T)(torch.zeros(2, 12, dtype=torch.int64)), TypeError, "x"),
    (lambda: nn.DirectConv2d(3, 5, 3, steps=T)(torch.zeros(2, 1, 4, 4)), ValueError, "x"),
    (lambda: nn.DirectConv2d(3, 5, (5, 3), steps=T)(torch.zeros(2, 3, 4, 4)), ValueError, "x"),
    (lambda: setattr(nn.DirectLinear(12, 5, steps=T), "dropout", 0.5), ValueError, "dropout"),
    # pools
    (lambda: nn.MaxPool2d(0), ValueError, "kernel_size"),
    (lambda: nn.EarliestPool2d("2"), TypeError, "kernel_size"),
    (lambda: nn.EarliestPool2d(10**400), ValueError, "kernel_size"),
    (lambda: nn.MaxPool2d(2)(torch.zeros(2)), TypeError, "spikes"),
    (lambda: nn.EarliestPool2d(2)(spikes(1, 1, 1, 4)), ValueError, "spikes"),
    (lambda: nn.EarliestPool2d(2)(spikes(1, 4)), ValueError, "spikes"),
    (lambda: torch.nn.Flatten(2)(nn.MaxPool2d(2)(spikes(1, 1, 4, 4))), ValueError, "start_dim"),
    # normalisation of weights
    (lambda: nn.WeightNormalization(0, 4), ValueError, "steps"),
    (lambda: nn.WeightNormalization(8, 0), ValueError, "fan_in"),
    (lambda: nn.WeightNormalization(8, 1, granularity="channel"), ValueError, "fan_in"),
    (lambda: nn.WeightNormalization(8, 4, granularity="row"), ValueError, "granularity"),
    (lambda: nn.WeightNormalization(8, 4, gain=-1.0), ValueError, "gain"),
    # blocks
    (lambda: nn.Residual(3), TypeError, "layers"),
    (lambda: nn.Residual([]), ValueError, "layers"),
    (lambda: nn.Residual(linear()), TypeError, "layers"),
    (lambda: nn.Residual([nn.Integrate(3, 3, steps=4)]), TypeError, "layers"),
    (lambda: nn.Residual([linear(), nn.TTFSLinear(5, 5, steps=8)]), ValueError, "layers"),
    (lambda: block(float("nan")), ValueError, "scale"),
    (lambda: block("one"), TypeError, "scale"),
    (lambda: block(torch.ones(13)), ValueError, "scale"),
    (lambda: block(torch.ones(0)), ValueError, "scale"),
    (lambda: block(torch.tensor([1.0, float("inf")])), ValueError, "scale"),
    (lambda: block(torch.ones(12, requires_grad=True)), TypeError, "scale"),
    (lambda: block(Parameter(torch.tensor(1.0))), ValueError, "scale"),
    (lambda: block(learn_scale=1), TypeError, "learn_scale"),
    (lambda: block()(torch.zeros(2)), TypeError, "spikes"),
    # coders
    (lambda: nn.LatencyEncoder(8, "cubic"), ValueError, "curve"),
    (lambda: nn.LatencyEncoder(0), ValueError, "steps"),
    (lambda: nn.SpikeInput(8)(torch.zeros(2, 3)), TypeError, "x"),
    (lambda: nn.SpikeInput(8)(spikes(2, 3)), ValueError, "x"),
    (lambda: nn.TemporalWeighting(0.5), ValueError, "gamma"),
    (lambda: nn.TemporalWeighting(mode="cubic"), ValueError, "mode"),
    (lambda: nn.TemporalWeighting(classes=0), ValueError, "classes"),
    (lambda: nn.TemporalWeighting(scale=0.0), ValueError, "scale"),
    (lambda: nn.TemporalWeighting(classes=5)(spikes(6, 12)), ValueError, "classes"),
    (lambda: nn.MembraneReadout("first"), ValueError, "mode"),
    (lambda: nn.FirstSpike(overshoot=1), TypeError, "overshoot"),
    (lambda: nn.FirstSpike()(spikes(6, 12), torch.zeros(6, 11)), ValueError, "overshoot"),
    (lambda: nn.FirstSpike()(spikes(6, 12), torch.zeros(12)), ValueError, "overshoot"),
    (lambda: nn.FirstSpike()(spikes(6, 12), torch.zeros(6, 12, dtype=torch.float64)), TypeError, "overshoot"),
    (lambda: nn.FirstSpike()(spikes(6, 12), torch.full((6, 12), torch.nan)), ValueError, "overshoot"),
    (lambda: nn.TTFSNode(threshold=0.0), ValueError, "threshold"),
    # prepacked layers
    (lambda: nn.Prepacked([linear()], (12, 1)), ValueError, "input_shape"),
    (lambda: nn.Prepacked([linear()], (11,)), ValueError, "spikes"),
    (lambda: nn.Prepacked([], (12,)), ValueError, "layers"),
    (lambda: nn.Prepacked([nn.DirectLinear(12, 5, steps=T)], (12,)), TypeError, "layers"),
    (lambda: nn.Prepacked([nn.Integrate(12, 5, steps=T), nn.TTFSLinear(5, 5, steps=T)], (12,)), TypeError, "layers"),
    (lambda: nn.Prepacked([linear(), nn.TTFSLinear(5, 5, steps=8)], (12,)), ValueError, "layers"),
    (lambda: nn.Prepacked([linear()], (12,))(torch.zeros(2, 12)), TypeError, "spikes"),
    (lambda: nn.Prepacked([linear()], (12,))(spikes(2, 11)), ValueError, "spikes"),
    (lambda: nn.Prepacked([linear()], (12,))(spikes(2, 12, steps=8)), ValueError, "spikes"),
    # thresholds
    (lambda: nn.bound_thresholds(linear(), least=0.0), ValueError, "least"),
)


def test_a_threshold_that_learning_took_below_0() -> None:
    layer = linear(threshold=Parameter(torch.ones(5)))
    layer.theta.data[2] = 0.0
    with pytest.raises(ValueError, match="threshold"):
        layer(spikes(2, 12))
