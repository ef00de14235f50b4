"""Trained nets on digits: 8 bits cost next to nothing, and fine-tuning recovers what 2 bits lose."""

from __future__ import annotations

import pytest
import torch

from firstspike import data, models, train
from firstspike import emulator as em

DIGITS, TEST = (data.load("digits", train=part) for part in (True, False))


def accuracy(model, bits):
    program = em.quantize(model, bits=bits)
    return em.run(program, TEST.images, labels=TEST.labels).accuracy


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_few_bits(name):
    model = models.load_pretrained(name)
    tuned = em.qat.prepare(model, bits=2)
    em.qat.finetune(tuned, DIGITS.images, DIGITS.labels, epochs=3, generator=torch.Generator().manual_seed(0))
    exact, plain = train.evaluate(model, TEST).accuracy, accuracy(model, 2)
    assert accuracy(model, 8) >= exact - 0.006
    assert accuracy(tuned, 2) > plain
