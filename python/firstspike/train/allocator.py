"""Keep freed memory in the process, so that a training step reuses the pages of the step before."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h of glibc
_NEVER = -1
_STRIDE = 64 << 20  # bytes by which the heap grows


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory for the rest of the process. Returns False if there is no glibc.

    By default malloc maps tensors of many megabytes afresh for every call and returns them after it, and the kernel
    clears each page again: a quarter of the time of a training step in a trial with a small convolutional net (paper/NOTES.md).
    The process then does not shrink: it grows to the most that was in use, plus fragmentation.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc: other names, or no such call
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _STRIDE))
    return all(mallopt(name, value) == 1 for name, value in settings)
