"""Sections that need no peer: what they time, on small sizes."""

from dataclasses import replace

import pytest
import torch
from benchmarks.sections import NAMES, input_forms, limit, residual, section, threads
from benchmarks.session import Session

from benchmarks import inputs, nets, timing

EFFORT = timing.Effort(rounds=1, seconds=0.0, most=1, block=0.0, settle=0.0, warmup=1)


@pytest.mark.parametrize("name", NAMES)
def test_every_section_has_a_title_and_its_parts(name):
    module = section(name)
    assert module.TITLE and callable(module.measure) and callable(module.tables)


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "effort", EFFORT)
    return Session(results=tmp_path, threads=1)


def test_a_resumed_section_keeps_the_peaks_of_its_limits(session, monkeypatch):
    monkeypatch.setattr(limit, "WORKLOADS", ())
    monkeypatch.setattr(limit.probe, "limits", lambda *_: {"add": 1.0})
    limit.measure(session)
    monkeypatch.setattr(limit.probe, "limits", lambda *_: {"add": 2.0})
    again = replace(session, resume=True)
    limit.measure(again)
    (row,) = again.record("limit").rows
    assert row["peaks"] == {"add": 1.0}


def test_records_of_threads_say_the_threads_of_the_session(session, monkeypatch):
    monkeypatch.setattr(threads, "CNN", threads.Workload("cnn", "2C3-AP2-10", 2, {8: (1, 1)}))
    monkeypatch.setattr(threads, "_pools", lambda session: {"product alone": [1.0]})
    monkeypatch.setattr(inputs, "_images", lambda: (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.arange(4)))
    threads.measure(session)
    rows = replace(session, resume=True).record("threads").rows
    assert len(rows) == 3 and {row["origin"]["threads"] for row in rows} == {session.threads}


def test_sides_that_all_fail_are_failures_and_no_error(session):
    batch = inputs.batch("uniform", 2, 8, flat=True)
    setting = nets.Setting("nothing", "eager")
    workload = threads.Workload("mlp", "784-10", 2, {8: (1, 1)})
    times, failures = session.compare({"firstspike": setting}, workload, batch, nets.training_step)
    assert times == {} and set(failures) == {"firstspike"}


def test_events_and_dense_trains_are_the_same_spikes():
    spikes = inputs.batch("uniform", 3, input_forms.STEPS, flat=False).spikes
    made = input_forms.spikes_of([input_forms.events_of(spikes.times[i : i + 1]) for i in range(3)])
    assert torch.equal(made.times, spikes.times)


@pytest.mark.parametrize("module", [residual, input_forms])
def test_a_section_measures_and_makes_its_table(module, session, monkeypatch):
    monkeypatch.setattr(residual, "NETS", {"2C3-AP2-2C3-2C3-AP2-10": ("2C3-AP2-R(2C3-2C3)-AP2-10", 2)})
    monkeypatch.setattr(input_forms, "CNN", input_forms.Workload("cnn", "2C3-AP2-10", 2, {8: (1, 1)}))
    monkeypatch.setattr(
        inputs, "_images", lambda: (torch.arange(4 * 784).remainder(256).view(4, 1, 28, 28), torch.arange(4))
    )
    module.measure(session)
    rows = session.record(module.__name__.rpartition(".")[2])
    saved = type(rows)(rows.path.parent, rows.section, resume=True).rows
    (caption, frame), *_ = module.tables(saved)
    assert saved and len(frame) >= 2 and "T = 8" in caption
    assert not frame.astype(str).map(lambda text: text == "–").any().any()
