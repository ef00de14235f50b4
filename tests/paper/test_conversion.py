"""Records of conversions: made once, from which the table is made."""

import pytest
import torch
from paper.records import read_job
from tools.tables import csv, latex, markdown

import firstspike
from paper import conversion
from tools import ROOT


@pytest.mark.parametrize("name", conversion.NETS)
def test_each_net_converts(name):
    torch.manual_seed(0)
    net, images = conversion.NETS[name]((1, 28, 28)).eval(), torch.rand(20, 1, 28, 28)
    windows = firstspike.convert(net, images, steps=64)
    expected = net(images)
    assert (windows(images) - expected).norm() < 0.1 * expected.norm()


def test_records_are_made_once_and_resume(tmp_path, monkeypatch):
    name = next(iter(conversion.NETS))
    monkeypatch.setattr(conversion, "NETS", {name: conversion.NETS[name]})
    said = []

    def make(**options):
        asked = {"report_only": False, "keep": False, **options}
        return conversion.make("smoke", tmp_path, None, log=said.append, **asked)

    assert make(report_only=True) == 1 and "not run" in (tmp_path / "tables" / "conversion.md").read_text()
    assert make() == 0
    (path,) = (tmp_path / "records").iterdir()
    before = path.stat().st_mtime_ns
    assert make() == 0 and path.stat().st_mtime_ns == before
    (record,) = [read_job(path, job) for job in conversion.jobs("smoke")]
    assert record is not None and record["relu"] > 60
    assert abs(record["converted"]["64"]["accuracy"] - record["relu"]) < 2
    assert read_job(path, {**conversion.jobs("smoke")[0], "steps": [3]}) is None


@pytest.mark.usefixtures("committed_records")
@pytest.mark.parametrize("name", ["quick", "paper"])
def test_the_committed_table_is_made_of_the_committed_records(name):
    folder = ROOT / "paper" / "results" / name / "conversion"
    table = conversion.table(name, folder)
    stem = folder / "tables" / "conversion"
    assert stem.with_suffix(".md").read_text() == markdown(table)
    assert stem.with_suffix(".csv").read_text() == csv(table)
    assert stem.with_suffix(".tex").read_text() == latex(table, conversion.CAPTION, "tab:conversion")
