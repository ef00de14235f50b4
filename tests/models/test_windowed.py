"""Nets of windows from strings: parts, spikes that are seen, files, training, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import firstspike
from firstspike import data, models, train
from firstspike import nn as fs

from ..samples import Refusal, generator, refusals

RESIDUAL = "8C3-R(8C3)-AP2-R(8C3-12C3s2)-EP2-16-R(16)-10"


def net(spec: str = RESIDUAL, shape: tuple[int, ...] = (1, 8, 8), steps: int = 16, **options: Any) -> models.TTFSNet:
    return models.build(spec, input_shape=shape, steps=steps, timing="windowed", generator=generator(0), **options)


def images(number: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (number, 1, 8, 8), generator=generator(1), dtype=torch.uint8)


@pytest.mark.parametrize("steps", [1, 16, 255])
@pytest.mark.parametrize("spec", ["64-20-10", "8C3-AP2-16C3s2-10", "8C3-MP2-R(8C3-8C3)-10", RESIDUAL, "64-10"])
def test_strings(spec: str, steps: int) -> None:
    made = net(spec, steps=steps).eval()
    seen = made.observe(images())
    firing = [m for m in made.layers.modules() if hasattr(m, "clip")]
    assert torch.equal(seen.scores, made(images())) and seen.scores.shape == (6, 10)
    assert len(seen.layers) == len(firing) and made.latency == steps * len(firing)
    assert all(spikes.steps == steps for spikes in seen.layers)
    assert ((seen.spikes_per_neuron() >= 0) & (seen.spikes_per_neuron() <= 1)).all()
    torch.testing.assert_close(made(images().float() / 255), seen.scores)
    again = models.from_config(made.config())
    assert again.config() == made.config() and again.spec == spec


def test_dropout_keeps_the_mean_and_drops_gradients() -> None:
    layer = fs.WindowedReadout(4000, 3, dropout=0.5, generator=generator(0))
    values = torch.rand(8, 4000, generator=generator(1)).requires_grad_()
    spikes = fs.WindowedEncoder()(values)
    torch.nn.init.uniform_(layer.weight, generator=generator(2))
    got, expected = layer(spikes), layer.eval()(spikes)
    torch.testing.assert_close(got, expected, rtol=0.1, atol=0)
    got.sum().backward()
    assert values.grad is not None and 0.45 < (values.grad == 0).double().mean() < 0.55
    assert fs.WindowedLinear(5, 3, steps=4, dropout=0.25).settings()["dropout"] == 0.25


def test_files(tmp_path: Path) -> None:
    """Nets from strings, folded and converted ones have one file, and the same scores."""
    trained = net(dropout=0.1)
    for _ in range(3):
        trained(images())
    folded = nn.Sequential(fs.WindowedEncoder(64, 1, [0.25]), fs.WindowedConv2d(1, 3, 3, steps=9, clip_per_channel=True))
    folded.append(fs.WindowedMaxPool2d(3, 2, (1, 0))).append(fs.WindowedReadout(3 * 4 * 3, 2)).eval()
    folded[1].fold()
    relu = models.relu_counterpart("8C3-MP2-16-10", input_shape=(1, 8, 8), generator=generator(0))
    for number, made in enumerate((trained, folded, firstspike.convert(relu, images(), 16))):
        path, state = tmp_path / f"{number}.safetensors", torch.get_rng_state()
        firstspike.save(made, path)
        loaded = firstspike.load(path)
        assert type(loaded) is type(made) and torch.equal(torch.get_rng_state(), state)
        assert torch.equal(loaded(images()), made.eval()(images()))
        firstspike.save(loaded, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert firstspike.load(tmp_path / "0.safetensors").config() == trained.config()


def test_fit(tmp_path: Path) -> None:
    config = train.Config(data="digits", spec="64-48-10", timing="windowed", steps=16, dropout=0.05, epochs=10, lr=1e-2, batch=32)
    result = train.fit(config, directory=tmp_path, progress=False)
    measured = train.evaluate(result.model, data.load("digits", train=False))
    assert measured.accuracy > 0.87 and measured.steps_mean == 16
    assert measured.spikes_per_neuron is not None and 0 < measured.spikes_per_neuron < 1
    assert firstspike.load(tmp_path).timing == "windowed"


BAD: dict[str, Refusal] = {
    "steps": (lambda: net(steps=256), ValueError, "steps.*256"),
    "steps of a step net": (lambda: train.Config(spec="64-10", steps=255), ValueError, "steps.*255"),
    "timing": (lambda: models.build("64-10", input_shape=(64,), steps=4, timing="time"), ValueError, "timing.*time"),  # type: ignore[call-overload]
    "decay": (lambda: net(decay=0.5), ValueError, "decay.*0.5"),
    "readout": (lambda: net(readout="twd-exp"), ValueError, "readout"),
    "surrogate": (lambda: train.Config(spec="64-10", timing="windowed", surrogate="atan"), ValueError, "surrogate"),
    "normalization": (lambda: net(normalization="channel"), ValueError, "normalization"),
    "a block that grows": (lambda: net("64-10-R(12)-10"), models.GrammarError, "keep"),
    "images": (lambda: net()(torch.rand(2, 1, 8, 7)), ValueError, "x must have shape"),
    "NaN": (lambda: net()(torch.full((2, 1, 8, 8), torch.nan)), ValueError, "x"),
    "prepacking": (lambda: models.prepare_for_inference(net()), TypeError, "IntegerNet"),
}

test_refusals = refusals(**BAD)
