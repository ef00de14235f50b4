"""Memory of a training step: what autograd keeps for the backward pass, and the resident memory of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor


def kept_bytes(forward: Callable[[], Tensor], known: Iterable[Tensor]) -> int:
    """Bytes that the graph of `forward` keeps for its backward pass; each storage counts once.

    known: tensors that would be there anyway (parameters, the input); their storages do not count. Tensors that an
    operator keeps count with their whole storage, since that is what stays in memory.
    """
    storages: dict[int, int] = {}
    held = []  # the storages, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        held.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    there = {tensor.untyped_storage().data_ptr() for tensor in known}
    return sum(size for address, size in storages.items() if address not in there)


def resident() -> int:
    """Bytes of this process in memory now (Linux)."""
    return _status("VmRSS")


def peak_resident() -> int:
    """The most bytes of this process in memory since `forget_peak` (Linux)."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let `peak_resident` start anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status must have {key}")
