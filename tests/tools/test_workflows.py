"""The sessions that pages and workflows name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = {
    name
    for path in (ROOT / "tools" / "sessions").glob("*.py")
    for name in re.findall(r"^def (\w+)\(session: nox\.Session", path.read_text(), re.MULTILINE)
}


def test_workflows_name_sessions_that_exist() -> None:
    folder = ROOT / ".github" / "workflows"
    if not folder.is_dir():
        pytest.skip("a source distribution has no workflows")
    text = "\n".join(path.read_text() for path in folder.glob("*.yml"))
    named = set(re.findall(r"nox -s (\w+)", text))
    for listed in re.findall(r"^ +session: \[(.*)\]$", text, re.MULTILINE):
        named |= set(listed.split(", "))
    assert {"tests", "docs", "generic", "oracle", "wheel"} <= named <= SESSIONS


def test_pages_name_sessions_that_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "noxfile.py", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"nox -s (\w+)", page.read_text(encoding="utf-8"))}
    assert len(named) > 5 and named <= SESSIONS
