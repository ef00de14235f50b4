"""The host's encoder and readout: arrays are checked, multiply-adds are those that the docs name, time weights are exact."""

from __future__ import annotations

import numpy as np
import pytest

from firstspike import emulator as em
from firstspike import models
from firstspike.emulator.program.host import Readout
from firstspike.emulator.program.serialization import put_together, take_apart

from ..nets import net

HEADER, ARRAYS = take_apart(em.quantize(net("4C3-5"), first_layer="float"))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("encoder.weight", {"weight": lambda w: w.astype(np.float64)}),
        ("encoder.bias", {"bias": lambda b: b * np.float32(np.nan)}),
        ("encoder.weight", {"weight": lambda w: w[0]}),
        ("encoder.weight", {"weight": lambda w: w[:, :0]}),
        ("encoder.bias", {"bias": lambda b: b[:3]}),
        ("encoder: its 3 outputs", dict.fromkeys(("weight", "bias"), lambda a: a[:3])),
    ],
)
def test_arrays_of_the_hosts_layer_are_checked(field, changes):
    assert put_together(HEADER, ARRAYS).encoder.kind == "direct-conv"
    wrong = {f"encoder.{name}": change(ARRAYS[f"encoder.{name}"]) for name, change in changes.items()}
    with pytest.raises(em.ProgramError, match=field):
        put_together(HEADER, ARRAYS | wrong)


def test_linear_weights_tie_where_whole_numbers_do():
    readout = em.quantize(net("30-4", readout="twd-linear", population=2, encoder="spikes")).readout
    times = np.array([[0, 2, 1, 1, 255, 255, 255, 255]], np.uint8)  # 8 + 6 and 7 + 7
    scores, best, tie = readout.spikes(times, 8, np.zeros((1, 8), np.int64))
    assert (scores / readout.time_weights(8)[-1]).tolist() == [[14, 14, 0, 0]]
    assert best.tolist() == [0] and tie.tolist() == [True]


def test_time_weights_that_do_not_tell_the_steps_apart():
    def made(steps, gamma):
        options = {"readout": "twd-exp", "encoder": "latency", "gamma": gamma, "population": 1}
        return em.quantize(models.mlp("6-5-3", steps=steps, **options), "generic8")

    assert made(100, 1.2).steps == 100 and made(20, 2.0).steps == 20
    for steps, gamma in ((254, 1.2), (110, 1.2), (40, 2.0)):
        with pytest.raises(em.CannotQuantize, match="gamma.*fewer steps"):
            made(steps, gamma)
    assert not em.check(models.mlp("6-5-3", steps=254, readout="twd-exp", encoder="latency"), "generic8").fits


def test_first_spike_is_exact_for_overshoots_that_float64_would_round():
    readout = Readout(kind="first-spike")
    _, best, ties = readout.spikes(np.array([[3, 3]], np.uint8), 254, np.array([[1 << 59, (1 << 59) + 1]]))
    assert best.tolist() == [1] and ties.tolist() == [False]
