"""Builds the CUDA kernels for the processor, on the stand-in device of `host/device_on_host.h`."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(__file__).parent / "host"
NAME = "firstspike_cuda_on_host"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-psabi"]
# The stand-in jumps between stacks, which fortified functions refuse.
OPTIONS = ["-std=c++20", "-O1", "-fPIC", "-fvisibility=hidden", *WARNINGS, "-U_FORTIFY_SOURCE"]


def sources() -> list[Path]:
    """What the module is made of."""
    own = sorted((ROOT / "cpp" / "cuda").glob("*.cu"))
    return [*own, ROOT / "cpp/bindings/cuda.cpp", HOST / "module.cpp"]


def build(folder: Path) -> ModuleType:
    """Compile and import the module, once for all processes that name the same folder.

    Skips the test where there is no C++ compiler or no pybind11.
    """
    library = folder / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            compile_into(folder, library)
    return load(library)


def compile_into(folder: Path, library: Path) -> None:
    """Compile all sources and link them."""
    pybind11 = pytest.importorskip("pybind11")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler at hand to build the CUDA kernels for the processor")
    include = [f"-I{path}" for path in (HOST, pybind11.get_include(), sysconfig.get_paths()["include"])]
    objects = []
    for source in sources():
        objects.append(folder / f"{source.name}.o")
        run([compiler, *OPTIONS, *include, "-x", "c++", "-c", str(source), "-o", str(objects[-1])])
    run([compiler, "-shared", "-o", str(library), *map(str, objects)])


def load(library: Path) -> ModuleType:
    """Import a built module."""
    spec = importlib.util.spec_from_file_location(NAME, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


def run(command: list[str]) -> None:
    """Run a compiler; its messages are the error's."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{result.stderr}")
