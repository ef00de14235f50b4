"""The host's encoder: the arrays of its layer are checked, and its multiply-adds are those that the docs name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import firstspike
from firstspike import emulator as em
from firstspike.emulator.program.host import Encoder
from firstspike.emulator.program.serialization import put_together, take_apart

from ..nets import images, net

HEADER, ARRAYS = take_apart(em.quantize(net("4C3-5")))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weight": lambda w: w.astype(np.float64)}, "weight of the encoder must be a float32 array, got float64"),
        ({"bias": lambda b: b.astype(np.int32)}, "bias of the encoder must be a float32 array, got int32"),
        ({"weight": lambda w: w / np.float32(0)}, "weight of the encoder must be finite"),
        ({"bias": lambda b: b * np.float32(np.nan)}, "bias of the encoder must be finite"),
        (
            {"weight": lambda w: w[0]},
            r"weight of the encoder must have 4 dimensions, none of them 0, got shape \(2, 3, 3\)",
        ),
        ({"weight": lambda w: w[:, :0]}, "none of them 0"),
        ({"bias": lambda b: b[:3]}, r"bias of the encoder must have shape \(4,\), got \(3,\)"),
        (dict.fromkeys(("weight", "bias"), lambda a: a[:3]), r"its 3 outputs must be the input of layer 1:Integrate"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_arrays_of_the_hosts_layer_are_checked(changes, text):
    assert put_together(HEADER, ARRAYS).encoder.kind == "direct-conv"
    wrong = {f"encoder.{name}": change(ARRAYS[f"encoder.{name}"]) for name, change in changes.items()}
    with pytest.raises(em.ProgramError, match=text):
        put_together(HEADER, ARRAYS | wrong)


def test_a_kind_that_does_not_fit_the_arrays_or_the_input():
    program, weight = put_together(HEADER, ARRAYS), np.ones((4, 9), np.float32)
    with pytest.raises(ValueError, match=r"encoder direct-linear: its 4 outputs must be the input .* \(8, 8, 4\)"):
        replace(program, encoder=Encoder("direct-linear", weight=weight))
    with pytest.raises(ValueError, match="encoder latency must have no weight and no bias"):
        Encoder("latency", weight=weight)
    with pytest.raises(ValueError, match="encoder direct-linear needs a weight of 2 dimensions"):
        Encoder("direct-linear")


@pytest.mark.parametrize(
    ("spec", "outside"),
    [("30-20-5", 0), ("4C1-5", 0), ("4C3-5", (24**2 - 22**2) * 2 * 4), ("4C3x1-5", (24 - 22) * 8 * 2 * 4)],
)
def test_multiply_adds_in_the_padding_count_here_and_not_in_a_nets_profile(spec, outside):
    model = net(spec)
    program = em.quantize(model)
    host = program.encoder.macs(int(np.prod(program.input_shape)))
    assert host - firstspike.profile(model, images(model, 2))["macs"][0] == outside


def test_linear_weights_tie_where_whole_numbers_do():
    readout = em.quantize(net("30-4", readout="twd-linear", population=2, encoder="spikes")).readout
    times = np.array([[0, 2, 1, 1, 255, 255, 255, 255]], np.uint8)  # 8 + 6 and 7 + 7
    scores, best, tie = readout.spikes(times, 8, np.zeros((1, 8), np.int64))
    assert (
        (scores / readout.time_weights(8)[-1]).tolist() == [[14, 14, 0, 0]]
        and best.tolist() == [0]
        and tie.tolist() == [True]
    )


def test_exponential_weights_are_those_of_the_decoder():
    readout = em.quantize(net("30-4", readout="twd-exp", encoder="spikes")).readout
    weights = readout.time_weights(6)
    assert weights[0] == 1 << 30
    np.testing.assert_allclose(weights / weights[0], [1.2**-t for t in range(6)], rtol=1e-6)
