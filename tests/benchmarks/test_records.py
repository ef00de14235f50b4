import shutil
import sys

import pytest
from benchmarks.records import SectionRecord

from benchmarks import records

linux = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("c++"), reason="the probes need Linux and c++")


def test_rows_are_on_disk_after_each_cell(tmp_path):
    record = SectionRecord(tmp_path, "steps", resume=False)
    record.measure("one", lambda: {"times": {"firstspike": {"median": 1.5}}}, work="mlp")
    (row,) = records.load(tmp_path / "steps.json")
    assert (row["cell"], row["work"], row["times"]["firstspike"]["median"]) == ("one", "mlp", 1.5)
    assert {"machine", "versions", "commit", "threads", "time"} <= set(row["origin"])
    record.add("two", times={})
    record.add("two", times={"a": 1})  # replaced
    rows = records.load(tmp_path / "steps.json")
    assert [row["cell"] for row in rows] == ["one", "two"] and rows[1]["times"] == {"a": 1}


def test_resuming_keeps_cells_and_starting_anew_drops_them(tmp_path):
    SectionRecord(tmp_path, "steps", resume=False).add("one", value=1)
    assert SectionRecord(tmp_path, "steps", resume=True).measure("one", lambda: {"value": 2})["value"] == 1
    assert SectionRecord(tmp_path, "steps", resume=False).measure("one", lambda: {"value": 2})["value"] == 2


def test_a_cell_measured_again_stands_where_it_was(tmp_path):
    for cell in ("one", "three"):
        SectionRecord(tmp_path, "steps", resume=True).add(cell)
    record = SectionRecord(tmp_path, "steps", resume=True)
    for cell in ("one", "two", "three"):
        record.measure(cell, dict)
    assert [row["cell"] for row in records.load(tmp_path / "steps.json")] == ["one", "two", "three"]


def test_samples_become_milliseconds_and_a_failing_peer_is_noted():
    kept = records.timed({"side": [0.001, 0.002, 0.003]})["side"]
    assert kept == {"median": 2.0, "low": 1.5, "high": 2.5, "samples": [1.0, 2.0, 3.0]}
    failures = {}
    with records.recording_failures(failures, "peer"):
        raise RuntimeError("no such operator\nand a long trace")
    assert failures == {"peer": "RuntimeError: no such operator"}
