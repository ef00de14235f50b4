"""`firstspike doctor` and `firstspike backends`: what is installed, what is in use, and what to do about the rest."""

from __future__ import annotations

import json
from typing import Any

import typer

from ._shared import AsJson, errors


def doctor_command(as_json: AsJson = False) -> None:
    """Say what is installed, which kernels, threads and devices are in use, and what to do."""
    with errors():
        from ..diagnosis import diagnosis

        found = diagnosis()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for section, facts in found.items():
        if section == "advice":
            continue
        typer.echo(section)
        _print(facts)
    typer.echo("advice")
    for line in found["advice"] or ["nothing to do"]:
        typer.echo(f"  {line}")


def backends_command(as_json: AsJson = False) -> None:
    """Show what is compiled, which instruction set and device is in use, and why."""
    with errors():
        from .._base.kernels import backends

        found = backends()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, facts in found.items():
        typer.echo(name)
        _print(facts)


def _print(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"  {name.replace('_', ' '):<16} {text}")
