"""Everything public is on an API page, and every class and function there has an example, which runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

import firstspike

API = Path(__file__).resolve().parents[2] / "docs" / "api"
#: What an example may use without an import; docs/api/index.md says so.
ASSUMED = re.search(r"```python\n(.*?)```", (API / "index.md").read_text(), re.DOTALL)


def shown() -> list[str]:
    """The names behind `:::` on the API pages."""
    return re.findall(r"^::: (firstspike\S*)", "\n".join(page.read_text() for page in API.glob("*.md")), re.MULTILINE)


def found_at(name: str) -> Any:
    """The module or object of a dotted name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        part, _, last = name.rpartition(".")
        return getattr(found_at(part), last)


def members(module: ModuleType) -> list[str]:
    """What a module offers: its `__all__`, or all that it defines under names without underscore."""
    own = [n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", "") == module.__name__]
    return list(getattr(module, "__all__", own))


def public() -> Iterator[tuple[str, Any]]:
    """(name, object) of every class and function that an API page shows."""
    for name in shown():
        part = found_at(name)
        pairs = [(f"{name}.{n}", getattr(part, n)) for n in members(part)] if inspect.ismodule(part) else [(name, part)]
        yield from ((n, found) for n, found in pairs if inspect.isfunction(found) or inspect.isclass(found))


def examples() -> Iterator[tuple[str, doctest.DocTest]]:
    """(name, docstring test) of all that have one."""
    for name, found in public():
        names = vars(importlib.import_module(found.__module__)) | assumed()
        for test in doctest.DocTestFinder(recurse=False).find(found, name=name, globs=names):
            yield name, test


def assumed() -> dict[str, Any]:
    """The names that docs/api/index.md imports for all examples."""
    assert ASSUMED is not None
    names: dict[str, Any] = {}
    exec(ASSUMED[1], names)
    return names


EXAMPLES = [(name, test) for name, test in examples() if test.examples]


def test_everything_public_is_on_an_api_page() -> None:
    on_pages = set(shown())
    assert on_pages <= {f"firstspike.{name}" for name in firstspike.__all__} | {
        "firstspike.energy",
        "firstspike.emulator.profile",
        "firstspike.emulator.program.nir",
        "firstspike.emulator.qat",
    }
    names = set(firstspike.__all__) - {"__version__"}
    assert sorted(name for name in names if f"firstspike.{name}" not in on_pages) == []


def test_every_public_object_has_an_example() -> None:
    with_one = {name for name, _ in EXAMPLES}
    assert len(with_one) > 140
    assert sorted(name for name, _ in public() if name not in with_one) == []


def test_every_public_object_lists_its_parameters() -> None:
    """By names that the signature has; the site gives the functions of `reference` the meanings of their twins."""
    missing = {}
    for name, found in public():
        if name.startswith("firstspike.reference") or (inspect.isclass(found) and issubclass(found, BaseException)):
            continue
        parameters = inspect.signature(found).parameters.values()
        taken = {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
        text = re.split(r"^(?:Parameters|Attributes)\n-+\n", inspect.getdoc(found) or "", flags=re.MULTILINE)
        entries = re.findall(r"^([\w, ]+) : ", "\n".join(text[1:]), re.MULTILINE)
        if lacking := taken - set(", ".join(entries).split(", ")):
            missing[name] = lacking
    assert missing == {}


def test_examples_stand_in_their_section_and_none_is_skipped() -> None:
    """A `>>>` elsewhere becomes a quotation on the page."""
    texts = {name: inspect.getdoc(found) or "" for name, found in public()}
    texts |= {name: inspect.getdoc(found_at(name)) or "" for name in shown()}
    before = {name: text.partition("Examples\n--------\n")[0] for name, text in texts.items()}
    assert sorted(name for name, text in before.items() if re.search(r"^ {0,3}>>>", text, re.MULTILINE)) == []
    assert sorted(name for name, text in texts.items() if "+SKIP" in text) == []


@pytest.mark.parametrize(("name", "test"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_example_runs(name: str, test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    torch.manual_seed(0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with np.printoptions(legacy=False):
        result = runner.run(test, out=said.append)
    assert result.failed == 0, "".join(said)
