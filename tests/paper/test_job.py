"""The job that trains one run, on synthetic images of the real sets' shapes."""

import json
import re

import numpy as np
import pytest
import torch
from paper.execute import Task
from paper.runs import Run

from firstspike import data
from firstspike.inspect import HISTOGRAM_EDGES
from paper import job

SHAPES = {"mnist": (1, 28, 28, 10), "cifar10": (3, 32, 32, 10), "cifar100": (3, 32, 32, 100), "dvs-gesture": (16, 32, 32, 11)}


def images(name, count, seed):
    """Images whose brightness tells the class, so that there is something to learn."""
    channels, height, width, classes = SHAPES[name]
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    noise = torch.randint(0, 128, (count, channels, height, width), generator=draw)
    pixels = (noise + labels[:, None, None, None] * 12 % 128).to(torch.uint8)
    return data.Dataset(pixels, labels, classes, name, "made up")


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(job.data, "load", lambda name, *, root, train: images(name, 96 if train else 40, int(train)))


def task(folder, **settings):
    return Task(Run.of({"data": "cifar10", "spec": "4C3-AP2-6C3-AP2-10", "batch": 16, "steps": 4, **settings}), folder)


def test_a_record_has_all_that_tables_and_figures_need(made_up, tmp_path):
    settings = {"standardize": True, "augmentation": {"shift": 2, "flip": True}, "epochs": 2, "pooling": "max"}
    outcome = job.train(task(tmp_path, readout="twd-exp", **settings))
    assert outcome.record is not None, outcome.how
    record = json.loads(json.dumps(outcome.record, allow_nan=False))
    results = record["results"]
    assert results["images"] == {"train": 96, "test": 40} and results["sources"] == ["made up"] * 2
    assert len(results["curve"]["loss"]) == 2 and None not in results["curve"]["test_accuracy"]
    assert results["test"]["accuracy"] == results["curve"]["test_accuracy"][-1]
    assert results["best"]["accuracy"] == max(results["curve"]["test_accuracy"])
    assert sum(results["test"]["decided"]) == 40 and len(results["test"]["decided"]) == 5
    assert 0 <= results["test"]["repeated"] <= 100 and results["operations"]["additions"] > 0
    assert [row["firing"] is not None for row in results["diagnosis"]["trained"]] == [True] * 3
    assert len(results["diagnosis"]["init"][0]["histogram"]) == len(HISTOGRAM_EDGES) - 1
    assert re.fullmatch(r"C\+\+, .+, \d+ lanes", record["provenance"]["backend"])
    assert record["timing"]["peak_mb"] > 0 and len(record["timing"]["epochs"]) == 2


def test_with_images_held_out_test_is_measured_once(made_up, tmp_path):
    outcome = job.train(task(tmp_path, epochs=2, validation=32))
    assert outcome.record is not None, outcome.how
    results = outcome.record["results"]
    assert results["images"] == {"train": 64, "validation": 32, "test": 40}
    assert results["curve"]["test_accuracy"][0] is None and results["best"] is None
    assert results["validation"] == results["curve"]["validation_accuracy"][-1]


def test_counts_of_a_relu_net_have_its_own_zeros(made_up, tmp_path):
    counts = {}
    for model in ("ttfs", "relu"):
        outcome = job.train(task(tmp_path / model, model=model, timing="windowed", pooling="max"))
        assert outcome.record is not None, outcome.how
        counts[model] = json.loads(json.dumps(outcome.record["results"]["counts"], allow_nan=False))
    spiking, relu = ([layer for layer in counts[model] if layer["kind"] != "pool"] for model in ("ttfs", "relu"))
    assert [layer["macs"] for layer in spiking] == [layer["macs"] for layer in relu]
    assert relu[0]["nonzero_macs"] > 0 and all(layer["additions"] == 0 for layer in relu)
    assert all(0 < layer["nonzero_macs"] <= layer["macs"] for layer in relu) and spiking[1]["additions"] > 0


def test_failures_are_outcomes(made_up, tmp_path, monkeypatch, capsys):
    outcome = job.train(task(tmp_path, spec="4C3-AP64-10"))
    assert outcome.record is None and outcome.reason == "failed: GrammarError" and "AP64" in outcome.how
    assert "Traceback" in capsys.readouterr().err

    def none(name, **_):
        raise data.NotAvailable(name, ["nowhere"], "Bring it.")

    monkeypatch.setattr(job.data, "load", none)
    outcome = job.train(task(tmp_path))
    assert outcome.reason == "not run: no data" and "Bring it." in outcome.how


def test_the_record_of_a_resumed_run_has_all_its_sessions(made_up, tmp_path):
    work = task(tmp_path, epochs=2)
    once = job.train(work).record
    assert once is not None and len(once["provenance"]["sessions"]) == 1 and once["timing"]["cpu_seconds"] > 0
    again = job.train(Task(Run.of({**work.run.to_dict(), "epochs": 3}), tmp_path)).record
    assert again is not None and [each["first_epoch"] for each in again["provenance"]["sessions"]] == [1, 3]
    assert again["timing"]["cpu_seconds"] is None  # of the last session alone it would say too little


def test_a_copy_of_a_data_set_comes_from_its_folder_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    run = Run.of({"data": "cifar10", "images": "copy", "spec": "2C3-AP2-10", "steps": 3, "epochs": 1, "threads": 1})
    assert run != Run.of({**run.to_dict(), "images": ""}) and run.name.startswith("copy-cnn-ttfs")
    assert Run.of(run.to_dict()) == run and run.key != Run.of({**run.to_dict(), "images": ""}).key
    generator = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name in "abcdefghij":
            folder = tmp_path / "data" / "copy" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                image.fromarray(pixels).save(folder / f"{number}.png")
    there = job.train(Task(run, tmp_path / "work", str(tmp_path / "data")))
    assert there.record is not None, there.how
    results = there.record["results"]
    assert results["images"]["train"] == 40 and results["sources"] == ["image folder copy"]
    (tmp_path / "empty").mkdir()
    absent = job.train(Task(run, tmp_path / "work", str(tmp_path / "empty")))
    assert absent.reason == "not run: no data" and "DIR/copy/train/CLASS/" in absent.how
