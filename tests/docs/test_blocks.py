"""The Python code of all pages of the site and of README.md runs, block after block, each page in a namespace of its own."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from firstspike import data

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CLUSTER = ROOT / "paper" / "README.md"  # its block needs a queue of jobs
PEERS = ("brevitas", "snntorch", "spikingjelly")  # `nox -s exchange` has them
SYBIL = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=0)], path=str(ROOT))


def blocks(page: Path) -> int:
    """How many blocks of Python a page has."""
    return page.read_text().count("```python\n")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_threads: None) -> None:
    """Each page runs in an empty directory; what it sets in torch is undone."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")


def test_every_file_of_the_repository_that_is_a_page_is_here() -> None:
    """The pages that tools/site/hooks.py takes from outside docs/."""
    named = re.findall(r'"([\w/]+\.md)": "[\w-]+\.md"', (ROOT / "tools" / "site" / "hooks.py").read_text())
    assert len(named) >= 4
    others = [ROOT / name for name in named if blocks(ROOT / name) and ROOT / name not in PAGES]
    assert others == [CLUSTER]


def test_the_block_of_the_cluster_compiles() -> None:
    (example,) = SYBIL.parse(CLUSTER).examples()
    compile(str(example.parsed), str(CLUSTER), "exec")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_code_runs(page: Path) -> None:
    document = SYBIL.parse(page)
    examples = list(document.examples())
    assert len(examples) == blocks(page)
    missing = ""
    for example in examples:
        try:
            example.evaluate()
        except data.NotAvailable as error:
            pytest.skip(str(error))
        except ModuleNotFoundError as error:
            if error.name not in PEERS:
                raise
            missing = str(error)
    if missing:
        pytest.skip(missing)
