"""The gallery: every script of examples/, with what its docstring says."""

from __future__ import annotations

import ast
from pathlib import Path

HEAD = """# Examples

Short scripts that run as they stand, each run by the tests. They lie in the folder `examples` of the repository, beside the
settings of three runs for `firstspike train`, and a chip profile with its energy table.

"""
ORDER = ("mnist", "own_loop", "events", "residual", "compile", "with_lightning", "ddp")


def page(folder: Path) -> str:
    """The page as Markdown: first the scripts of `ORDER`, then the others by name."""
    scripts = {path.stem: path.read_text() for path in sorted(folder.glob("*.py"))}
    names = sorted(scripts, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    parts = []
    for name in names:
        words = _plain(ast.get_docstring(ast.parse(scripts[name])) or "")
        code = scripts[name].partition('"""\n\n')[2]
        parts.append(f"## {name}.py\n\n{words}\n\n```python\n{code}```\n")
    files = [*sorted(folder.glob("*.toml")), *sorted(folder.glob("chip/*.toml"))]
    settings = (f"## {path.relative_to(folder).as_posix()}\n\n```toml\n{path.read_text()}```\n" for path in files)
    return HEAD + "\n".join([*parts, *settings])


def _plain(words: str) -> str:
    """A docstring in which a star is a star, and no emphasis, apart from its indented code."""
    return "\n".join(line if line.startswith("    ") else line.replace("*", r"\*") for line in words.splitlines())
