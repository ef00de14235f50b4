"""Settings and fixtures shared by all tests."""

from pathlib import Path

import pytest
import setuptools  # noqa: F401  # before anything imports distutils, which it replaces: torch.compile insists
from hypothesis import HealthCheck, settings

settings.register_profile("firstspike", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("firstspike")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def committed_records() -> None:
    """Skip where the records of the benchmarks and of the paper are not there: a source distribution has none."""
    if not all((ROOT / name / "results").is_dir() for name in ("benchmarks", "paper")):
        pytest.skip("a source distribution has no records")
