"""The tables of paper/emulator_tables.py from records: nothing is averaged wrongly, nothing missing is hidden."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from firstspike import data, train
from paper import emulator_page, emulator_tables, reproduce


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    wanted = [
        job for job in emulator_tables.jobs("smoke") if job["chip"] in ("loihi-like", "odin-like") and job["bits"] == 4
    ]
    net = emulator_tables.prepare(wanted[0]["config"], folder, None)
    return [json.loads(json.dumps(emulator_tables.measure(job, net))) for job in wanted]


def test_jobs_cover_chips_bits_and_tuning():
    jobs = list(emulator_tables.jobs("smoke"))
    assert {job["chip"] for job in jobs} == {"generic8", "loihi-like", "odin-like", "speck-like"}
    assert {job["bits"] for job in jobs if job["chip"] == "generic8"} == {8, 6, 4, 3, 2}
    assert {job["bits"] for job in jobs if job["chip"] == "odin-like"} == {4, 3, 2}
    assert len({emulator_tables.key(job) for job in jobs}) == len(jobs)


def with_seed(record, seed, less=0.0):
    """A record of another seed, with accuracies that are smaller by `less`."""
    other = copy.deepcopy(record)
    other["config"]["seed"] = seed
    for name in ("accuracy", "float_accuracy"):
        other["summary"][name] -= less
    return other


def asked(*records):
    """The jobs of records as the tables get them."""
    return pd.DataFrame(
        [{**{name: r[name] for name in ("net", "chip", "bits", "tuned")}, "seed": r["config"]["seed"]} for r in records]
    )


def test_accuracy_is_the_mean_over_seeds(records):
    pair = [records[0], with_seed(records[0], 1, less=0.1)]
    table = emulator_page.accuracy(emulator_page.frame(pair), asked(*pair))
    sd = 10 / 2**0.5  # of two values that are ten points apart
    assert table["4 bits"].tolist() == [f"{100 * records[0]['summary']['accuracy'] - 5:.2f} ± {sd:.2f}"]
    assert table["float"].tolist() == [f"{100 * records[0]['summary']['float_accuracy'] - 5:.2f} ± {sd:.2f}"]
    alone = emulator_page.accuracy(emulator_page.frame(records[:1]), asked(*records[:1]))
    assert alone["4 bits"].tolist() == [f"{100 * records[0]['summary']['accuracy']:.2f}"]


def test_what_is_not_there_is_said_in_its_cell(records):
    """A width that the chip does not have, one that was not run, one with fewer seeds; the net's own accuracy beside it."""
    loihi = next(r for r in records if r["chip"] == "loihi-like" and not r["tuned"])
    odin = next(r for r in records if r["chip"] == "odin-like" and not r["tuned"])
    wide = {**loihi, "bits": 8}
    jobs = asked(wide, with_seed(wide, 1), loihi, with_seed(loihi, 1), odin, with_seed(odin, 1))
    rows = emulator_page.frame([loihi, with_seed(odin, 0), with_seed(odin, 1, less=0.5)])
    table = emulator_page.accuracy(rows, jobs).set_index("chip")
    alone = f"{100 * loihi['summary']['accuracy']:.2f} (1 of 2 seeds)"
    assert table.loc["loihi-like", ["8 bits", "4 bits"]].tolist() == ["not run", alone]
    assert table.loc["loihi-like", "float"] == f"{100 * loihi['summary']['float_accuracy']:.2f} (1 of 2 seeds)"
    assert table.loc["odin-like", "8 bits"] == "not held" and "±" in table.loc["odin-like", "4 bits"]
    energy = emulator_page.energy(rows, jobs)  # no row for what was not run at the chip's full width
    assert energy["chip"].tolist() == ["odin-like"]
    energy = emulator_page.energy(emulator_page.frame([wide, loihi]), jobs)
    assert energy["chip"].tolist() == ["loihi-like (1 of 2 seeds)"]


