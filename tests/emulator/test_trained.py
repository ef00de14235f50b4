"""Trained MNIST nets on all 10,000 test images: wide integers are the float network, and 8 bits cost next to
nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import data, train
from firstspike import emulator as em
from firstspike.emulator.program.program import Engine
from firstspike.emulator.quantization import qat

from .nets import wide

pytestmark = pytest.mark.slow
CONFIGS = {
    "mlp": {"spec": "784-400-400-10", "steps": 8, "limit": 38400},
    "cnn": {"spec": "8C3-AP2-16C3-AP2-64-10", "steps": 4, "limit": 19200, "batch": 64, "lr": 1e-2},
}


@pytest.fixture(scope="module", params=CONFIGS)
def trained(request, tmp_path_factory):
    try:
        data.load("mnist", train=False)
    except data.NotAvailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp(request.param)
    train.fit(train.Config(data="mnist", epochs=1, **CONFIGS[request.param]), directory=folder, progress=False)
    return train.load_model(folder)


@pytest.fixture(scope="module")
def test_images():
    return data.load("mnist", train=False)


def flat(times):
    """[B, neurons] of the emulator's order, row, column, channel."""
    return (times.permute(0, 2, 3, 1) if times.dim() == 4 else times).flatten(1).numpy()


def test_wide_integers_are_the_float_network_away_from_ties(trained, test_images):
    """Each layer on the float network's own input spikes: a time may differ only where V came within 1e-5 of the
    threshold."""
    program = em.quantize(trained, wide(), observer="max")
    unlike = neurons = 0
    for part in test_images.images.split(1000):
        with torch.inference_mode():
            seen = trained.observe(part)
        for n, layer in enumerate(program.layers[:-1]):
            before, after = flat(seen.layers[n].times), flat(seen.layers[n + 1].times)
            alone = layer.replace(start=0, stop=program.steps)
            ours = Engine([alone], steps=program.steps, total_steps=program.steps).run(before).times[0]
            neurons += ours.size
            samples, at = np.nonzero(ours != after)
            unlike += len(samples)
            if not len(samples):
                continue
            free = Engine([alone.replace(fires=False)], steps=program.steps, total_steps=program.steps)
            v = free.run(before[samples], trace=True).membrane[0][np.arange(len(samples)), :, at]
            theta = np.tile(layer.theta, layer.neurons // len(layer.theta))[at]
            assert (
                np.abs(v / theta[:, None] - 1).min(1) < 1e-5 * np.maximum(1, np.abs(v / theta[:, None])).max(1)
            ).all()
    assert unlike < 1e-5 * neurons
    ran = em.run(program, test_images.images, labels=test_images.labels)
    assert (ran.predictions != train.predict(trained, test_images.images).numpy()).sum() <= 10


def test_eight_bits_lose_at_most_a_tenth_of_a_point(trained, test_images):
    ran = em.run(em.quantize(trained, "generic8"), test_images.images, labels=test_images.labels)
    assert ran.accuracy >= train.evaluate(trained, test_images).accuracy - 0.001


def test_fine_tuning_recovers_loss_at_two_bits(trained, test_images):
    part = data.load("mnist", train=True).subset(slice(0, 38400))
    tuned = qat.prepare(trained, "generic8", bits=2)
    qat.finetune(tuned, part.images, part.labels, generator=torch.Generator().manual_seed(0))
    exact = train.evaluate(trained, test_images).accuracy
    plain, better = (
        em.run(em.quantize(model, bits=2), test_images.images, labels=test_images.labels).accuracy
        for model in (trained, tuned)
    )
    assert better > plain and better > exact - 0.5 * (exact - plain)
