"""`python -m firstspike` is the command `firstspike`."""

from .cli import app

app(prog_name="firstspike")
