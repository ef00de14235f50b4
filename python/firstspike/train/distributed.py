"""Data-parallel training under torchrun: each process takes its share of every batch, DDP averages the gradients."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .._base.files import locked

T = TypeVar("T")
CPU = torch.device("cpu")
_groups = itertools.count()  # that this process has started: the same number in all


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among `world` processes, and its device."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """True in the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, total: int) -> tuple[int, int]:
        """The bounds of this process's part of `total` items: parts are contiguous and differ by at most one item."""
        return self.rank * total // self.world, (self.rank + 1) * total // self.world

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes (in place)."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def from_first(self, value: T) -> T:
        """The first process's value, in every process; pickle must take it."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with a backward that averages gradients over the processes, all with the first one's tensors."""
        trains = any(parameter.requires_grad for parameter in module.parameters())
        return nn.parallel.DistributedDataParallel(module) if self.world > 1 and trains else module

    def share_buffers(self, module: nn.Module) -> None:
        """Give all processes the first one's buffers, such as running statistics of its share of the samples."""
        if self.world > 1:
            for buffer in module.buffers():
                raw = buffer.detach().contiguous().reshape(-1).view(torch.uint8).clone()
                dist.broadcast(raw, 0)
                buffer.copy_(raw.view(buffer.dtype).reshape(buffer.shape))


def local_device(name: str) -> torch.device:
    """The device of this process: with the name "cuda" the GPU of its number, torchrun's LOCAL_RANK, if it sees that many."""
    device, number = torch.device(name), os.environ.get("LOCAL_RANK", "")
    if device == torch.device("cuda") and number.isdecimal() and int(number) < torch.cuda.device_count():
        return torch.device("cuda", int(number))
    return device


@contextlib.contextmanager
def join(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the running process group, else start the one torchrun's environment describes (gloo or nccl), else none."""
    if dist.is_available() and dist.is_initialized():
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # DDP imports this module, whose default arguments keep the group that runs at that time, with its threads,
        # beyond the group's end; imported before there is one, it keeps none.
        importlib.import_module("torch.distributed.nn")
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # nccl sends objects and waits by way of the current device
        from torch.distributed.distributed_c10d import PrefixStore  # which a torch without distributed lacks
        from torch.distributed.rendezvous import rendezvous

        backend = "nccl" if device.type == "cuda" else "gloo"
        store, rank, world = next(rendezvous("env://"))  # a store that an earlier group of the same script used
        dist.init_process_group(backend, store=PrefixStore(f"firstspike {next(_groups)}", store), rank=rank, world_size=world)
        try:
            yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
            dist.barrier()  # nobody leaves while another still needs it
        finally:
            dist.destroy_process_group()
    else:
        yield ProcessGroup(device=device)


@contextlib.contextmanager
def alone(folder: Path | None, processes: ProcessGroup) -> Iterator[None]:
    """Hold a run folder's lock, in the first process for all: a second run in it waits, and then finds the first one's result."""
    with contextlib.nullcontext() if folder is None or not processes.first else locked(folder):
        processes.wait()
        yield
