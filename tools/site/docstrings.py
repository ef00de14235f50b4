"""Docstrings for the site: one line per parameter, `name : meaning`, becomes a table with types and defaults of the signature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import griffe

SECTION = re.compile(r"^(Parameters|Attributes|Returns|Raises|Examples)\n-{3,}\n", re.MULTILINE)
EXAMPLES = re.compile(r"^Examples:?$", re.MULTILINE)
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \w+)*) : (.*)$")
#: A shorter text behind a name, with an indented line below, is a type, which the signature has.
SHORT = 45
#: Modules whose functions explain the parameters of their readable twins in `firstspike.reference`.
TWINS = ("functional", "decode", "encode")
#: With these begin docstrings that say what a function does, not what it returns.
VERBS = {
    "Add", "Build", "Change", "Collect", "Compute", "Convert", "Copy", "Count", "Draw", "Drop", "Join", "Load", "Make", "Measure",
    "Put", "Raise", "Read", "Report", "Run", "Set", "Split", "Train", "Write",
}  # fmt: skip
DEFAULTS = {"_TRIANGLE": "triangle()"}


class Sections(griffe.Extension):  # type: ignore[misc, unused-ignore]  # griffe need not be installed
    """NumPy sections with one line per parameter, as Google sections, which take types from the signature."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite every docstring of the package; give the functions of `reference` the meanings of their twins."""
        meanings: dict[str, str] = {}
        for name in TWINS:
            for function in pkg[name].functions.values():
                if function.docstring and not function.is_alias:
                    for key, meaning in explained(function.docstring.value):
                        meanings.setdefault(key, meaning)
        for function in pkg["reference"].functions.values():
            if function.docstring and "Parameters\n" not in function.docstring.value:
                add_parameters(function, meanings)
        for item in walk(pkg):
            if item.docstring:
                if item.is_function and str(item.returns) not in ("None", ""):
                    add_returns(item)
                item.docstring.value = google(item.docstring.value)
            for parameter in item.parameters if item.is_function else ():
                parameter.default = DEFAULTS.get(str(parameter.default), parameter.default)


def walk(item: Any) -> Iterator[Any]:
    """All modules, classes and functions."""
    for member in item.members.values():
        if not member.is_alias:
            yield member
            if member.is_module or member.is_class:
                yield from walk(member)


def sections(text: str) -> list[tuple[str, list[str]]]:
    """(title, lines) of each section, the first without a title."""
    parts = SECTION.split(text.replace("Examples:\n", "Examples\n--------\n"))
    return [
        ("", [parts[0].rstrip()]),
        *((t, b.rstrip().splitlines()) for t, b in zip(parts[1::2], parts[2::2], strict=True)),
    ]


def explained(text: str) -> list[tuple[str, str]]:
    """(name, meaning) of each parameter of a docstring that explains it rather than refers to another function."""
    lines = [line for title, lines in sections(text) if title == "Parameters" for line in lines]
    pairs = (line.split(": ", 1) for line in " ".join(listed(lines)).replace(" \0", "\n").strip("\0").splitlines())
    return [(name, meaning) for name, meaning in pairs if meaning and not meaning.startswith("as in")]


def add_parameters(function: griffe.Function, meanings: dict[str, str]) -> None:
    """A section Parameters in front of the examples."""
    assert function.docstring is not None
    lines = "\n".join(f"{each.name} : {meanings.get(each.name, 'see above.')}" for each in function.parameters)
    text = function.docstring.value
    found = EXAMPLES.search(text)
    place = found.start() if found else len(text)
    function.docstring.value = f"{text[:place]}Parameters\n----------\n{lines}\n\n{text[place:]}"


def add_returns(function: griffe.Function) -> None:
    """A section Returns, of the first sentence, in front of the examples of a function that has none."""
    assert function.docstring is not None
    text = function.docstring.value
    if "Returns\n---" in text or "property" in function.labels or "Yields\n---" in text:
        return
    first = " ".join(re.split(r"(?<=\.)\s|\n\n", text, maxsplit=1)[0].split())
    word, _, rest = first.partition(" ")
    meaning = rest if word == "Return" else "see above." if word in VERBS else first
    found = EXAMPLES.search(text)
    place = found.start() if found else len(text)
    function.docstring.value = f"{text[:place]}\n\nReturns\n-------\n{meaning}\n\n{text[place:]}"


def google(text: str) -> str:
    """A docstring with its NumPy sections as Google sections."""
    made = []
    for title, lines in sections(text):
        if title in ("Parameters", "Attributes", "Raises"):
            lines = [line.removeprefix("\0") for line in listed(lines)]
        if title == "Examples":
            lines = dedent("\n".join(lines)).splitlines()
        if title:
            name = "Args" if title == "Parameters" else title
            lines = [f"{name}:", *(f"    {line}" if line else "" for line in lines)]
        made.append("\n".join(lines))
    return "\n\n".join(made) + "\n"


def listed(lines: list[str]) -> Iterator[str]:
    """The entries of a section as lines; each name has its own, marked by a NUL, and the lines that follow it."""
    for number, line in enumerate(lines):
        match = ENTRY.match(line)
        if match is None and line.startswith(" "):
            continue  # it follows an entry
        names, meaning = match.groups() if match else (line, "")
        following = []
        for below in lines[number + 1 :]:
            if not below.startswith(" "):
                break
            following.append(below)
        if following and len(meaning) < SHORT:
            meaning = following[0].strip()
            following = following[1:]
        for name in names.split(", ") if match else [names]:
            yield f"\0{name}: {re.sub('^>', 'above', meaning)}"
            yield from following
