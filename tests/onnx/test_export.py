"""`to_onnx`: ONNX Runtime and QONNX run the file of a net with its scores, and of a program with its integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import firstspike
from firstspike import emulator, models
from firstspike import nn as fs

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
SPECS = {
    "mlp": ("50-20-10", (50,)),
    "residual": ("8C3-AP2-R(8C3-8C3)-16C3s2-MP2-32-10", (1, 18, 18)),
    "remainder": ("8C3-AP3-16C3-AP2-20-10", (3, 16, 17)),
    "single-spike pools": ("6C3-SP2-8C3-SP1x2-10", (2, 8, 8)),
    "one direction": ("6C3x1s2x1-MP2-10", (2, 12, 9)),
}


def trained(spec: str, shape: tuple[int, ...], *, steps: int = 15, input_steps: int = 255) -> tuple[Any, torch.Tensor]:
    """A net of windows whose normalisation has seen the images, and they."""
    draw = torch.Generator().manual_seed(0)
    net = models.build(spec, input_shape=shape, steps=steps, timing="windowed", input_steps=input_steps, generator=draw)
    images = torch.randint(0, 256, (30, *shape), dtype=torch.uint8, generator=draw)
    with torch.no_grad():
        for _ in range(20):
            net(images)
        for layer in net.layers:
            if isinstance(layer, fs.WindowedAvgPool2d):
                layer.clip.mul_(0.93)  # a clip of 1 puts many means halfway between two levels
    return net.eval(), images


def answers(path: Path, x: np.ndarray, *outputs: str) -> list[np.ndarray]:
    """What ONNX Runtime computes, with intermediate tensors by name."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    model = onnx.load(path)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"x": x})
    return found


@torch.no_grad()
@pytest.mark.parametrize(("input_steps", "bits"), [(255, None), (15, None), (15, 4)])
@pytest.mark.parametrize("name", SPECS)
def test_scores_and_levels_of_a_net(tmp_path: Path, name: str, input_steps: int, bits: int | None) -> None:
    net, images = trained(*SPECS[name], input_steps=input_steps)
    net = emulator.qat.prepare(net, bits=bits).eval() if bits else net
    path, x = firstspike.to_onnx(net, tmp_path / "net.onnx"), images.float() / 255
    firing = [key for key, layer in net.named_modules() if layer is not net and hasattr(layer, "clip")]
    scores, *levels = answers(path, x.numpy(), *(f"{key}.levels" for key in firing))
    np.testing.assert_allclose(scores, net(x).numpy(), rtol=1e-3, atol=1e-3)
    for ours, spikes in zip(levels, net.observe(x).layers, strict=True):
        theirs = spikes.steps - torch.where(spikes.silent, spikes.steps, spikes.times.int()).numpy()
        assert (ours == theirs.reshape(ours.shape)).mean() > 0.999  # ties round otherwise


@torch.no_grad()
def test_scaled_images_and_borders(tmp_path: Path) -> None:
    layers = [fs.WindowedConv2d(2, 4, 3, steps=16), fs.WindowedMaxPool2d(3, 2, 1), fs.WindowedLinear(4 * 16, 8, steps=9)]
    net = models.TTFSNet(
        layers,
        encoder=fs.WindowedEncoder(31, padding=1, fill=[0.25, 0.5]),
        readout=fs.WindowedReadout(8, 3),
        input_shape=(2, 8, 8),
        normalize=fs.Normalize([-1.0, 0.0], [2.0, 3.0], saturate=True),
    ).eval()
    x = torch.rand(20, 2, 8, 8) * 2 - 0.5
    (scores,) = answers(firstspike.to_onnx(net, tmp_path / "net.onnx"), x.numpy())
    np.testing.assert_allclose(scores, net(x).numpy(), rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("profile", ["generic8", "loihi-like"])
@pytest.mark.parametrize("input_steps", [255, 15])
@pytest.mark.parametrize("name", SPECS)
def test_integers_of_a_program(tmp_path: Path, name: str, input_steps: int, profile: str) -> None:
    net, images = trained(*SPECS[name], input_steps=input_steps)
    program = emulator.quantize(net, profile)
    path = firstspike.to_onnx(program, tmp_path / "program.onnx")
    x = images.numpy() if input_steps == 255 else (images.float() / 255).numpy()
    (scores,) = answers(path, x)
    np.testing.assert_array_equal(scores, emulator.run(program, images).scores)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")
def test_qonnx_cleans_and_runs_the_file(tmp_path: Path) -> None:
    pytest.importorskip("qonnx", reason="qonnx is not installed")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    net, images = trained("4C3-MP2-10", (1, 8, 8))
    path = firstspike.to_onnx(net, tmp_path / "net.onnx", form="qonnx")
    model, x = cleanup_model(ModelWrapper(onnx.load(path))), images[:1].float() / 255
    scores = execute_onnx(model, {model.graph.input[0].name: x.numpy()})[model.graph.output[0].name]
    np.testing.assert_allclose(scores, net(x).numpy(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("form", ["qdq", "qonnx"])
def test_a_file_of_ours_converts_back_exactly(tmp_path: Path, form: Any) -> None:
    net, images = trained("8C3-R(8C3-8C3)-MP2-20-10", (1, 12, 12))
    path, x = firstspike.to_onnx(net, tmp_path / "net.onnx", form=form), images.float() / 255
    again = firstspike.convert(path, x)
    assert again.report.attrs["exact"]
    torch.testing.assert_close(again(x), net(x), rtol=1e-4, atol=1e-4)


def test_refusals(tmp_path: Path) -> None:
    stepwise = models.mlp("20-10-5", steps=4)
    with pytest.raises(ValueError, match="loop over time"):
        firstspike.to_onnx(stepwise, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="loop over time"):
        firstspike.to_onnx(emulator.quantize(stepwise), tmp_path / "net.onnx")
    wide = emulator.quantize(trained("50-20-10", (50,))[0], emulator.profile.load("generic8").replace(weight_bits=12))
    with pytest.raises(ValueError, match="8 bits"):
        firstspike.to_onnx(wide, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
