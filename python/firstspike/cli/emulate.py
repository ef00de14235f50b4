"""`firstspike emulate`: run a trained net on an emulated chip; its options are those of `firstspike.emulator.cli`."""

from __future__ import annotations

import typer


def emulate_command(context: typer.Context) -> None:
    """Run a trained net on an emulated neuromorphic chip."""
    from ..emulator.cli import emulate

    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(emulate)
    command(context.args, prog_name="firstspike emulate")
