"""The table of chips: made of records, each made once, with "not run" where one is missing."""

from paper import chips


def test_records_are_made_once_and_rows_without_one_say_so(tmp_path, monkeypatch):
    jobs, whole = list(chips.jobs("smoke")), 7
    first = jobs[0]
    assert len(jobs) == whole and {job["chip"] for job in jobs if job["config"].get("timing") == "windowed"} == {
        "generic8",
        "loihi-like",
    }
    monkeypatch.setattr(chips, "jobs", lambda _: [first])
    options = {"report_only": False, "keep": False, "log": lambda _: None}
    assert chips.make("smoke", tmp_path, None, **options) == 0
    monkeypatch.setattr(chips, "measure", None)  # not called again
    assert chips.make("smoke", tmp_path, None, **options) == 0
    monkeypatch.setattr(chips, "jobs", lambda _: jobs)
    rows = chips.table("smoke", tmp_path)
    assert len(rows) == whole and (rows["on the chip, %"] == "not run").sum() == whole - 1
    assert float(rows["on the chip, %"][0]) > 50 and rows["energy per image, nJ"][0].endswith("(45nm-integer)")
