"""A bound on the time of a whole fetch, which has several steps."""

from __future__ import annotations

import time


class Deadline:
    """A moment by which something must be done.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, most: float = float("inf")) -> float:
        """Seconds that are left, at most `most`, at least 0."""
        return max(0.0, min(most, self._end - time.monotonic()))

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left() <= 0
