"""What README.md says in words agrees with the records that its tables are made from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from paper.intervals import paired
from paper.measures import MEASURES, by_seed
from paper.records import Store

from benchmarks import embed_tables
from firstspike.emulator import profile
from paper import grid

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.usefixtures("committed_records")
def test_the_first_sentence_is_what_was_measured() -> None:
    said = " ".join(TEXT.split())
    machines = ("full", "avx2", "intel")
    low, *_, high = sorted(_times_as_long(folder, "mlp", 64) for folder in machines)
    assert (
        f"over 64 time steps is {low:.0f} to {high:.0f} times as fast as SpikingJelly's, depending on the processor"
        in said
    )
    low, *_, high = sorted(_times_as_long(folder, net, 8) for net in ("cnn", "wide") for folder in machines)
    assert f"over 8 is {low:.1f} to {high:.1f} times as fast." in said
    leads = [
        f"{_times_as_long('intel', net, steps):.1f}"
        for net, steps in (("mlp", 8), ("mlp", 64), ("cnn", 8), ("wide", 8))
    ]
    assert (
        f"On an Intel Xeon with AVX-512 the leads over SpikingJelly are {', '.join(leads[:3])} and {leads[3]};" in said
    )


@pytest.mark.usefixtures("committed_records")
def test_what_compiling_brings_the_peers_is_what_was_measured() -> None:
    """The neuron that fires once, and snnTorch, on the Intel processor."""
    ratios = []
    for row in _rows("intel", "sweep"):
        if row["library"] == "spikingjelly, fires once":
            times = {name: time["median"] for name, time in row["times"].items()}
            compiled, eager = (
                min(time for name, time in times.items() if ("compiled" in name) is kind) for kind in (True, False)
            )
            ratios.append(compiled / eager)
    text = (ROOT / "docs" / "performance.md").read_text()
    span = f"{min(ratios):.1f} to {max(ratios):.1f} times as"
    assert f"*fires once* uncompiled (compiled it takes {span} long)" in TEXT and span in text
    cells = [row["times"] for row in _rows("intel", "steps") if "snntorch, compiled" in row["times"]]
    others = [cell["snntorch, compiled"]["median"] / cell["snntorch"]["median"] for cell in cells]
    assert f"and snnTorch {min(others):.1f} to {max(others):.1f} times" in text
    best = [cell["snntorch, compiled"]["median"] / cell["spikingjelly"]["median"] for cell in cells]
    assert f"or up to {100 * (1 - min(best)):.0f} % faster" in text and max(best) < 1.02


@pytest.mark.usefixtures("committed_records")
def test_what_weight_normalisation_costs_is_what_was_measured() -> None:
    longer = [
        100 * (row["times"]["firstspike, normalised"]["median"] / row["times"]["firstspike"]["median"] - 1)
        for folder in ("full", "avx2")
        for row in _rows(folder, "steps")
        if "firstspike, normalised" in row["times"] and (row["steps"], row["source"]) == (8, "fashion-mnist")
    ]
    assert longer and f"with it our steps take {min(longer):.0f} to {max(longer):.0f} % longer" in TEXT
    assert f"took {min(longer):.0f} to {max(longer):.0f} % longer" in (ROOT / "docs" / "performance.md").read_text()


def _rows(folder: str, section: str) -> list[dict[str, Any]]:
    path = ROOT / "benchmarks" / "results" / folder / f"{section}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return rows


def _times_as_long(
    folder: str, work: str, steps: int, *, section: str = "steps", source: str = "fashion-mnist"
) -> float:
    rows = _rows(folder, section)
    (row,) = (r for r in rows if (r["work"], r["steps"], r["source"]) == (work, steps, source))
    ratio: float = row["times"]["spikingjelly"]["median"] / row["times"]["firstspike"]["median"]
    return ratio


@pytest.mark.usefixtures("committed_records")
def test_leads_in_other_conditions_are_what_was_measured() -> None:
    """What docs/performance.md says of uniform input, and of memory that is returned to the system."""
    text = (ROOT / "docs" / "performance.md").read_text()
    lead = {
        (folder, net, kind): f"{_times_as_long(folder, net, 8, **how):.1f}"
        for folder in ("full", "avx2")
        for net in ("mlp", "cnn", "wide")
        for kind, how in (("plain", {}), ("uniform", {"source": "uniform"}), ("returned", {"section": "allocator"}))
    }

    text = text.replace(" times in place of ", " in place of ")
    for (folder, net, kind), value in lead.items():
        if kind != "plain" and (net, kind) not in (("mlp", "uniform"), ("wide", "returned")):
            assert f"{value} in place of {lead[folder, net, 'plain']}" in text


@pytest.mark.usefixtures("committed_records")
def test_which_differences_to_relu_are_resolved() -> None:
    """Of convolutional nets, seed by seed, with the intervals of the report."""
    paper = grid.load("paper")
    store = Store(ROOT / "paper" / "results" / "paper")
    resolved: dict[str, list[bool]] = {"MNIST": [], "the digits": []}
    for condition in paper.of("table1"):
        rows = [row for row in paper.of("table1") if row.setup == condition.setup]
        relu = next(row for row in rows if row.label == "ReLU")
        name = {"mnist": "MNIST", "digits": "the digits"}.get(condition.runs[0].data)
        if name is not None and condition is not relu and "C3" in condition.runs[0].spec:
            gap = paired(*(by_seed(row, store, MEASURES["accuracy"]) for row in (relu, condition)))
            assert gap is not None
            resolved[name].append(gap.above() == "yes")
    assert "by up to 0.1 on MNIST (one of six differences is resolved;" in TEXT
    assert sorted(resolved["MNIST"]) == [False] * 5 + [True]
    assert "by 2.3 (not resolved) and 2.5 on the digits" in TEXT and sorted(resolved["the digits"]) == [False, True]


@pytest.mark.usefixtures("committed_records")
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


@pytest.mark.usefixtures("committed_records")
@pytest.mark.parametrize("name", ["README.md", "docs/performance.md", "docs/emulator.md"])
def test_tables_of_measurements_are_those_of_the_records(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- bench " in text and embed_tables.fill(text, ROOT / "benchmarks" / "results" / "full") == text


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
