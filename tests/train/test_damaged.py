"""Damaged run folders and models: a ValueError or OSError with a clear text, whatever is broken, and never a wrong read.

FIRSTSPIKE_FUZZ sets the number of cases of each kind (CI: 100).
"""

import json
import os
import random
import shutil

import pytest
from typer.testing import CliRunner

from firstspike.cli import app
from firstspike.train import Config, fit, load_model

pytestmark = pytest.mark.filterwarnings("ignore:.* has no effect with readout")  # of a value that a case puts there

CASES = int(os.environ.get("FIRSTSPIKE_FUZZ", "100"))
CONFIG = Config(data="digits", spec="64-6-10", steps=3, epochs=1, batch=200, limit=200, threads=1)
VALUES = [None, True, -1, 0, 10**30, 1.5, 1e308, "", "x", "/dev/zero", "../../etc/passwd", [], [1], {}, {"a": 1}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    fit(CONFIG, directory=folder, progress=False)
    return folder


def mutated_bytes(raw, draw):
    """A few bytes changed, removed, or the end cut off."""
    bad = bytearray(raw)
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(bad[: draw.randrange(len(bad))])
    for _ in range(draw.choice((1, 3, 20))):
        at = draw.randrange(min(len(bad), 3000)) if kind == 1 else draw.randrange(len(bad))
        if kind == 2:
            del bad[at : at + draw.randrange(1, 9)]
        else:
            bad[at] = draw.randrange(256)
    return bytes(bad)


def places(value, path=()):
    """All places in nested plain values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutated_values(value, draw):
    """A copy of plain values with one of them replaced or removed."""
    copy = json.loads(json.dumps(value))
    path = draw.choice([p for p in places(copy) if p])
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if isinstance(inner, dict) and draw.random() < 0.4:
        del inner[path[-1]]
    else:
        inner[path[-1]] = draw.choice(VALUES)
    return copy


def survives(function, *arguments, **options):
    """Call; an error must be a ValueError or an OSError with a text of one or a few lines. Returns whether it was one."""
    try:
        function(*arguments, **options)
    except (ValueError, OSError) as error:
        text = str(error)
        assert len(text) > 10 and text.count("\n") < 4, text
        return True
    return False


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.json", "result.json", "checkpoint-*.safetensors"])
def test_files_with_broken_bytes(run, tmp_path, name):
    draw = random.Random(name)
    refused = 0
    for case in range(CASES):
        folder = tmp_path / str(case)
        shutil.copytree(run, folder)
        (path,) = folder.glob(name)
        path.write_bytes(mutated_bytes(path.read_bytes(), draw))
        if name != "model.safetensors":
            (folder / "model.safetensors").unlink()
        config = CONFIG.replace(epochs=2) if name.startswith("checkpoint") else CONFIG
        read = name == "result.json" or survives(load_model, folder)
        refused += survives(fit, config, directory=folder, progress=False) or read
        shutil.rmtree(folder)
    assert refused > CASES // 3


@pytest.mark.parametrize("name", ["checkpoint.json", "result.json"])
def test_records_with_wrong_values(run, tmp_path, name):
    draw = random.Random(name)
    record = json.loads((run / name).read_text())
    refused = 0
    for case in range(CASES):
        folder = tmp_path / str(case)
        shutil.copytree(run, folder)
        (folder / "model.safetensors").unlink()
        (folder / name).write_text(json.dumps(mutated_values(record, draw), indent=1))
        refused += survives(load_model, folder) | survives(fit, CONFIG, directory=folder, progress=False)
        shutil.rmtree(folder)
    assert refused > CASES // 4


def test_models_with_wrong_metadata(run, tmp_path):
    from firstspike._base import tensors

    draw = random.Random(3)
    content = tensors.read(run / "model.safetensors")
    plain = {name: json.loads(text) if name != "format" else text for name, text in content.metadata.items()}
    refused = 0
    for _ in range(CASES):
        metadata = mutated_values(plain, draw)
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
        (tmp_path / "model.safetensors").write_bytes(tensors.dumps(content.tensors, texts))
        refused += survives(load_model, tmp_path / "model.safetensors")
    assert refused > CASES // 4


@pytest.mark.parametrize("name", ["/dev/zero", "../x.safetensors", "checkpoint-0001-00000000.safetensors/../../x", ""])
def test_a_record_cannot_name_files_elsewhere(run, tmp_path, name):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    path = tmp_path / "run" / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tensors": name}, indent=1))
    with pytest.raises(ValueError, match="tensors must be the name of a checkpoint's file"):
        load_model(tmp_path / "run")


def test_the_command_never_shows_a_traceback(run, tmp_path):
    draw = random.Random(4)
    for case in range(max(10, CASES // 5)):
        folder = tmp_path / str(case)
        shutil.copytree(run, folder)
        path = draw.choice([path for path in folder.iterdir() if not path.name.startswith(".")])
        path.write_bytes(mutated_bytes(path.read_bytes(), draw))
        found = CliRunner().invoke(app, ["eval", str(folder)])
        assert found.exit_code in (0, 1) and isinstance(found.exception, (SystemExit, type(None))), found.exception
        if found.exit_code:
            assert found.stderr.startswith("error: ")
