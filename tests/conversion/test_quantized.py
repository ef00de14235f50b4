"""Quantised nets are nets of windows, exactly: Brevitas' modules and files of QONNX, of 2 to 8 bits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import firstspike
from firstspike.conversion.levels import Levels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    qnn = pytest.importorskip("brevitas.nn", reason="Brevitas is not installed")
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Int8WeightPerTensorFloat, Uint8ActPerTensorFloat

pytestmark = pytest.mark.filterwarnings("ignore")


def quantized(bits: int, weight_bits: int, *, signed: bool, per_channel: bool, normalized: bool, pool: Any) -> nn.Sequential:
    """A small convolutional net with quantisers everywhere."""
    act = Int8ActPerTensorFloat if signed else Uint8ActPerTensorFloat
    weight = {
        "weight_quant": Int8WeightPerChannelFloat if per_channel else Int8WeightPerTensorFloat,
        "weight_bit_width": weight_bits,
    }
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=act, bit_width=min(bits + 2, 8)),
        qnn.QuantConv2d(2, 6, 3, padding=1, bias=not normalized, **weight),
        nn.BatchNorm2d(6) if normalized else nn.Identity(),
        qnn.QuantReLU(bit_width=bits),
        pool,
        qnn.QuantConv2d(6, 8, 3, stride=2, padding=1, groups=2, bias=True, **weight),
        qnn.QuantReLU(bit_width=bits),
        nn.Flatten(),
        qnn.QuantLinear(8 * 4, 5, bias=True, weight_bit_width=weight_bits),
    )


def levels_of(net: Any, x: Tensor) -> list[Tensor]:
    return [spikes.steps - torch.where(spikes.silent, spikes.steps, spikes.times.int()) for spikes in net.observe(x).layers]


@settings(max_examples=12)
@given(
    bits=st.integers(2, 8),
    weight_bits=st.sampled_from([2, 4, 8]),
    signed=st.booleans(),
    per_channel=st.booleans(),
    normalized=st.booleans(),
    average=st.booleans(),
    seed=st.integers(0, 99),
)
def test_levels_are_equal(
    bits: int, weight_bits: int, signed: bool, per_channel: bool, normalized: bool, average: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    pool = nn.AvgPool2d(2) if average else nn.MaxPool2d(2)
    net = quantized(bits, weight_bits, signed=signed, per_channel=per_channel, normalized=normalized, pool=pool)
    x = torch.rand(24, 2, 8, 8) - 0.4 * signed
    for _ in range(3):
        net(x)
    x = net.eval()[0](x).detach()  # away from the ties of its first rounding
    exact: list[Tensor] = []  # levels before they are rounded
    for module in net:
        if isinstance(module, qnn.QuantReLU):
            scale = module.act_quant.scale()
            module.register_forward_pre_hook(lambda _, args, s=scale: exact.append(args[0].detach().double() / s))
    converted = firstspike.convert(net, x)
    assert [layer.steps for layer in converted.layers if hasattr(layer, "clip")] == [2**bits - 1] * 2
    assert converted.report.attrs["exact"]
    exact.clear()
    scores = net(x).detach()
    for levels, real in zip(levels_of(converted, x), exact, strict=True):
        expected = real.round().clamp(0, 2**bits - 1)
        unlike = levels != expected
        tied = (real - real.floor() - 0.5).abs() < 1e-3  # where float32 sums in another order may round otherwise
        assert not (unlike & ~tied).any()
        if unlike.any():
            return
    torch.testing.assert_close(converted(x), scores, rtol=1e-5, atol=1e-5)


def test_a_file_of_qonnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxoptimizer", reason="Brevitas' exporter needs onnxoptimizer")
    from brevitas.export import export_qonnx

    torch.manual_seed(0)
    net = quantized(4, 4, signed=False, per_channel=True, normalized=True, pool=nn.MaxPool2d(2))
    x = torch.rand(24, 2, 8, 8)
    for _ in range(3):
        net(x)
    export_qonnx(net.eval(), args=(x[:1],), export_path=str(tmp_path / "net.onnx"))
    converted = firstspike.convert(tmp_path / "net.onnx", x)
    torch.testing.assert_close(converted(x), net(x).detach(), rtol=1e-5, atol=1e-5)
    assert converted.report.attrs["exact"]


def test_a_quantiser_of_signed_numbers_inside_is_left_out_and_named() -> None:
    inside = nn.Sequential(nn.Linear(6, 5), Levels(torch.tensor([0.02]), -128, 127), nn.ReLU(), nn.Linear(5, 3))
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    converted = firstspike.convert(inside, x, 255)
    assert converted.report.attrs["approximated"] == ["1"] and not converted.report.attrs["exact"]
    assert (converted(x) - inside(x)).norm() < 0.1 * inside(x).norm()


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 5), Levels(torch.ones(1), 0, 511), nn.Linear(5, 3)), "1 rounds to 512 levels"),
        (lambda: nn.Sequential(Levels(torch.ones(1), -512, 511), nn.Linear(6, 3)), "0 rounds the images to 1024"),
        (lambda: nn.Sequential(qnn.QuantLinear(6, 5, bias=True), qnn.QuantSigmoid(), nn.Linear(5, 3)), "QuantSigmoid"),
    ],
)
def test_refusals(module: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        firstspike.convert(module(), torch.rand(9, 6))
