"""The command as a function, a trained run, and folders of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from firstspike import data, emulator, train
from firstspike.cli import app


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return invoke


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of a short run on the digits."""
    folder = tmp_path_factory.mktemp("trained")
    config = train.Config(data="digits", spec="64-32-10", epochs=3, lr=3e-3, batch=64)
    train.fit(config, directory=folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Some of the digits as files."""
    folder, digits = tmp_path_factory.mktemp("pictures"), data.load("digits", train=False)
    for part in ("train", "test"):
        for label in range(10):
            (folder / part / str(label)).mkdir(parents=True)
            for index in (digits.labels == label).nonzero()[:3, 0].tolist():
                Image.fromarray(digits.images[index, 0].numpy()).save(folder / part / str(label) / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def program(trained, tmp_path_factory) -> Path:
    """The run's net as a program."""
    path = tmp_path_factory.mktemp("program") / "p.safetensors"
    emulator.save(emulator.quantize(train.load_model(trained)), path)
    return path
