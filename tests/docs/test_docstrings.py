"""Every public class and function of the main parts of the package has an example, and the examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import firstspike

MODULES = ["", "functional", "encode", "decode", "init", "surrogate", "nn", "models"]
# Types for annotations and bases that are not made on their own.
PLAIN = {"Affine", "FiringLayer", "InferenceNet", "Observation", "Prepacked", "Synapse"}


def public() -> Iterator[tuple[str, Any]]:
    """(name, object) of every public function and class."""
    for module in MODULES:
        part = importlib.import_module(f"firstspike.{module}" if module else "firstspike")
        names = getattr(part, "__all__", None) or [n for n in vars(part) if not n.startswith("_")]
        for name in names:
            found = getattr(part, name)
            if (inspect.isfunction(found) or inspect.isclass(found)) and defined_in(found, part):
                yield f"{module}.{name}".lstrip("."), found


def defined_in(found: Any, part: Any) -> bool:
    """Whether a part of the package defines an object, or lists it as its own."""
    return found.__module__ == part.__name__ or (hasattr(part, "__all__") and found.__module__.startswith("firstspike"))


def examples() -> Iterator[tuple[str, Any]]:
    """(name, docstring tests) of all that have some."""
    for name, found in public():
        made = names_in_examples(found)
        for test in doctest.DocTestFinder(recurse=False).find(found, name=name, globs=made):
            yield name, test


def names_in_examples(found: Any) -> dict[str, Any]:
    """What an example may use without an import: torch, the package's parts, and the names of its own module."""
    own = vars(importlib.import_module(found.__module__))
    parts = {name: getattr(firstspike, name) for name in ("SpikeTimes", *filter(None, MODULES))}
    return {**parts, **{n: getattr(firstspike.models, n) for n in ("mlp", "build")}, **own, "torch": torch}


def test_every_public_object_has_an_example() -> None:
    with_one = {name for name, test in examples() if test.examples}
    assert len(with_one) > 40
    lacking = sorted(name for name, _ in public() if name not in with_one and name.rpartition(".")[2] not in PLAIN)
    assert lacking == []


@pytest.mark.parametrize(("name", "test"), [pair for pair in examples() if pair[1].examples], ids=str)
def test_example_runs(name: str, test: doctest.DocTest) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    result = runner.run(test, out=said.append)
    assert result.failed == 0, "".join(said)
