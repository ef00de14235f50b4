"""`torch.set_default_dtype` changes nothing: the operators make float32, whatever torch's default is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from firstspike import functional, models
from firstspike.surrogate import triangle

from ..compare import check_layer
from ..samples import PATTERNS, layer
from .test_opcheck import SAMPLES, record


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Inside the block new tensors have this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def tensors(made: Any) -> list[Tensor]:
    """The tensors of an operator's result."""
    return [x for x in tree_leaves(made) if isinstance(x, Tensor)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("name", SAMPLES)
def test_operators_give_the_same_bits(name: str, dtype: torch.dtype) -> None:
    for op, args, kwargs in record(SAMPLES[name]):
        expected = tensors(op(*args, **kwargs))
        with default_dtype(dtype):
            got = tensors(op(*args, **kwargs))
        assert [x.dtype for x in got] == [x.dtype for x in expected], op
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True)), op


@pytest.mark.parametrize("name", SAMPLES)
def test_functions_run(name: str) -> None:
    with default_dtype(torch.float64):
        SAMPLES[name]()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_functions_equal_their_reference(pattern: str) -> None:
    with default_dtype(torch.float64):
        check_layer("linear", layer((3, 40), (50, 40), 8, pattern=pattern, surrogate=triangle(0.5)))
        check_layer("conv2d", layer((2, 3, 6, 8), (5, 3, 3, 3), 8, pattern=pattern, avg_pool=2, decay=0.75))


def test_weights_are_normalised_in_float32() -> None:
    weight = torch.randn(5, 3, dtype=torch.float32)
    expected = functional.normalize_weight(weight, 0.5)
    with default_dtype(torch.float64):
        assert torch.equal(functional.normalize_weight(weight, 0.5), expected)


@pytest.mark.parametrize("encoder", ["direct", "latency"])
def test_a_net_is_prepared_for_inference(encoder: str) -> None:
    net = models.mlp("16-8-4", steps=5, encoder=encoder).eval()
    x = torch.rand(3, 16)
    with default_dtype(torch.float64):
        assert torch.equal(models.prepare_for_inference(net)(x), net(x))
