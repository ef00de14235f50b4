"""Environments: the package, built once for each state of its sources, with extras and groups of pyproject.toml.

The kernels are compiled for the newest instruction set of this processor alone, unless a session needs others. The environment
variable FIRSTSPIKE_ISAS, such as "v2;v3;v4", names others.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

from tools import ROOT

ALL_SETS = "v2;v3;v4"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
#: All that a wheel is built of.
_SOURCES = ("CMakeLists.txt", "pyproject.toml", "cmake/**/*", "cpp/**/*", "python/**/*", "tests/cpp/*.h")


def built(session: nox.Session, *defines: str) -> str:
    """The package as a wheel, built once for each state of the sources and each set of CMake definitions."""
    strict = ("FIRSTSPIKE_WERROR=ON",) if os.environ.get("CI") else ()  # another compiler warns of other things
    digest = hashlib.sha256(" ".join((*strict, *defines)).encode())
    for file in sorted(file for pattern in _SOURCES for file in ROOT.glob(pattern)):
        if file.is_file() and file.suffix not in {".so", ".pyc"}:
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    version = session.python or sys.implementation.cache_tag
    folder = ROOT / "build" / "wheels" / f"{digest.hexdigest()[:16]}-{version}"
    settings = [f"-Ccmake.define.{define}" for define in (*strict, *defines)]
    command = ["pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), *settings, "."]
    for run in (session.run_install, session.run):  # nox -R leaves out the first, nox --install-only the second
        if not list(folder.glob("firstspike-*.whl")):
            session.log("compiling the kernels: a minute or two for each instruction set on two cores")
            shutil.rmtree(folder, ignore_errors=True)
            run(*command, env={"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)})
    return str(next(folder.glob("firstspike-*.whl")))


def install(session: nox.Session, *, extras: str = "", groups: tuple[str, ...] = (), defines: tuple[str, ...] = ()) -> None:
    """Install the package (built here), with extras and dependency groups."""
    requirements = [r for group in groups for r in nox.project.dependency_groups(PYPROJECT, group)]
    if not any(define.startswith("FIRSTSPIKE_ISAS=") for define in defines):
        defines = (f"FIRSTSPIKE_ISAS={os.environ.get('FIRSTSPIKE_ISAS') or newest_set()}", *defines)
    wheel = built(session, *defines)
    session.install(f"{wheel}{f'[{extras}]' if extras else ''}", *requirements)
    session.run("pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)


def newest_set() -> str:
    """The newest instruction set of this processor, or all sets where the system does not say what it can do."""
    flags = processor_flags()
    return next((name for name, flag in (("v4", "avx512bw"), ("v3", "avx2"), ("v2", "sse4_2")) if flag in flags), ALL_SETS)


def processor_flags() -> set[str]:
    """What Linux says that the processor can do; nothing elsewhere."""
    file = Path("/proc/cpuinfo")
    return set(file.read_text().split()) if file.exists() else set()


def output(session: nox.Session, *command: str, external: bool = False) -> str:
    """What a command prints; it is printed only if the command fails."""
    return str(session.run(*command, silent=True, external=external) or "").strip()
