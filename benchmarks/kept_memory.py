"""Memory of a training step: what autograd keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
