"""`firstspike doctor`: what is installed, which kernels and devices are in use, and what to do about the rest."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from typing import Any

import typer

from ._shared import AsJson, errors

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


def doctor_command(as_json: AsJson = False) -> None:
    """Say what is installed, which kernels, threads and devices are in use and why, and what to do."""
    with errors():
        report = diagnosis()
        if as_json:
            typer.echo(json.dumps(report))
            return
        advice = report.pop("advice") or ["nothing to do"]
        for section, facts in report.items():
            typer.echo(section)
            for name, value in facts.items():
                text = ", ".join(map(str, value)) if isinstance(value, list) else value
                typer.echo(f"  {name.replace('_', ' '):<16} {text}")
        typer.echo("\n  ".join(["advice", *advice]))


def diagnosis() -> dict[str, Any]:
    """Facts by section ("packages", "cpu", "cuda", "data") and, under "advice", what to do, one line each."""
    import torch

    from .. import backends, data, provenance

    compiled, cores = backends(), provenance.cores()
    versions = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    installed = {name: version or "not installed" for name, version in versions.items()}
    report: dict[str, Any] = {
        "packages": {"python": platform.python_version(), **installed},
        "cpu": {**compiled["cpu"], "name": provenance.processor(), "cores": cores},
        "cuda": {**compiled["cuda"], "torch_sees": torch.cuda.is_available()},
        "data": {
            "cache": str(data.cache_root()),
            "folder": os.environ.get("FIRSTSPIKE_DATA") or "none (FIRSTSPIKE_DATA is not set)",
            "offline": data.offline(),
        },
    }
    lacking: dict[str, list[str]] = {}
    for name, purpose in OPTIONAL.items():
        if versions[name] is None:
            lacking.setdefault(purpose, []).append(name)
    packages = [f"for {purpose}: pip install {' '.join(names)}" for purpose, names in lacking.items()]
    return report | {"advice": _advice(report["cpu"], report["cuda"], cores) + packages}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _advice(cpu: dict[str, Any], cuda: dict[str, Any], cores: int) -> list[str]:
    lines = []
    if cpu["instruction_set"] == "generic" and platform.machine().lower() in ("x86_64", "amd64"):
        lines.append("the generic kernels are in use: install a build for x86-64, which is several times as fast")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # processes that run or wait for a core
    if load <= cores and cpu["threads"] < cores:
        lines.append(f"{cpu['threads']} of {cores} cores are used: set OMP_NUM_THREADS={cores}")
    elif load > cores and cpu["threads"] > 1 and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive":
        busy = f"the load is {load:.1f} on {cores} cores, and waiting threads spin"
        lines.append(f"{busy}: set OMP_WAIT_POLICY=PASSIVE, or OMP_NUM_THREADS=1, before Python starts")
    if cuda["torch_sees"] and not cuda["available"]:
        lines.append(f"torch sees a CUDA device that firstspike does not use: {cuda['reason']}")
    return lines
