"""`firstspike data`: find, fetch and check data sets."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ._shared import AsJson, DataFolder, Offline, errors


def data_command(
    names: Annotated[list[str] | None, typer.Argument(help="By default digits, mnist, fashion-mnist.")] = None,
    data: DataFolder = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Find, fetch and check data sets."""
    found: list[dict[str, Any]] = []
    with errors({"^name must": "NAMES must"}):
        from .. import data as data_sets

        for name in names or ["digits", "mnist", "fashion-mnist"]:
            try:
                parts = [
                    data_sets.load(name, root=data, train=train, download=False if offline else None)
                    for train in (True, False)
                ]
            except data_sets.NotAvailable as error:
                found.append({"name": name, "available": False, "error": str(error)})
                continue
            shape = list(parts[0].input_shape)
            found.append(
                {"name": name, "available": True, "train": len(parts[0]), "test": len(parts[1]), "shape": shape,
                 "source": parts[0].source}
            )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print(found)
    if not all(entry["available"] for entry in found):
        raise typer.Exit(1)


def _print(found: list[dict[str, Any]]) -> None:
    for entry in found:
        if entry["available"]:
            shape = " x ".join(map(str, entry["shape"]))
            images = f"{entry['train']} + {entry['test']} images of {shape}"
            typer.echo(f"{entry['name']}: {images}, from {entry['source']}")
    for entry in found:
        if not entry["available"]:
            typer.echo(f"error: {entry['error']}", err=True)
