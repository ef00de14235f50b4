"""The same net in firstspike, as dense torch code, and in the peers' libraries; all with the same weights."""

from .build import FIRES_ONCE, LIBRARIES, Setting, build, settings
from .training import inference, training_step

__all__ = ["FIRES_ONCE", "LIBRARIES", "Setting", "build", "inference", "settings", "training_step"]
