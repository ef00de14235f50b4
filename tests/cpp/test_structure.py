"""Files and sections that the comments of the C++ code name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp"
FILES = sorted(p for p in CPP.rglob("*") if p.suffix in (".h", ".cpp", ".cu") and p.is_file())
FILE_NAME = re.compile(r"(?<![\w/.])((?:[\w-]+/)*[\w-]+\.(?:h|cpp|cuh|cu|py|md|toml|txt))\b")
# Of other projects, or made by the build.
FOREIGN = {"github.com/dmlc/dlpack"}


def comments(path: Path) -> str:
    """The text of a file's comments."""
    if path.suffix == ".md":
        return path.read_text()
    return "\n".join(re.findall(r"//(.*)$", path.read_text(), re.MULTILINE))


def missing(path: Path, text: str) -> list[str]:
    """Names of files in a text that are nowhere: not beside the file, nor below one of its parents, nor from the root."""
    folders = [path.parent, *(p for p in path.parents if p.is_relative_to(CPP)), ROOT]
    names = set(FILE_NAME.findall(text))
    return sorted(name for name in names if not any((folder / name).is_file() for folder in folders))


def test_missing_files_are_found() -> None:
    text = "as in core/layer.h, plan.h and docs/model.md, but gone.h, core/gone.h and docs/gone.md are no files"
    assert missing(CPP / "cpu" / "layer" / "x.h", text) == ["core/gone.h", "docs/gone.md", "gone.h"]


@pytest.mark.parametrize("path", [*FILES, CPP / "README.md"], ids=lambda p: str(p.relative_to(CPP)))
def test_named_files_exist(path: Path) -> None:
    assert missing(path, comments(path)) == []


def test_sections_of_the_model_exist() -> None:
    model = ROOT / "docs" / "model.md"
    titles = {title.strip() for title in re.findall(r"^#+ (.*)$", model.read_text(), re.MULTILINE)}
    cited = {
        " ".join(section.split())
        for path in FILES
        for section in re.findall(r'docs/model\.md, section\s+"([^"]+)"', re.sub(r"\n\s*//", "", path.read_text()))
    }
    assert "Neuron" in cited and cited <= titles
