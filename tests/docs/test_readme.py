"""The pages with measurements: their tables are made of the records."""

from __future__ import annotations

import re
from pathlib import Path

from firstspike.emulator import profile

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (ROOT / "docs" / "concepts" / "choosing.md").read_text()


def test_the_table_beside_other_libraries() -> None:
    """The versions are those that the benchmarks and oracles install; the number of profiles is that of the package."""
    pins = dict(re.findall(r'"(spikingjelly|snntorch|norse|nengo-loihi)==([\d.]+)"', (ROOT / "pyproject.toml").read_text()))
    heads = re.search(r"^\| \| firstspike \|(.*)\|$", LIBRARIES, re.MULTILINE)
    assert heads is not None
    named = dict(head.lower().split() for head in heads[1].split("|"))
    assert {name: version + ".0" for name, version in named.items()} == pins
    assert len(profile.names()) == 8 and "| eight chip profiles, or" in LIBRARIES
