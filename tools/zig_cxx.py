"""A C++ compiler for wheels that run on old Linux systems: zig's clang, against the glibc that GLIBC names.

usage: CXX="python tools/zig_cxx.py" ZIG=.../ziglang/zig GLIBC=2.28 pip wheel .

ZIG: the program in the package ziglang, which a build environment of pip does not see.

libc++ is linked in, so that a module needs nothing of the system but glibc.
"""

from __future__ import annotations

import os
import platform
import sys


def arguments(given: list[str], machine: str, glibc: str) -> list[str]:
    """The arguments for zig: its target, and its own spelling of processors (x86_64_v3 for x86-64-v3)."""
    spelled = ["-march=x86_64" + a[13:].replace("-v", "_v") if a.startswith("-march=x86-64") else a for a in given]
    return ["c++", "-target", f"{machine}-linux-gnu.{glibc}", *spelled]


if __name__ == "__main__":
    glibc = os.environ.get("GLIBC", "2.28")
    made = arguments(sys.argv[1:], os.environ.get("ZIG_MACHINE", platform.machine()), glibc)
    zig = os.environ["ZIG"]
    os.execv(zig, [zig, *made])
