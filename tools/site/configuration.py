"""Lists of all keys of a TOML file, of a training run and of a chip profile, from the classes that read them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from firstspike.emulator import profile
from firstspike.models import build
from firstspike.train import Config

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


_ENTRY = re.compile(r"( *)([a-z_]+(?:, [a-z_]+)*) ?: (.+)")
_TYPE = re.compile(r"(str|int|float|bool|tuple|Surrogate|Generator)\b[^.]*")  # alone on its line, in a section of Parameters


def described(text: str) -> dict[str, str]:
    """Name to description, of the entries "a, b : text" of a docstring, with the deeper lines that continue them."""
    found: dict[str, str] = {}
    names: list[str] = []
    indent = 0
    for line in re.sub(r"(?<=\.) (?=[a-z_]+(?:, [a-z_]+)* ?: )", "\n", text).splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() and names and depth > indent:
            found.update({name: f"{found[name]} {line.strip()}".strip() for name in names})
        elif entry := _ENTRY.fullmatch(line):
            names, indent = entry[2].split(", "), depth
            found.update(dict.fromkeys(names, "" if _TYPE.fullmatch(entry[3]) else entry[3]))
        else:
            names = []
    return found


def fields(kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, type, default) of each setting; the default of a required one is `...`."""
    for name, field in kind.model_fields.items():
        yield name, field.annotation, ... if field.is_required() else field.get_default(call_default_factory=True)


def typed(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(dict.fromkeys(type(value).__name__ for value in arguments))
    if origin is Annotated:
        return typed(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(typed, arguments)))
    return "None" if annotation is NoneType else str(getattr(annotation, "__name__", annotation))


def rows(kind: Any, prefix: str = "") -> list[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every field."""
    mine = described(inspect.getdoc(kind) or "")
    meanings = described(inspect.getdoc(build) or "") | {n: m for n, m in mine.items() if not m.startswith("as in")}
    made = []
    for name, annotation, default in fields(kind):
        if hasattr(annotation, "model_fields"):
            made += rows(annotation, f"{prefix}{name}.")
        else:
            made.append((f"{prefix}{name}", typed(annotation), toml(default), meanings[name]))
    return made


def toml(value: object) -> str:
    """A default as it would stand in the file."""
    if value is ...:
        return "required"
    if value is None:
        return "default of `models.build`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def page() -> str:
    """The keys of a run, as Markdown."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in rows(Config):
        default = "required" if key == "spec" else default  # "" stands in Python where a net is given
        lines.append(f"| `{key}` | {kind.replace('None', 'nothing')} | {default} | {_cell(meaning)} |")
    return HEAD + "\n".join(lines) + "\n"


def chip_page() -> str:
    """The keys of a chip profile, as Markdown."""
    return CHIP.format(profile=_meanings(profile.Profile, {"cores", "sources"}), cores=_meanings(profile.CoreKind))


def _meanings(kind: Any, without: Collection[str] = ()) -> str:
    lines = ["| key | required | meaning |", "|---|---|---|"]
    meanings = described(inspect.getdoc(kind) or "")
    for name, _, default in fields(kind):
        if name not in without:
            meaning = _cell(meanings[name]).replace("None", "`unknown`")
            lines.append(f"| `{name}` | {'yes' if default is ... else 'no'} | {meaning} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
