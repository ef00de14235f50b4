"""Calls of the bound functions that once crashed, hung or wrote beyond an array: each is refused, or does nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from firstspike._base.kernels import cpu
from firstspike.surrogate import KINDS

from .draws import as_given

NEURON = (1.0, 1.0, 0.0, 1.0, 0.0)
NOTHING = torch.zeros(0)


def call(name: str, **arguments: Any) -> Any:
    """A kernel of that name."""
    return getattr(cpu, name)(**{key: as_given(value) for key, value in arguments.items()})


def ramp(**changed: Any) -> Any:
    """Four neurons."""
    given = {
        "sites": 1,
        "channels": 4,
        "current": torch.zeros(4),
        "times_out": torch.zeros(4, dtype=torch.uint8),
        "neuron": NEURON,
        **changed,
    }
    return call("ramp", steps=8, record=False, threads=1, **given)


def ramp_gradient(offset: list[int], steps: list[int], lanes: list[int]) -> Any:
    """Four neurons with these entries."""
    support = (torch.tensor(offset), torch.tensor([steps, lanes], dtype=torch.uint8))
    values = torch.zeros(len(steps))
    return call(
        "ramp_gradient",
        **{"sites": 1, "channels": 4, "steps": 8, "neuron": NEURON, "support": support},
        **{"slope": values, "gradient": values, "threads": 1, "gradient_out": torch.zeros(4)},
    )


def test_the_kernels_know_as_many_surrogates_as_python() -> None:
    ramp(neuron=(1.0, 1.0, len(KINDS) - 1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="unknown surrogate kind"):
        ramp(neuron=(1.0, 1.0, float(len(KINDS)), 1.0, 0.0))


def test_products_of_sizes_do_not_overflow() -> None:
    ramp()
    empty = {"current": NOTHING, "times_out": torch.zeros(0, dtype=torch.uint8)}
    with pytest.raises(ValueError, match="sites must be from 0 to"):
        ramp(sites=2**62, **empty)
    with pytest.raises(ValueError, match="product must be at most"):
        ramp(sites=2**40, channels=2**20, **empty)
    with pytest.raises(ValueError, match="size must be from 0 to"):
        cpu.empty(2**62 - 1)
    with pytest.raises(TypeError):
        cpu.empty(2**64)


def test_many_neurons_without_a_step_take_no_time() -> None:
    train = {"steps": 0, "neurons": 2**56, "neuron": NEURON, "current": NOTHING, "threads": 1}
    call("fire", **train, spikes=NOTHING)
    call("fire_gradient", **train, gradient=NOTHING, gradient_out=NOTHING)


def test_a_pool_larger_than_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="pool is larger"):
        cpu.plan_layer((1, 2, 2, 1, 3, 1, 1, 1, 1, 1, 1, 1, 8), 1)


def test_what_kernels_count_in_32_bits_is_bounded() -> None:
    for at, size in ((1, 2**30), (3, 2**30), (0, 2**30), (9, 2**31), (11, 2**30)):
        geometry = [1, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0, 1, 8]
        geometry[at] = size
        with pytest.raises(ValueError, match="too large"):
            cpu.plan_layer(geometry, 1)


@pytest.mark.parametrize(
    ("steps", "lanes"),
    [([3, 2], [0, 0]), ([2, 2], [1, 0]), ([2, 2], [1, 1]), ([2, 8], [1, 1]), ([2, 3], [1, 4])],
    ids=["steps", "lanes", "twice", "step out of range", "lane out of range"],
)
def test_entries_have_an_order_and_a_range(steps: list[int], lanes: list[int]) -> None:
    """A group can then have no more entries than neurons times steps, for which kernels have room."""
    ramp_gradient([0, 2], [2, 3], [1, 0])
    with pytest.raises(ValueError, match="order|out of range"):
        ramp_gradient([0, 2], steps, lanes)


@pytest.mark.parametrize("offset", [[0, 1], [1, 2], [0, 3], [0, -1]], ids=str)
def test_offsets_begin_and_end_with_the_entries(offset: list[int]) -> None:
    with pytest.raises(ValueError, match="offset must begin at 0"):
        ramp_gradient(offset, [2, 3], [1, 0])


def test_arrays_are_aligned() -> None:
    shifted = torch.frombuffer(bytearray(17), dtype=torch.float32, offset=1, count=4)
    with pytest.raises(ValueError, match="current must be aligned"):
        ramp(current=shifted)
