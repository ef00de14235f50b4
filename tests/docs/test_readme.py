"""What README.md says in words agrees with the records that its tables are made from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import embed_tables
from firstspike.emulator import profile

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_the_first_sentence_is_what_was_measured() -> None:
    said = " ".join(TEXT.split())
    assert "over 64 time steps takes a fifteenth of SpikingJelly's time (a twelfth without AVX-512)" in said
    assert round(_times_as_long("full", "mlp", 64)) == 15 and round(_times_as_long("avx2", "mlp", 64)) == 12
    assert "of the convolutional nets over 8, a fifth to a quarter." in said
    assert all(4 <= _times_as_long("full", net, 8) < 6 for net in ("cnn", "wide"))


def _rows(folder: str, section: str) -> list[dict[str, Any]]:
    path = ROOT / "benchmarks" / "results" / folder / f"{section}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return rows


def _times_as_long(folder: str, work: str, steps: int) -> float:
    (row,) = (
        r for r in _rows(folder, "steps") if (r["work"], r["steps"], r["source"]) == (work, steps, "fashion-mnist")
    )
    ratio: float = row["times"]["spikingjelly"]["median"] / row["times"]["firstspike"]["median"]
    return ratio


def test_growth_with_the_steps_is_what_was_measured() -> None:
    """The least and the most of both machines, where it was measured alone and beside other sides."""
    found = []
    for folder in ("full", "avx2"):
        sides = _rows(folder, "growth")
        ours = [side["times"] for side in sides if side["side"] == "firstspike alone"]
        found += [times["64"]["median"] / times["8"]["median"] for times in ours]
        few, many = (
            row["times"]["firstspike"]["median"]
            for steps in (8, 64)
            for row in _rows(folder, "steps")
            if (row["work"], row["steps"], row["source"]) == ("mlp", steps, "fashion-mnist")
        )
        found.append(many / few)
    assert f"| {min(found):.1f} to {max(found):.1f} times from 8 to 64 |" in TEXT


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
    assert len(profile.names()) == 4 and "| four chip profiles, or" in TEXT
