"""Phrases that pages, comments and docstrings avoid, and long sentences on pages; CONTRIBUTING.md names this list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .test_references import comments_of, tracked

ROOT = Path(__file__).resolve().parents[2]
#: Pattern and what to write instead.
AVOIDED = {
    r"of (one's|your|its|their|our|my) own\b": "custom, or separate",
    r"\bone's own\b": "custom",
    r"\b(that|those) of (a|an|the|one|each|every|all|its|their|other|its)\b": "name the thing again",
    r"\bwhat (becomes|became|comes|remains) of\b": "name the result",
    r"(?<!there )\b(is|are|was|were) no (part|tensor|path|file|member|list|module|number|net)\b": "is not a ...",
    r"\bgo(es)? on with\b": "continue",
    r"\ba whole (example|one|number of)\b": "complete",
    r"\bwho needs\b": "to ...",
}
#: Lab books and records are kept as they were written.
KEPT = ("LABBOOK.md", "/results/")
PAGES = {".md", ".py"}


@pytest.mark.parametrize("phrase", AVOIDED)
def test_phrases_that_are_hard_to_read_are_not_used(phrase: str) -> None:
    wrong = []
    for path in tracked():
        name = str(path.relative_to(ROOT))
        if path.suffix in PAGES and not name.startswith("tests") and not any(part in name for part in KEPT):
            text = " ".join(comments_of(path).split())
            wrong += [f"{name}: ...{text[max(0, m.start() - 30) : m.end() + 20]}..." for m in re.finditer(phrase, text)]
    assert wrong == [], f"write instead: {AVOIDED[phrase]}"


LONGEST = 25  # words of a sentence
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def sentences(text: str) -> list[str]:
    """The sentences of a page, without code, benchmark records, tables and headings; code in a sentence counts as a word."""
    text = re.sub(r"```.*?```|<!-- bench .*?<!-- end -->|<!--.*?-->", "\n\n", text, flags=re.DOTALL)
    lines = ["" if re.match(r"[|#!]|    ", line) else line for line in text.splitlines()]
    found = []
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines)):
        plain = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", " ".join(part.split())))
        found += re.split(r"(?<=[.!?])[\"')*]*\s+", plain.replace("et al.", "et al"))
    return found


@pytest.mark.parametrize("page", PROSE, ids=lambda p: p.name)
def test_sentences_are_short(page: Path) -> None:
    words = {each: len(re.findall(r"[\w`'’-]+", each)) for each in sentences(page.read_text(encoding="utf-8"))}
    assert {each: count for each, count in words.items() if count > LONGEST} == {}
