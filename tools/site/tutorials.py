"""Tutorials: scripts with jupytext's cells become pages with their code and what each cell prints and draws."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import pandas as pd

from firstspike.report import write_svg
from tools.tables import markdown

FOLDER = "docs/tutorials"


def pages(root: Path) -> dict[str, str]:
    """The address of each tutorial's page in the site, by its file in the repository."""
    return {f"{FOLDER}/{path.name}": f"tutorials/{path.stem}.md" for path in sorted((root / FOLDER).glob("*.py"))}


def page(script: Path, pictures: Path) -> str:
    """Run a tutorial in an empty folder; its page as Markdown, its pictures go to the folder `pictures`."""
    namespace: dict[str, Any] = {"__name__": script.stem}
    parts, drawn = [], 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for cell in jupytext.read(script).cells:
            if cell.cell_type == "markdown":
                parts.append(cell.source)
                continue
            parts.append(f"```python\n{cell.source}\n```")
            printed, value = run(cell.source, namespace)
            if printed:
                parts.append(f"```text\n{printed.rstrip()}\n```")
            if isinstance(value, pd.DataFrame):
                parts.append(markdown(value.round(4)))
            elif hasattr(value, "savefig"):
                drawn += 1
                name = f"{script.stem}-{drawn}.svg"
                write_svg(value, pictures / name)
                parts.append(f"![]({os.path.relpath(f'docs/pictures/{name}', FOLDER)})")
    parts.append(f"[{script.name}]({script.name}) is this page as a script; `jupytext --to ipynb` makes a notebook of it.")
    return "\n\n".join(parts) + "\n"


def run(source: str, namespace: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop()
    if not isinstance(last, ast.Expr):
        tree.body.append(last)
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
    return printed.getvalue(), value
