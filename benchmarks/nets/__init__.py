"""The same net in firstspike, as dense torch code, and in the peers' libraries; all with the same weights."""

from .build import FIRES_ONCE, Setting, build, settings
from .training import inference, training_step

__all__ = ["FIRES_ONCE", "Setting", "build", "inference", "settings", "training_step"]
