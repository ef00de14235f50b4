import json

import pytest
from benchmarks.records import SectionRecord

from benchmarks import records


def test_rows_are_on_disk_after_each_cell(tmp_path):
    record = SectionRecord(tmp_path, "steps", resume=False)
    record.add("one", times={"firstspike": {"median": 1.5}})
    (row,) = records.load(tmp_path / "steps.json")
    assert row["cell"] == "one" and row["times"]["firstspike"]["median"] == 1.5
    assert {"machine", "versions", "commit", "threads", "time"} <= set(row["origin"])
    record.add("two", times={})
    assert [row["cell"] for row in records.load(tmp_path / "steps.json")] == ["one", "two"]


def test_resuming_keeps_cells_and_starting_anew_drops_them(tmp_path):
    SectionRecord(tmp_path, "steps", resume=False).add("one", value=1)
    assert SectionRecord(tmp_path, "steps", resume=True).has("one")
    assert not SectionRecord(tmp_path, "steps", resume=False).has("one")


def test_a_cell_measured_again_is_replaced(tmp_path):
    record = SectionRecord(tmp_path, "steps", resume=False)
    for value in (1, 2):
        record.add("one", value=value)
    assert [row["value"] for row in record.rows] == [2]


def test_numbers_that_json_does_not_have_are_refused_and_leave_the_file_alone(tmp_path):
    record = SectionRecord(tmp_path, "steps", resume=False)
    record.add("one", value=1.0)
    with pytest.raises(ValueError):
        record.add("two", value=float("nan"))
    assert [row["cell"] for row in records.load(tmp_path / "steps.json")] == ["one"]
    assert not record.has("two")


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "steps.json"
    path.write_text(json.dumps({"format": 99, "rows": []}))
    with pytest.raises(ValueError, match="format 1, got 99"):
        records.load(path)


def test_samples_become_milliseconds():
    kept = records.timed({"side": [0.001, 0.002, 0.003]})["side"]
    assert kept["median"] == 2.0 and kept["samples"] == [1.0, 2.0, 3.0] and (kept["low"], kept["high"]) == (1.5, 2.5)


def test_a_failing_peer_is_noted():
    failures = {}
    with records.recording_failures(failures, "peer"):
        raise RuntimeError("no such operator\nand a long trace")
    assert failures == {"peer": "RuntimeError: no such operator"}
