"""How near the machine's processors are to each other (neighbours.cpp)."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = ("-O3", "-std=c++20", "-march=native", "-mprefer-vector-width=512", "-Wno-psabi", "-pthread")
NEAR = 100  # nanoseconds one way: less through a shared cache, more between two
TRIES = 10


class Neighbours:
    """The first two processors, kept near to each other, and a note of how near they were.

    Those of a virtual machine are threads of its host, which moves them: at one time they share a cache, at another
    they do not, and what one writes takes five times as long to the other.
    """

    def __init__(self) -> None:
        self._seen: list[float] = []
        self._known = True

    def bring(self) -> None:
        """Try to bring them near, where they are not; nothing where that cannot be known (no Linux, no compiler)."""
        try:
            if self._known:
                self._seen.append(float(_run("neighbours", NEAR, TRIES)))
        except RuntimeError:
            self._known = False

    def take(self) -> list[float]:
        """Nanoseconds that a cache line took one way, after each `bring` since the last call."""
        seen, self._seen = self._seen, []
        return seen


def _run(name: str, *arguments: object) -> str:
    command = [str(_compiled(name)), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@functools.cache
def _compiled(name: str) -> Path:
    """The program of a source beside this file; removed when this process ends. RuntimeError where it cannot be made."""
    source, folder = FOLDER / f"{name}.cpp", tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    compiler = os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "c++").split()[0]
    flags = list(FLAGS) if os.uname().machine == "x86_64" else [f for f in FLAGS if "width" not in f]
    program = Path(folder) / name
    try:
        subprocess.run([compiler, *flags, str(source), "-o", str(program)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"cannot compile {source} with {compiler}: {getattr(error, 'stderr', error)}") from error
    return program
