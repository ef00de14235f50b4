"""What docs/model.md cites exists, and what cites docs/model.md finds its section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "model.md").read_text()
SECTIONS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)


def test_the_sections_that_code_cites_exist() -> None:
    cited = {
        name
        for folder in ("cpp", "python", "tests", "benchmarks", "paper", "tools")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".h", ".cpp", ".cu", ".md"}
        for name in re.findall(r'docs/model\.md,\W+section\W+"([^"]+)"', path.read_text())
    }
    assert cited and cited <= set(SECTIONS)


@pytest.mark.parametrize("row", re.findall(r"^\| [^|]+ \| [^|]*`[^|]* \| [^|]*`[^|]* \|$", PAGE, re.MULTILINE))
def test_symbols_stand_in_the_file_beside_them(row: str) -> None:
    _, symbols, files = (cell.strip() for cell in row.strip("|").split("|"))
    named = [ROOT / name for name in re.findall(r"`([^`]+/[^`]+)`", files)]
    sources = [file for place in named for file in (place.rglob("*.*") if place.is_dir() else [place])]
    text = "".join(file.read_text() for file in sources)
    assert text, f"{files} names no file"
    for symbol in re.findall(r"`([\w.]+)", symbols):
        assert symbol.split(".")[-1] in text, f"{symbol} is not in {files}"
