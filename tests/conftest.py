"""Settings and fixtures shared by all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import setuptools  # noqa: F401  # before anything imports distutils, which it replaces: torch.compile insists
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("firstspike", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("firstspike")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def committed_records() -> None:
    """Skip where the records of the benchmarks and of the paper are not there: a source distribution has none."""
    if not all((ROOT / name / "results").is_dir() for name in ("benchmarks", "paper")):
        pytest.skip("a source distribution has no records")


@pytest.fixture
def keep_threads() -> Iterator[None]:
    """Restore torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
