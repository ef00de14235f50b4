"""Data-parallel training under torchrun: each process takes its share of every batch, DDP averages the gradients."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among `world` processes."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
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

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with a backward that averages gradients over the processes; itself where there is one process."""
        return nn.parallel.DistributedDataParallel(module) if self.world > 1 else module


@contextlib.contextmanager
def join(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the process group: the running one, else the one torchrun's environment describes, else none.

    A group that is started here (gloo on the CPU, nccl on CUDA) is also ended here.
    """
    if dist.is_available() and dist.is_initialized():
        yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # DDP imports this module, whose default arguments keep the group that runs at that time, with its threads,
        # beyond the group's end; imported before there is one, it keeps none.
        importlib.import_module("torch.distributed.nn")
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield ProcessGroup(dist.get_rank(), dist.get_world_size())
            dist.barrier()  # nobody leaves while another still needs it
        finally:
            dist.destroy_process_group()
    else:
        yield ProcessGroup()
