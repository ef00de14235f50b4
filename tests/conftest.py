"""Settings shared by all tests."""

import setuptools  # noqa: F401  # before anything imports distutils, which it replaces: torch.compile insists
from hypothesis import HealthCheck, settings

settings.register_profile("firstspike", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("firstspike")
