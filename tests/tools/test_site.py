"""Pages that the build of the documentation makes from the code."""

from __future__ import annotations

import re
from pathlib import Path

from tools.site import configuration, examples

from firstspike.emulator.program.profile import CoreKind, Profile, load
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
    assert keys(page) == [
        *(name for name in Profile.model_fields if name not in made),
        *CoreKind.model_fields,
    ]
    assert "{" not in page


def test_the_required_keys_of_a_chip_profile_are_enough(tmp_path: Path) -> None:
    full = load("generic8")
    required = re.findall(r"^\| `(\w+)` \| yes \|", configuration.chip_page(), re.MULTILINE)
    lines = [f'{name} = "mine"' for name in required[:2]]
    for name in required[2:-1]:
        value = getattr(full, name)
        text = (
            "unknown = true"
            if value is None
            else f"value = {str(value).lower() if value in (True, False) else repr(value)}"
        )
        lines += [f"[{name}]", text, 'source = "a test"']
    assert required[-1] == "count"
    lines += ["[[cores]]", "count = 2"]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines))
    assert load(path).cores == (CoreKind(count=2),)


def test_every_example_is_in_the_gallery() -> None:
    folder = ROOT / "examples"
    page = examples.page(folder)
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE)[0] == "mnist.py"
    for path in folder.rglob("*"):
        if path.suffix in {".py", ".toml"}:
            assert f"## {path.relative_to(folder).as_posix()}\n" in page and path.read_text().rstrip()[-40:] in page
    assert r"DIR/train/CLASS/\*.png" in page and "draw = torch.Generator()" in page
