"""Pages that the build of the documentation makes from the code."""

from __future__ import annotations

import re
from pathlib import Path

from tools.site import configuration, examples

from firstspike.emulator.program.profile import CoreKind, Profile
from firstspike.train import Config

ROOT = Path(__file__).resolve().parents[2]


def keys(page: str) -> list[str]:
    return re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)


def test_every_key_of_a_run_is_described() -> None:
    listed = keys(configuration.page())
    assert {*Config.model_fields} - {"augmentation"} <= set(listed)
    assert "augmentation.shift" in listed


def test_every_key_of_a_chip_profile_is_described() -> None:
    page = configuration.chip_page()
    made = {"cores", "sources"}
    assert keys(page) == [*(name for name in Profile.model_fields if name not in made), *CoreKind.model_fields]
    assert "{" not in page


def test_every_example_is_in_the_gallery() -> None:
    folder = ROOT / "examples"
    page = examples.page(folder)
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE)[0] == "mnist.py"
    for path in folder.rglob("*"):
        if path.suffix in {".py", ".toml"}:
            assert f"## {path.relative_to(folder).as_posix()}\n" in page and path.read_text().rstrip()[-40:] in page
