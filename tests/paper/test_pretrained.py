"""The command that trains the nets that come with the package, with few epochs."""

from __future__ import annotations

import json

import pytest
import torch
from paper.runs import Run
from typer.testing import CliRunner

from firstspike import models, train
from firstspike.models import shipped
from paper import grid, pretrained


def test_shipped_configs_are_those_that_the_command_trains() -> None:
    profile = grid.load("paper")
    for name in shipped.names():
        assert Run.of(shipped.record(name)["config"]).config == pretrained.run_of(profile, name).config


def test_the_command_trains_writes_and_resumes(tmp_path, monkeypatch) -> None:
    pytest.importorskip("sklearn")
    small = train.Config(data="digits", spec="64-16-10", steps=4, epochs=1, batch=64)
    run = type(pretrained.run_of(grid.load("paper"), "digits-mlp")).of(small.to_dict())
    monkeypatch.setattr(pretrained, "run_of", lambda profile, name: run)
    command = ["--results", tmp_path / "runs", "--to", tmp_path / "nets", "--only", "digits-mlp"]
    first = CliRunner().invoke(pretrained.app, list(map(str, command)))
    assert first.exit_code == 0 and "% as shipped" in first.output, first.output
    weights = (tmp_path / "nets" / "digits-mlp.safetensors").read_bytes()
    record = json.loads((tmp_path / "nets" / "digits-mlp.json").read_text())
    assert record["config"] == small.to_dict() and record["test"]["images"] == 360
    origin = record["written"]["time"]
    again = CliRunner().invoke(pretrained.app, list(map(str, command)))
    assert again.exit_code == 0 and (tmp_path / "nets" / "digits-mlp.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "nets" / "digits-mlp.json").read_text())["written"]["time"] == origin  # kept as it is
    (tmp_path / "nets" / "digits-mlp.safetensors").write_bytes(weights[:-1] + b"\x00")
    assert CliRunner().invoke(pretrained.app, list(map(str, command))).exit_code == 0
    assert (tmp_path / "nets" / "digits-mlp.safetensors").read_bytes() == weights  # written again
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "nets")
    net, trained = models.load_pretrained("digits-mlp"), train.load_model(tmp_path / "runs" / "digits-mlp")
    for name, value in trained.state_dict().items():
        wanted = value.half().float() if value.ndim > 1 else value
        assert torch.equal(net.state_dict()[name], wanted), name


def test_the_page_has_the_table_of_the_records() -> None:
    assert CliRunner().invoke(pretrained.app, ["--check"]).exit_code == 0
    text = pretrained.PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in shipped.names())
    assert pretrained.table() in text
