"""Random generators that depend on the run's seed and on what they are for, and on nothing else.

So nothing about random numbers has to be kept in a checkpoint: epoch 7 draws the same after a resume as without one.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A new CPU generator for one purpose in one epoch of the run with this seed."""
    digest = hashlib.sha256(f"firstspike {seed} {purpose} {epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
