"""Settings shared by all tests."""

import os
import tempfile

import setuptools  # noqa: F401  # before anything imports distutils, which it replaces: torch.compile insists
from hypothesis import HealthCheck, settings

from firstspike import backends

# What inductor keeps on disk holds the sizes of one instruction set (docs/design.md).
user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")  # a container's user may have no name
folder = f"firstspike_tests_{user}_{backends()['cpu']['instruction_set']}"
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), folder)

settings.register_profile("firstspike", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("firstspike")
