"""Builds the package with its CUDA module, for the Python that runs, without touching the sources or an installed copy."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from tools import ROOT

FOLDER = ROOT / "build" / "gpu"
SITE = FOLDER / "site"


def obstacle() -> str | None:
    """Why nothing can be measured here; None where all is at hand."""
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    missing = [tool for tool in ("cmake", "nvcc") if shutil.which(tool) is None]
    if missing or importlib.util.find_spec("pybind11") is None:
        return f"{', '.join([*missing, 'or pybind11'])} is missing to build the CUDA module"
    return None


def build(architecture: str) -> Path:
    """Build and lay out the package; returns the folder for PYTHONPATH. architecture: as CMake names it, such as "90"."""
    import pybind11

    def run(*command: str) -> None:
        subprocess.run(command, check=True)

    options = {
        "FIRSTSPIKE_CUDA": "ON",
        "CMAKE_CUDA_ARCHITECTURES": architecture,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "CMAKE_INSTALL_PREFIX": str(SITE),
    }
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", str(ROOT), "-B", str(FOLDER), *generator, *(f"-D{k}={v}" for k, v in options.items()))
    run("cmake", "--build", str(FOLDER), "--parallel")
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "firstspike", SITE / "firstspike", ignore=shutil.ignore_patterns("*.so"))
    run("cmake", "--install", str(FOLDER))
    return SITE
