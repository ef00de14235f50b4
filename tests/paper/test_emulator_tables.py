"""The emulator's tables from records: nothing is averaged wrongly, nothing missing is hidden."""

import json
from pathlib import Path

import pandas as pd
import pytest

from firstspike import data, train
from paper import emulator_page, emulator_tables


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    chips = ("loihi-like", "odin-like")
    wanted = [job for job in emulator_tables.jobs("smoke") if job["chip"] in chips and job["bits"] == 4]
    net = emulator_tables.prepare(wanted[0]["config"], folder, None)
    return [json.loads(json.dumps(emulator_tables.measure(job, net))) for job in wanted]


def asked(*records):
    """The jobs of records as the tables get them."""
    names = ("net", "chip", "bits", "tuned")
    return pd.DataFrame([{**{name: r[name] for name in names}, "seed": r["config"]["seed"]} for r in records])


def test_tables_and_page(records, tmp_path):
    found = {str(number): record for number, record in enumerate(records)}
    jobs, missing = found | {"x": records[0], "y": records[0]}, dict.fromkeys("xy", "no data for this one")
    page = emulator_page.write(tmp_path, jobs, found, missing).read_text()
    assert f"{records[0]['chip']} (2): no data for this one" in page
    assert f"{len(records)} of {len(jobs)}" in page and records[0]["provenance"]["versions"]["numpy"] in page
    assert {path.name for path in Path(tmp_path, "tables").iterdir()} >= {"accuracy.csv", "accuracy.md", "accuracy.tex"}
    assert "No run has a record yet" in emulator_page.write(tmp_path / "none", {}, {}, {}).read_text()


def make(folder, said, profile="smoke", **options):
    options = {"report_only": False, "keep": False, **options}
    return emulator_tables.make(profile, folder, None, log=said.append, **options)


def test_without_data_or_records_the_page_says_so(tmp_path, monkeypatch):
    asked, said = [], []

    def none(name, **_):
        asked.append(name)
        raise data.NotAvailable(name, ["a mirror: no network"], "Put the files into DIR.")

    monkeypatch.setattr(emulator_tables.data, "load", none)
    assert make(tmp_path, said, "quick") == 72 and "72 of 72" in said[-1]
    assert asked == ["mnist"]  # looked for once, not once a net or job
    assert "Put the files into DIR." in (tmp_path / "emulator.html").read_text()
    assert make(tmp_path / "b", said, report_only=True) == 36


def test_records_are_made_once_and_one_failure_stops_no_other(records, tmp_path, monkeypatch):
    """A record that is damaged or of other settings is made anew; a job that fails is named on the page."""
    monkeypatch.setattr(emulator_tables, "prepare", lambda *_: object())
    made, said = [], []

    def measure(job, net):
        made.append(emulator_tables.key(job))
        if job["chip"] == "odin-like" and job["bits"] == 2 and job["tuned"]:
            raise RuntimeError("no such thing")
        return {**records[0], **job, "settings": train.Config.from_dict(job["config"]).to_dict()}

    monkeypatch.setattr(emulator_tables, "measure", measure)
    assert make(tmp_path, said) == 1 and len(made) == 36
    assert "failed: RuntimeError: no such thing" in (tmp_path / "emulator.html").read_text()
    first, second, *_ = sorted((tmp_path / "records").iterdir())
    first.write_text(first.read_text()[:100])
    changed = json.loads(second.read_text())
    changed["settings"]["decay"] = 0.5
    second.write_text(json.dumps(changed))
    made.clear()
    assert make(tmp_path, said) == 1
    assert len(made) == 3 and {first.stem, second.stem} < set(made)
