"""`firstspike doctor`: what is installed, which kernels and devices are in use, and what to do about the rest."""

from __future__ import annotations

import json

import typer

from ._shared import AsJson, errors


def doctor_command(as_json: AsJson = False) -> None:
    """Say what is installed, which kernels, threads and devices are in use and why, and what to do."""
    with errors():
        from ..diagnosis import diagnosis

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
