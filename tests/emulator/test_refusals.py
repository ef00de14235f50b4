"""Wrong arguments of the package's functions: the type of the error, and the argument in its message."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstspike import SpikeTimes, models
from firstspike import emulator as em

from .nets import images, net

MODEL = net()
X, LABELS = images(MODEL), torch.arange(40) % 5
PROGRAM, PREPARED = em.quantize(MODEL), em.qat.prepare(MODEL)
RAN = em.run(PROGRAM, X)
SPIKES = torch.zeros(2, 6, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: em.quantize(MODEL, bits=9), ValueError, "bits"),
        (lambda: em.quantize(net(synaptic_decay=1.0)), ValueError, "1:TTFSConv2d.*synaptic_decay"),
        (lambda: em.quantize(MODEL, observer="best"), ValueError, "observer"),
        (lambda: em.quantize(MODEL, granularity="row"), ValueError, "granularity"),
        (lambda: em.quantize(MODEL, biases="keep"), ValueError, "biases"),
        (lambda: em.quantize(MODEL, "loihi"), ValueError, "profile"),
        (lambda: em.quantize(MODEL, name=3), TypeError, "name"),
        (lambda: em.IntegerNet(PROGRAM), TypeError, "program"),
        (lambda: em.quantize(MODEL, calibration=X[:0]), ValueError, "calibration"),
        (lambda: em.quantize("64-10"), TypeError, "model"),
        (lambda: em.quantize(torch.nn.Linear(2, 2)), TypeError, "Linear"),
        (lambda: em.quantize(models.build("8-5", input_shape=(8,), steps=4, readout="first-spike")), ValueError, "add a layer"),
        (lambda: em.check("64-10"), TypeError, "model"),
        (lambda: em.place(MODEL), TypeError, "program"),
        (lambda: em.qat.prepare(MODEL, bits=9), ValueError, "bits"),
        (lambda: em.qat.finetune(MODEL, X, LABELS), ValueError, "model"),
        (lambda: em.qat.finetune(PREPARED, X[:0], LABELS[:0]), ValueError, "images"),
        (lambda: em.qat.finetune(PREPARED, X, LABELS[1:]), ValueError, "labels"),
        (lambda: em.qat.finetune(PREPARED, X, LABELS + 1), ValueError, "labels"),
        (lambda: em.qat.finetune(PREPARED, X, LABELS, epochs=0), ValueError, "epochs"),
        (lambda: em.qat.finetune(PREPARED, X, LABELS, lr=0.0), ValueError, "lr"),
        (lambda: em.run(MODEL, X), TypeError, "program"),
        (lambda: em.run(PROGRAM, [1, 2]), TypeError, "inputs"),
        (lambda: em.run(PROGRAM, X * torch.nan), ValueError, "inputs"),
        (lambda: em.run(PROGRAM, SpikeTimes(SPIKES, 3)), ValueError, "spikes"),
        (lambda: em.run(PROGRAM, SpikeTimes(SPIKES[:, :5], 6)), ValueError, "spikes"),
        (lambda: em.run(PROGRAM, X, labels=LABELS + 1), ValueError, "labels"),
        (lambda: em.run(PROGRAM, X, threads=2000), ValueError, "threads"),
        (lambda: em.run(PROGRAM, X, trace=-1), ValueError, "trace"),
        (lambda: em.report(PROGRAM), TypeError, "run"),
        (lambda: em.report(em.run(PROGRAM, X[:0])), ValueError, "run"),
        (lambda: em.report(RAN, placement=em.place(PROGRAM), refusal="no room"), ValueError, "refusal"),
        (lambda: em.report(RAN, float_predictions=np.zeros(2)), ValueError, "float_predictions"),
        (lambda: em.report(RAN, tables=["45nm-float", "45nm-float"]), ValueError, "tables"),
        (lambda: em.report(RAN, tables=["45nm"]), ValueError, "energy table"),
        (lambda: em.save(MODEL, "p"), TypeError, "program"),
        (lambda: em.export_c(MODEL, "c"), TypeError, "program"),
        (lambda: em.export_c(PROGRAM, "c", samples=X[:0]), ValueError, "samples"),
    ],
)
def test_the_argument_is_named(call, error, argument):
    with pytest.raises(error, match=rf"\b{argument}\b"):
        call()
