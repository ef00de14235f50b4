"""What README.md says in words agrees with the records that its tables are made from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import embed_tables
from firstspike.emulator import profile

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_the_first_sentence_is_what_was_measured() -> None:
    assert "over 64 time steps takes a fifteenth of\nSpikingJelly's time (a twelfth without AVX-512)" in TEXT
    for folder, ratio in (("full", 15), ("avx2", 12)):
        rows = json.loads((ROOT / "benchmarks" / "results" / folder / "steps.json").read_text())["rows"]
        (row,) = (r for r in rows if (r["work"], r["steps"], r["source"]) == ("mlp", 64, "fashion-mnist"))
        times = {name: side["median"] for name, side in row["times"].items()}
        assert round(times["spikingjelly"] / times["firstspike"]) == ratio


def test_it_is_short() -> None:
    words = re.sub(r"<!--.*?-->|```.*?```|\|.*", "", TEXT, flags=re.DOTALL | re.MULTILINE).split()
    assert len(words) < 600  # two minutes, tables and code apart


@pytest.mark.parametrize("name", ["README.md", "docs/performance.md", "docs/emulator.md"])
def test_tables_of_measurements_are_those_of_the_records(name: str) -> None:
    folder = ROOT / "benchmarks" / "results" / "full"
    if not folder.is_dir():
        pytest.skip("a source distribution has no records")
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- bench " in text and embed_tables.fill(text, folder) == text


def test_the_table_beside_other_libraries() -> None:
    """The versions are those that the benchmarks and oracles install; the number of profiles is that of the package."""
    pins = dict(
        re.findall(r'"(spikingjelly|snntorch|norse|nengo-loihi)==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    )
    heads = re.search(r"^\| \| firstspike \|(.*)\|$", TEXT, re.MULTILINE)
    assert heads is not None
    named = dict(head.lower().split() for head in heads[1].split("|"))
    assert {name: version + ".0" for name, version in named.items()} == pins
    assert len(profile.names()) == 4 and "| four chip profiles |" in TEXT
