"""The tables of paper/emulator_tables.py from records: nothing is averaged wrongly, nothing missing is hidden."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firstspike import data
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
    with pytest.raises(ValueError, match="profile must be one of smoke"):
        list(emulator_tables.jobs("nets"))


def test_accuracy_is_the_mean_over_seeds(records):
    other = copy.deepcopy(records[0])
    other["config"]["seed"] = 1
    for name in ("accuracy", "float_accuracy"):
        other["summary"][name] = records[0]["summary"][name] - 0.1
    table = emulator_page.accuracy(emulator_page.frame([records[0], other]))
    sd = 10 / 2**0.5  # of two values that are ten points apart
    assert table["4 bits"].tolist() == [f"{100 * records[0]['summary']['accuracy'] - 5:.2f} ± {sd:.2f}"]
    assert table["float"].tolist() == [f"{100 * records[0]['summary']['float_accuracy'] - 5:.2f} ± {sd:.2f}"]
    alone = emulator_page.accuracy(emulator_page.frame(records[:1]))
    assert alone["4 bits"].tolist() == [f"{100 * records[0]['summary']['accuracy']:.2f}"]


def test_tables_and_page(records, tmp_path):
    page = emulator_page.write(tmp_path, records, {"x": "no data for this one"}).read_text()
    assert "no data for this one" in page and "loihi-davies2018" in page
    assert {path.name for path in Path(tmp_path, "tables").iterdir()} >= {"accuracy.csv", "energy.md", "speed.tex"}
    energy = emulator_page.energy(emulator_page.frame(records))
    own = dict(zip(energy["chip"], energy["nJ, own table"], strict=True))
    assert own["odin-like"].endswith("(odin-frenkel2019)")
    second = dict(zip(energy["chip"], energy["nJ, second table"], strict=True))
    assert second["odin-like"] == "none" and second["loihi-like"].endswith("(loihi-sanafe)")


def test_without_records(tmp_path):
    assert "No run has a record yet" in emulator_page.write(tmp_path, [], {}).read_text()


def command(folder, *arguments, profile="smoke"):
    return CliRunner().invoke(emulator_tables.app, ["--profile", profile, "--results", str(folder), *arguments])


def test_without_data_the_page_says_so_and_the_exit_too(tmp_path, monkeypatch):
    asked = []

    def none(name, **_):
        asked.append(name)
        raise data.NotAvailable(name, ["a mirror: no network"], "Put the files into DIR.")

    monkeypatch.setattr(emulator_tables.data, "load", none)
    done = command(tmp_path, "--only", "table1", profile="quick")  # --only is an option of reproduce.py
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


def test_a_page_of_no_runs_is_no_success(tmp_path):
    done = command(tmp_path, "--report-only")
    assert done.exit_code == emulator_tables.NOT_RUN
    assert "no record yet" in (tmp_path / "smoke" / "emulator" / "emulator.html").read_text()


def test_a_wrong_profile_or_folder_is_named(tmp_path):
    done = command(tmp_path, profile="fast")
    assert done.exit_code == 2 and "profile must be one of smoke, quick, paper" in " ".join(done.output.split())
    done = command(tmp_path, "--data", str(tmp_path / "nowhere"))
    assert done.exit_code == 2 and "root must name an existing folder" in " ".join(done.output.split())
