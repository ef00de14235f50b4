import json
import shutil
import sys

import pytest
from benchmarks.records import SectionRecord

from benchmarks import probe, records

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


def test_numbers_that_json_does_not_have_leave_the_file_alone(tmp_path):
    record = SectionRecord(tmp_path, "steps", resume=False)
    record.add("one", value=1.0)
    with pytest.raises(ValueError):
        record.add("two", value=float("nan"))
    assert [row["cell"] for row in records.load(tmp_path / "steps.json")] == ["one"] and len(record.rows) == 1
    (tmp_path / "steps.json").write_text(json.dumps({"format": 99, "rows": []}))
    with pytest.raises(ValueError, match="format"):
        records.load(tmp_path / "steps.json")


def test_samples_become_milliseconds_and_a_failing_peer_is_noted():
    kept = records.timed({"side": [0.001, 0.002, 0.003]})["side"]
    assert kept == {"median": 2.0, "low": 1.5, "high": 2.5, "samples": [1.0, 2.0, 3.0]}
    failures = {}
    with records.recording_failures(failures, "peer"):
        raise RuntimeError("no such operator\nand a long trace")
    assert failures == {"peer": "RuntimeError: no such operator"}


@linux
def test_the_machine_is_probed(tmp_path):
    peaks = probe.limits(1, {"L1": 32768})
    assert peaks["threads"] == 1 and peaks["add"] > 1e9
    assert peaks["L1"]["bytes"] == 16384 and peaks["L1"]["read"] > peaks["memory"]["read"] > 1e8
    neighbours = probe.Neighbours()
    record = SectionRecord(tmp_path, "steps", resume=False, neighbours=neighbours)
    neighbours.bring()
    neighbours.bring()
    record.add("two rounds")
    record.add("none")
    first, second = (row["origin"]["neighbours"] for row in records.load(tmp_path / "steps.json"))
    assert len(first) == 2 and all(0 <= ns < 1e6 for ns in first) and second == []


def test_nothing_is_known_where_there_is_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    probe._compiled.cache_clear()
    neighbours = probe.Neighbours()
    neighbours.bring()
    assert neighbours.take() == []
    with pytest.raises(RuntimeError, match="probe.cpp"):
        probe.limits(1, {})