def test_tables_and_page(records, tmp_path):
    jobs = {str(number): record for number, record in enumerate(records)} | {"x": records[0], "y": records[0]}
    missing = dict.fromkeys("xy", "no data for this one")
    page = emulator_page.write(
        tmp_path, jobs, {name: jobs[name] for name in jobs if name not in missing}, missing
    ).read_text()
    assert f"{records[0]['chip']} (2): no data for this one" in page and "loihi-davies2018" in page
    assert f"{len(records)} of {len(jobs)}" in page and records[0]["provenance"]["versions"]["numpy"] in page
    assert {path.name for path in Path(tmp_path, "tables").iterdir()} >= {"accuracy.csv", "energy.md", "speed.tex"}
    energy = emulator_page.energy(emulator_page.frame(records), asked(*records))
    own = dict(zip(energy["chip"], energy["nJ, own table"], strict=True))
    assert own["odin-like"].endswith("(odin-frenkel2019)")
    for chip, table in (("generic8", "(45nm-integer)"), ("speck-like", "none")):  # as their profiles say
        there = {**records[0], "chip": chip}
        (cell,) = emulator_page.energy(emulator_page.frame([there]), asked(there))["nJ, own table"]
        assert cell.endswith(table)
    second = dict(zip(energy["chip"], energy["nJ, second table"], strict=True))
    assert second["odin-like"] == "none" and second["loihi-like"].endswith("(loihi-sanafe)")


def test_without_records(tmp_path):
    assert "No run has a record yet" in emulator_page.write(tmp_path, {}, {}, {}).read_text()


def command(folder, *arguments, profile="smoke"):
    return CliRunner().invoke(emulator_tables.app, ["--profile", profile, "--results", str(folder), *arguments])


def test_without_data_the_page_says_so_and_the_exit_too(tmp_path, monkeypatch):
    asked = []

    def none(name, **_):
        asked.append(name)
        raise data.NotAvailable(name, ["a mirror: no network"], "Put the files into DIR.")

    monkeypatch.setattr(emulator_tables.data, "load", none)
    done = command(tmp_path, "--workers", "2", profile="quick")  # an option of reproduce.py
    assert done.exit_code == emulator_tables.NOT_RUN and "72 of 72 runs are missing" in done.output
    assert asked == ["mnist"]  # looked for once, not once a net or job
    assert "Put the files into DIR." in (tmp_path / "quick" / "emulator" / "emulator.html").read_text()


def test_options_are_those_of_the_reproduction_and_no_others(tmp_path):
    """`nox -s reproduce` hands the same options to both; a misspelt one must not run another profile."""
    names = [
        {name for option in typer.main.get_command(app).params for name in option.opts}
        for app in (reproduce.app, emulator_tables.app)
    ]
    assert names[0] == names[1]
    done = CliRunner().invoke(emulator_tables.app, ["--profil", "smoke", "--results", str(tmp_path)])
    assert done.exit_code == 2 and "--profil" in done.output and not list(tmp_path.iterdir())


def test_a_choice_of_the_reproductions_runs_is_none_of_these(tmp_path):
    done = command(tmp_path, "--only", "table1")
    assert done.exit_code == 0 and "left as they are" in done.output and not list(tmp_path.iterdir())


def test_records_are_made_once_and_one_failure_stops_no_other(records, tmp_path, monkeypatch):
    """A record that is damaged or of other settings is made anew; a job that fails is named on the page."""
    monkeypatch.setattr(emulator_tables, "prepare", lambda *_: object())
    made = []

    def measure(job, net):
        made.append(emulator_tables.key(job))
        if job["chip"] == "odin-like" and job["bits"] == 2 and job["tuned"]:
            raise RuntimeError("no such thing")
        settings = train.Config.from_dict(job["config"]).to_dict()
        return {**records[0], **job, "settings": settings}

    monkeypatch.setattr(emulator_tables, "measure", measure)
    done = command(tmp_path)
    folder = tmp_path / "smoke" / "emulator"
    assert done.exit_code == emulator_tables.NOT_RUN and "1 of 36 runs are missing" in done.output
    assert len(made) == 36 and "failed: RuntimeError: no such thing" in (folder / "emulator.html").read_text()
    first, second, *_ = sorted((folder / "records").iterdir())
    first.write_text(first.read_text()[:100])
    changed = json.loads(second.read_text())
    changed["settings"]["decay"] = 0.5
    second.write_text(json.dumps(changed))
    made.clear()
    assert command(tmp_path).exit_code == emulator_tables.NOT_RUN
    assert len(made) == 3 and {first.stem, second.stem} < set(made)


def test_a_page_of_no_runs_is_no_success(tmp_path):
    done = command(tmp_path, "--report-only")
    assert done.exit_code == emulator_tables.NOT_RUN
    assert "no record yet" in (tmp_path / "smoke" / "emulator" / "emulator.html").read_text()


def test_a_wrong_profile_or_folder_is_named(tmp_path):
    done = command(tmp_path, profile="fast")
    assert done.exit_code == 2 and "--profile must be one of smoke, quick, paper" in " ".join(done.output.split())
    done = command(tmp_path, "--data", str(tmp_path / "nowhere"))
    assert done.exit_code == 2 and "--data must name an existing folder" in " ".join(done.output.split())
