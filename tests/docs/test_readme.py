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
    said = " ".join(TEXT.split())
    assert "over 64 time steps takes a fifteenth of SpikingJelly's time (a twelfth without AVX-512)" in said
    assert round(_times_as_long("full", "mlp", 64)) == 15 and round(_times_as_long("avx2", "mlp", 64)) == 12
    assert "of a convolutional net over 8, less than a fifth." in said and _times_as_long("full", "cnn", 8) > 5


def _times_as_long(folder: str, work: str, steps: int) -> float:
    rows = json.loads((ROOT / "benchmarks" / "results" / folder / "steps.json").read_text())["rows"]
    (row,) = (r for r in rows if (r["work"], r["steps"], r["source"]) == (work, steps, "fashion-mnist"))
    ratio: float = row["times"]["spikingjelly"]["median"] / row["times"]["firstspike"]["median"]
    return ratio


def test_growth_with_the_steps_is_what_was_measured() -> None:
    sides = json.loads((ROOT / "benchmarks" / "results" / "full" / "growth.json").read_text())["rows"]
    ours = [side["times"] for side in sides if side["side"] == "firstspike alone"]
    low, high = sorted(times["64"]["median"] / times["8"]["median"] for times in ours)
    assert f"| {low:.1f} to {high:.1f} times from 8 to 64 |" in TEXT


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
