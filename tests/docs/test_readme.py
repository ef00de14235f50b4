"""What README.md says in words agrees with the records that its tables are made from."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from paper.intervals import Interval, paired
from paper.measures import MEASURES, by_seed
from paper.records import Store

from benchmarks import embed_tables
from firstspike.emulator import profile
from paper import grid

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
MACHINES = ("full", "zen4", "zen3")  # the folders under benchmarks/results


@pytest.mark.usefixtures("committed_records")
def test_the_first_sentence_is_what_was_measured() -> None:
    said = " ".join(TEXT.split())
    low, *_, high = sorted(_times_as_long(folder, "mlp", 64) for folder in MACHINES)
    assert (
        f"over 64 time steps is {low:.0f} to {high:.0f} times as fast as SpikingJelly's, depending on the processor"
        in said
    )
    low, *_, high = sorted(_times_as_long(folder, net, 8) for net in ("cnn", "wide") for folder in MACHINES)
    assert f"over 8 is {low:.1f} to {high:.1f} times as fast." in said


@pytest.mark.usefixtures("committed_records")
@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("zen4", "SpikingJelly takes {} times as long on an AMD EPYC with AVX-512 (Zen 4)"),
        ("zen3", "{} on one without (Zen 3)"),
    ],
)
def test_the_leads_on_other_processors_are_what_was_measured(folder: str, said: str) -> None:
    """In the order of the rows of README's table, in README alone: docs/performance.md has the tables."""
    rows = (("mlp", 8), ("mlp", 64), ("cnn", 8), ("wide", 8))
    *first, last = (f"{_times_as_long(folder, net, steps):.1f}" for net, steps in rows)
    assert said.format(f"{', '.join(first)} and {last}") in TEXT


@pytest.mark.usefixtures("committed_records")
def test_what_compiling_brings_snntorch_is_what_was_measured() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    cells = [row["times"] for row in _rows("full", "steps") if "snntorch, compiled" in row["times"]]
    ratios = [cell["snntorch, compiled"]["median"] / cell["snntorch"]["median"] for cell in cells]
    assert f"snnTorch compiled takes {min(ratios):.1f} to {max(ratios):.1f}\n" in text
    best = [cell["snntorch, compiled"]["median"] / cell["spikingjelly"]["median"] for cell in cells]
    assert f"up to {100 * (1 - min(best)):.0f} % faster" in text and max(best) < 1.02


@pytest.mark.usefixtures("committed_records")
def test_one_sample_of_the_small_net_is_quicker_elsewhere_unless_weights_are_packed() -> None:
    """As docs/performance.md says."""
    (row,) = (r for r in _rows("full", "inference") if (r["work"], r["steps"], r["batch"]) == ("mlp", 8, 1))
    times = {side: time["median"] for side, time in row["times"].items()}
    peers = [times[side] for side in ("spikingjelly", "spikingjelly, fires once", "dense")]
    assert times["firstspike frozen"] < min(peers) and max(peers) < times["firstspike"]


@pytest.mark.usefixtures("committed_records")
def test_what_weight_normalisation_costs_is_what_was_measured() -> None:
    longer = [
        100 * (row["times"]["firstspike, normalised"]["median"] / row["times"]["firstspike"]["median"] - 1)
        for folder in MACHINES
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
        for folder in MACHINES
        for net in ("mlp", "cnn", "wide")
        for kind, how in (("plain", {}), ("uniform", {"source": "uniform"}), ("returned", {"section": "allocator"}))
    }

    text = text.replace(" times in place of ", " in place of ")
    uniform = [key for key in lead if key in (("full", "cnn", "uniform"), ("full", "wide", "uniform"))]
    returned = [key for key in lead if key[2] == "returned" and key[1] != "wide"]
    for folder, net, kind in uniform + returned:
        assert f"{lead[folder, net, kind]} in place of {lead[folder, net, 'plain']}" in text
    assert f"lead by {' and '.join(lead[key] for key in uniform)} times only" in TEXT


