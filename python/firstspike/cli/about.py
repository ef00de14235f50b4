"""`firstspike data` and `firstspike doctor`: data sets, and what is installed and in use."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from typing import Annotated, Any

import typer

from ._shared import AsJson, DataFolder, Offline, errors

# The optional packages by what they serve.
OPTIONAL = {
    "the data set digits": ("scikit-learn",),
    "CIFAR-10 and CIFAR-100": ("torchvision",),
    "DVS Gesture": ("tonic",),
    "folders of images": ("pillow",),
    "pictures and reports": ("matplotlib", "jinja2", "markdown-it-py"),
    "exchange of nets through NIR": ("nir",),
}
REQUIRED = ("firstspike", "torch", "numpy", "safetensors")


def data_command(
    names: Annotated[list[str] | None, typer.Argument(help="By default digits, mnist, fashion-mnist.")] = None,
    data: DataFolder = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Find, fetch and check data sets."""
    rows: list[dict[str, Any]] = []
    with errors():
        from .. import data as data_sets

        options: dict[str, Any] = {"root": data, "download": False if offline else None}
        for name in names or ["digits", "mnist", "fashion-mnist"]:
            try:
                train, test = (data_sets.load(name, train=part, **options) for part in (True, False))
                facts = {"train": len(train), "test": len(test), "shape": train.input_shape, "source": train.source}
                rows.append({"name": name, "available": True, **facts})
            except data_sets.NotAvailable as error:
                rows.append({"name": name, "available": False, "error": str(error)})
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        for row in rows:
            if row["available"]:
                shape = " x ".join(map(str, row["shape"]))
                typer.echo(f"{row['name']}: {row['train']} + {row['test']} images of {shape}, from {row['source']}")
            else:
                typer.echo(f"error: {row['error']}", err=True)
    if not all(row["available"] for row in rows):
        raise typer.Exit(1)


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

    from .. import backends, data

    compiled = backends()
    versions = {name: _version(name) for names in (REQUIRED, *OPTIONAL.values()) for name in names}
    installed = {name: version or "not installed" for name, version in versions.items()}
    report: dict[str, Any] = {
        "packages": {"python": platform.python_version(), **installed},
        "cpu": compiled["cpu"],
        "cuda": {**compiled["cuda"], "torch_sees": torch.cuda.is_available()},
        "data": {
            "cache": str(data.cache_root()),
            "folder": os.environ.get("FIRSTSPIKE_DATA") or "none (FIRSTSPIKE_DATA is not set)",
            "offline": data.offline(),
        },
    }
    lacking = {purpose: " ".join(n for n in names if versions[n] is None) for purpose, names in OPTIONAL.items()}
    packages = [f"for {purpose}: pip install {names}" for purpose, names in lacking.items() if names]
    return report | {"advice": _advice(report["cpu"], report["cuda"]) + packages}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _advice(cpu: dict[str, Any], cuda: dict[str, Any]) -> list[str]:
    lines, cores = [], cpu["cores"]
    if cpu["instruction_set"] == "generic" and platform.machine().lower() in ("x86_64", "amd64"):
        lines.append("the generic kernels are in use: install a build for x86-64, which is several times as fast")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # processes that run or wait for a core
    if load <= cores and cpu["threads"] < cores:
        lines.append(f"torch uses {cpu['threads']} of {cores} cores: set OMP_NUM_THREADS={cores}")
    elif load > cores and cpu["threads"] > 1 and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive":
        busy = f"the load is {load:.1f} on {cores} cores, and waiting threads spin"
        lines.append(f"{busy}: set OMP_WAIT_POLICY=PASSIVE, or OMP_NUM_THREADS=1, before Python starts")
    if cuda["torch_sees"] and not cuda["available"]:
        lines.append(f"torch sees a CUDA device that firstspike does not use: {cuda['reason']}")
    return lines
