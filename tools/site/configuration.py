"""Lists of all keys of a TOML file, of a training run and of a chip profile, from the dataclasses that read them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection

from pydantic import BaseModel

from firstspike.emulator import Profile, profile
from firstspike.models import build
from firstspike.train import Augmentation, Config

HEAD = """# Keys of a run's TOML file

`firstspike train run.toml` reads one table of these keys; `--set KEY=VALUE` overrides one. A misspelt key is refused. The same
names are the arguments of `firstspike.train.Config`. `spec` is required; every other key may be left out. The text `"none"`
stands for nothing, as in `affine = "none"`.

"""

CHIP = """# Keys of a chip profile

A profile is a TOML file; pass its path where the name of a profile is expected.
[Write a chip profile](howto/deploy.md#write-a-chip-profile) says how to begin, and [Examples](examples.md) has a complete file.
`name` and `description` are texts. Every other key is a table with a value and its source:

```toml
[weight_bits]
value = 8
source = "data sheet, table 3"
```

What no source gives is `unknown = true` with a source that says so. `step_nanoseconds` has `low` and `high` in place of `value`.
[Emulator specification](emulator.md) says what each one does.

{profile}

Each `[[cores]]` is a kind of core. A limit that is left out is not checked.

{cores}
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
    """The keys of a run, as Markdown."""
    assert dataclasses.is_dataclass(Augmentation)
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in rows(Config):
        default = "required" if key == "spec" else default  # "" stands in Python where a net is given
        lines.append(f"| `{key}` | {kind.replace('None', 'nothing')} | {default} | {_cell(meaning)} |")
    return HEAD + "\n".join(lines) + "\n"


def chip_page() -> str:
    """The keys of a chip profile, as Markdown."""
    return CHIP.format(profile=_meanings(Profile, {"cores", "sources"}), cores=_meanings(profile.CoreKind))


def _meanings(kind: type[BaseModel], without: Collection[str] = ()) -> str:
    lines = ["| key | required | meaning |", "|---|---|---|"]
    meanings = described(inspect.getdoc(kind) or "")
    for name, field in kind.model_fields.items():
        if name not in without:
            required = "yes" if field.is_required() else "no"
            lines.append(f"| `{name}` | {required} | {_cell(meanings[name]).replace('None', '`unknown`')} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