@pytest.mark.usefixtures("committed_records")
def test_what_freed_memory_costs_is_what_was_measured() -> None:
    """Per cent that a step takes longer where freed memory goes back to the system."""
    said = " ".join((ROOT / "docs" / "performance.md").read_text().split())
    cost: dict[str, dict[str, float]] = {}
    for folder in MACHINES:
        kept = {(row["work"], row["steps"], row["source"]): row["times"] for row in _rows(folder, "steps")}
        cost[folder] = {
            name: max(
                100
                * (row["times"][name]["median"] / kept[row["work"], row["steps"], row["source"]][name]["median"] - 1)
                for row in _rows(folder, "allocator")
            )
            for name in ("firstspike", "spikingjelly")
        }
    here, amd = cost["full"], {name: max(cost[m][name] for m in ("zen4", "zen3")) for name in cost["full"]}
    assert (
        f"costs firstspike at most {here['firstspike']:.0f} % and SpikingJelly at most {here['spikingjelly']:.0f} %"
        in said
    )
    assert (
        f"it costs firstspike up to {amd['firstspike']:.0f} %, and SpikingJelly up to {amd['spikingjelly']:.0f} %"
        in said
    )


@functools.cache
def _nets() -> list[tuple[str, str, dict[str, dict[int, float]]]]:
    """Of every net of Table 1 its data, its string, and the accuracies by label and seed."""
    paper, store = grid.load("paper"), Store(ROOT / "paper" / "results" / "paper")
    found: dict[str, tuple[str, str, dict[str, dict[int, float]]]] = {}
    for row in paper.of("table1"):
        _, _, measured = found.setdefault(row.setup, (row.runs[0].data, row.runs[0].spec, {}))
        measured[row.label] = by_seed(row, store, MEASURES["accuracy"])
    return list(found.values())


def _differences(label: str, other: str, data: str, *, only_maps: bool = False) -> list[Interval]:
    """Of Table 1, seed by seed, `label` minus `other` in every net for these data that has both."""
    nets = [one for name, spec, one in _nets() if name == data and ("C3" in spec or not only_maps)]
    return [one for net in nets if (one := paired(net[label], net[other])) is not None]


@pytest.mark.usefixtures("committed_records")
def test_the_gaps_to_relu_are_what_was_measured() -> None:
    """Of convolutional nets, with both decoders."""
    gaps = {
        data: [
            one.mean
            for label in ("TTFS, TWD", "TTFS, membrane")
            for one in _differences("ReLU", label, data, only_maps=True)
        ]
        for data in ("mnist", "fashion-mnist", "digits")
    }
    assert f"by up to {max(gaps['mnist']):.1f} points on MNIST, " in TEXT
    assert f"{min(gaps['fashion-mnist']):.1f} to {max(gaps['fashion-mnist']):.1f} on Fashion-MNIST" in TEXT
    assert f"{min(gaps['digits']):.1f} and {max(gaps['digits']):.1f} on the digits" in TEXT


@pytest.mark.usefixtures("committed_records")
def test_how_far_twd_is_behind_the_membrane_is_what_was_measured() -> None:
    behind = [
        one
        for data in ("mnist", "fashion-mnist", "digits")
        for one in _differences("TTFS, membrane", "TTFS, TWD", data)
    ]
    resolved = [one.mean for one in behind if one.above() == "yes"]
    assert all(one.above() != "no" for one in behind)  # TWD is nowhere ahead
    numbers = dict(enumerate(("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")))
    count = f"in {numbers[len(resolved)]} of {numbers[len(behind)]} comparisons"
    assert f"{count}, by {min(resolved):.2f} to {max(resolved):.2f} points" in TEXT


@pytest.mark.usefixtures("committed_records")
def test_growth_with_the_steps_is_what_was_measured() -> None:
    """The least and the most of all machines, where it was measured alone and beside other sides."""
    found = []
    for folder in MACHINES:
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
    plain = re.sub(r"<!-- (bench|results) .*?<!-- end -->|```.*?```", "", TEXT, flags=re.DOTALL)
    words = re.sub(r"^\|.*$", "", plain, flags=re.MULTILINE).split()
    assert 300 < len(words) < 600  # two minutes, tables and code apart


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
