"""Random generators that depend on the run's seed, on their purpose and on the epoch, and on nothing else.

So a checkpoint need not store random states: epoch 7 draws the same numbers after a resume as without one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A new CPU generator for one purpose in one epoch of the run with this seed."""
    digest = hashlib.sha256(f"firstspike {seed} {purpose} {epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


@contextlib.contextmanager
def seeded(seed: int, purpose: str, epoch: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, the CPU's and the device's, for one purpose in one epoch; then restore their old state."""
    number = generator(seed, purpose, epoch).initial_seed()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(number)  # torch.manual_seed would seed every GPU
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
