"""What README.md says in words agrees with the records that its tables are made from."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_the_first_sentence_is_what_was_measured() -> None:
    assert "over 64 time steps takes a fourteenth of\nSpikingJelly's time" in TEXT
    rows = json.loads((ROOT / "benchmarks" / "results" / "full" / "steps.json").read_text())["rows"]
    (row,) = (r for r in rows if (r["work"], r["steps"], r["source"]) == ("mlp", 64, "fashion-mnist"))
    times = {name: side["median"] for name, side in row["times"].items()}
    assert round(times["spikingjelly"] / times["firstspike"]) == 14


def test_it_is_short() -> None:
    words = re.sub(r"<!--.*?-->|```.*?```|\|.*", "", TEXT, flags=re.DOTALL | re.MULTILINE).split()
    assert len(words) < 600  # two minutes, tables and code apart
