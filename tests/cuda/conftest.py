"""Fixtures: the CUDA kernels on the processor, and with them the whole package."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
import torch
from torch import Tensor

from firstspike.ops import _cuda, _operator, _support

from .build import build

PROCESSORS, SHARED = 3, 64 * 1024


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module of kernels on the stand-in device."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # all workers build it once
    return build(shared / "cuda_on_host")


@contextmanager
def stream_of_host(tensor: Tensor) -> Iterator[int]:
    """In place of `_cuda.on_device`."""
    yield 0


@pytest.fixture
def on_host(host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Every operator of the package runs its CUDA implementation, on CPU tensors and the stand-in device."""
    monkeypatch.setitem(_support.TILES, "cpu", _cuda.TILE)
    monkeypatch.setattr(_operator, "bypasses_dispatcher", lambda *_: False)  # else the CPU's own kernels are called
    for name in {implementation.__module__ for implementation in _operator.CUDA_IMPLEMENTATIONS.values()}:
        if hasattr(sys.modules[name], "kernels"):  # weight normalisation is made of torch's functions there
            monkeypatch.setattr(sys.modules[name], "kernels", lambda: host)
            monkeypatch.setattr(sys.modules[name], "on_device", stream_of_host)
    library = torch.library.Library("firstspike", "IMPL")
    with warnings.catch_warnings():  # torch says that they are overridden
        warnings.simplefilter("ignore", UserWarning)
        for name, implementation in _operator.CUDA_IMPLEMENTATIONS.items():
            library.impl(name, implementation, "CPU")
    host.set_device(PROCESSORS, SHARED, 0)
    yield host
    library._destroy()  # the CPU implementations are back
