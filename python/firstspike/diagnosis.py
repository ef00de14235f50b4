"""What this installation is made of, and what to do where something is missing."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

from ._base import provenance
from ._base.kernels import backends

# What an optional package serves.
OPTIONAL = {
    "scikit-learn": "the data set digits",
    "torchvision": "CIFAR-10 and CIFAR-100",
    "tonic": "DVS Gesture",
    "pillow": "folders of images",
    "matplotlib": "pictures and reports",
    "jinja2": "pictures and reports",
    "markdown-it-py": "pictures and reports",
    "nir": "exchange of nets through NIR",
}
REQUIRED = ("firstspike", "torch", "numpy", "safetensors")


def diagnosis() -> dict[str, Any]:
    """Facts by section ("packages", "cpu", "cuda", "data") and, under "advice", what to do, one line each."""
    from . import data

    compiled = backends()
    versions = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    cores = provenance.cores()
    found: dict[str, Any] = {
        "packages": {
            "python": platform.python_version(),
            **{name: version or "not installed" for name, version in versions.items()},
        },
        "cpu": {**compiled["cpu"], "name": provenance.processor(), "cores": cores},
        "cuda": {**compiled["cuda"], "torch_sees": torch.cuda.is_available()},
        "data": {
            "cache": str(data.cache_root()),
            "folder": os.environ.get("FIRSTSPIKE_DATA") or "none (FIRSTSPIKE_DATA is not set)",
            "offline": data.offline(),
        },
    }
    found["advice"] = _advice(found, versions, cores)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _load() -> float:
    """How many processes ran or waited for a core on average in the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _advice(found: dict[str, Any], versions: dict[str, str | None], cores: int) -> list[str]:
    lines = []
    cpu, cuda = found["cpu"], found["cuda"]
    if cpu["instruction_set"] == "generic" and platform.machine().lower() in ("x86_64", "amd64"):
        lines.append("the generic kernels are in use: install a build for x86-64, which is several times as fast")
    load = _load()
    if load > cores:
        if cpu["threads"] > 1 and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive":
            lines.append(
                f"the machine is busy, its load is {load:.1f} on {cores} cores, and threads wait for each other by spinning: set "
                "OMP_WAIT_POLICY=PASSIVE, or OMP_NUM_THREADS=1, before Python starts"
            )
    elif cpu["threads"] < cores:
        lines.append(
            f"{cpu['threads']} of {cores} cores are used: set OMP_NUM_THREADS={cores}, or threads in the settings"
        )
    if cuda["torch_sees"] and not cuda["available"]:
        lines.append(f"torch sees a CUDA device that firstspike does not use: {cuda['reason']}")
    lacking: dict[str, list[str]] = {}
    for name, purpose in OPTIONAL.items():
        if versions[name] is None:
            lacking.setdefault(purpose, []).append(name)
    lines += [f"for {purpose}: pip install {' '.join(names)}" for purpose, names in lacking.items()]
    return lines
