"""Quantised nets are nets of windows, exactly: Brevitas' modules and files of QONNX, of 2 to 8 bits."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import firstspike
from firstspike import emulator
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


class Sample(NamedTuple):
    """A quantised net in evaluation mode, images without ties in the first rounding, and what each ReLU rounds."""

    net: nn.Sequential
    x: Tensor
    reals: list[Tensor]  # in units of a level


def sample(bits: int, weight_bits: int, *, signed: bool, per_channel: bool, normalized: bool, average: bool, seed: int) -> Sample:
    torch.manual_seed(seed)
    pool = nn.AvgPool2d(2) if average else nn.MaxPool2d(2)
    net = quantized(bits, weight_bits, signed=signed, per_channel=per_channel, normalized=normalized, pool=pool)
    x = torch.rand(24, 2, 8, 8) - 0.4 * signed
    for _ in range(3):
        net(x)
    x = net.eval()[0](x).detach()
    reals: list[Tensor] = []
    hooks = []
    for module in net:
        if isinstance(module, qnn.QuantReLU):
            scale = module.act_quant.scale()
            hooks.append(
                module.register_forward_pre_hook(lambda _, args, s=scale: reals.append(args[0].detach().double() / s.double()))
            )
    net(x)
    for hook in hooks:
        hook.remove()
    return Sample(net, x, reals)


SAMPLES = st.builds(
    sample,
    bits=st.integers(2, 8),
    weight_bits=st.sampled_from([2, 3, 4, 8]),
    signed=st.booleans(),
    per_channel=st.booleans(),
    normalized=st.booleans(),
    average=st.booleans(),
    seed=st.integers(0, 99),
)


def levels_of(net: Any, x: Tensor) -> list[Tensor]:
    return [spikes.steps - torch.where(spikes.silent, spikes.steps, spikes.times.int()) for spikes in net.observe(x).layers]


def assert_levels(levels: list[Tensor], given: Sample) -> bool:
    """Compare levels with the quantised net's; False from a tie on, where float32 may round otherwise."""
    for mine, real, module in zip(
        levels, given.reals, [part for part in given.net if isinstance(part, qnn.QuantReLU)], strict=True
    ):
        unlike = mine != real.round().clamp(0, 2 ** int(module.act_quant.bit_width()) - 1)
        assert not (unlike & ((real - real.floor() - 0.5).abs() >= 1e-3)).any()
        if unlike.any():
            return False
    return True


@settings(max_examples=12)
@given(given=SAMPLES)
def test_levels_are_equal(given: Sample) -> None:
    converted = firstspike.convert(given.net, given.x)
    assert converted.report.attrs["exact"]
    if assert_levels(levels_of(converted, given.x), given):
        torch.testing.assert_close(converted(given.x), given.net(given.x).detach(), rtol=1e-5, atol=1e-5)


@settings(max_examples=4)
@given(given=SAMPLES)
@pytest.mark.parametrize("exporter", ["export_qonnx", "export_onnx_qcdq"])
def test_levels_of_files_are_equal(tmp_path_factory: pytest.TempPathFactory, exporter: str, given: Sample) -> None:
    pytest.importorskip("onnxoptimizer", reason="Brevitas' exporters need onnxoptimizer")
    export: Any = pytest.importorskip("brevitas.export")
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    getattr(export, exporter)(given.net, args=(given.x[:1],), export_path=str(path))
    converted = firstspike.convert(path, given.x)
    assert converted.report.attrs["exact"]
    if assert_levels(levels_of(converted, given.x), given):
        torch.testing.assert_close(converted(given.x), given.net(given.x).detach(), rtol=1e-5, atol=1e-5)


@settings(max_examples=10)
@given(given=SAMPLES)
def test_a_wide_chip_keeps_the_integers_and_all_levels(given: Sample) -> None:
    wide = emulator.profile.load("generic8").replace(window_shift=16, membrane_bits=48, threshold_bits=47, accumulator_bits=48)
    program = emulator.quantize(firstspike.convert(given.net, given.x), wide)
    products = [part for part in given.net if isinstance(part, qnn.QuantConv2d | qnn.QuantLinear)]
    fired = [n for n, layer in enumerate(program.layers) if layer.neuron.kind == "windowed"]
    for n, part in zip(fired, products, strict=True):
        assert program.table[n]["kept"] == len(part.weight)
        whole = part.quant_weight().int().flatten(1).numpy().astype(int)
        mine = program.layers[n].weight
        mine = mine.transpose(3, 0, 1, 2) if part.weight.dim() == 4 else mine.reshape(2, 2, 8, -1).transpose(3, 2, 0, 1)
        mine = mine.reshape(whole.shape).astype(int)
        places = abs(whole).argmax(1)[:, None]
        np.testing.assert_array_equal(  # multiples of the quantised net's integers
            mine * np.take_along_axis(whole, places, 1), whole * np.take_along_axis(mine, places, 1)
        )
    raw = program.engine().run(program.input_times(given.x))
    levels = []
    for n in fired[:-1]:
        layer = program.layers[n]
        mine = np.where(raw.times[n] == 255, 0, layer.steps - raw.times[n].astype(int)).reshape(-1, *layer.out_shape)
        levels.append(torch.from_numpy(mine).permute(0, 3, 1, 2))
    if assert_levels(levels, given):
        scores = torch.from_numpy(raw.membrane[-1][:, -1] * program.layers[-1].scale)
        torch.testing.assert_close(scores.float(), given.net(given.x).detach(), rtol=1e-4, atol=1e-4)


@settings(max_examples=8)
@given(
    given=st.builds(
        sample,
        bits=st.integers(2, 4),
        weight_bits=st.integers(2, 3),
        signed=st.booleans(),
        per_channel=st.booleans(),
        normalized=st.booleans(),
        average=st.just(False),
        seed=st.integers(0, 99),
    ),
    chip=st.sampled_from(["generic8", "rtl-ecp5-85"]),
)
def test_eight_bits_suffice_for_nets_of_few_bits(given: Sample, chip: str) -> None:
    converted = firstspike.convert(given.net, given.x)
    program = emulator.quantize(converted, chip)
    assert all(row["exact"] for row in program.table if "exact" in row)
    names = [layer.name for layer in program.layers if layer.neuron.kind != "pool"]
    assert program.exact_layers == names == emulator.check(converted, chip).exact_layers
    assert emulator.report(emulator.run(program, given.x)).summary()["exact_layers"] == names
    levels = levels_of(converted, given.x)
    if assert_levels(levels, given):
        scores = emulator.IntegerNet(program)(given.x)
        answers = converted(given.x).detach()
        np.testing.assert_allclose(scores.numpy() * program.layers[-1].scale, answers.numpy(), atol=1e-2 * answers.abs().max())


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
