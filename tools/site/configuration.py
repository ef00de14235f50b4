"""The list of all keys of a training run's TOML file, from the dataclass that reads it."""

from __future__ import annotations

import dataclasses
import inspect
import re

from firstspike.models import build
from firstspike.train import Augmentation, Config

HEAD = """# Keys of a run's TOML file

`firstspike train run.toml` reads one table of these keys; `--set KEY=VALUE` overrides one. A misspelt key is refused. The same
names are the arguments of `firstspike.train.Config`. Where no default is given the key is required; "default of `models.build`"
means that the key may be left out.

"""


def described(text: str) -> dict[str, str]:
    """Name to description, of the lines "name: text" and "a, b: text" of a docstring, with those that go on below them."""
    found: dict[str, str] = {}
    names: list[str] = []
    text = re.sub(r"(?<=\.) (?=[a-z_]+(?:, [a-z_]+)*: )", "\n", text.rpartition("Attributes:\n")[2])
    for line in text.splitlines():
        start = re.match(r"(?:    )?([a-z_]+(?:, [a-z_]+)*): (.+)", line)
        if start:
            names = start[1].split(", ")
            found.update(dict.fromkeys(names, start[2]))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        else:
            names = []
    return found


def rows(kind: type, prefix: str = "") -> list[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every field."""
    meanings = described(inspect.getdoc(build) or "") | described(inspect.getdoc(kind) or "")
    made = []
    for entry in dataclasses.fields(kind):
        if dataclasses.is_dataclass(entry.default_factory):
            made += rows(entry.default_factory, f"{prefix}{entry.name}.")
            continue
        default = "required" if entry.default is dataclasses.MISSING else toml(entry.default)
        made.append((f"{prefix}{entry.name}", str(entry.type).replace(" | ", " or "), default, meanings[entry.name]))
    return made


def toml(value: object) -> str:
    """A default as it would stand in the file."""
    if value is None:
        return "default of `models.build`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def page() -> str:
    """The page as Markdown."""
    assert dataclasses.is_dataclass(Augmentation)
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in rows(Config):
        lines.append(
            f"| `{key}` | {kind.replace('None', 'nothing')} | {default} | {meaning.replace('|', chr(92) + '|')} |"
        )
    return HEAD + "\n".join(lines) + "\n"
