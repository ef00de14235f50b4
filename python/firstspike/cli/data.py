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
