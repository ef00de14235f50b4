"""The same net in firstspike, as dense torch code, and in the peers' libraries; all with the same weights."""

from .build import FIRES_ONCE, Setting, build, settings
from .training import COMPILED, forms, inference, training_step

__all__ = ["COMPILED", "FIRES_ONCE", "Setting", "build", "forms", "inference", "settings", "training_step"]
