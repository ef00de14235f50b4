"""Wrong arguments to training, data, files, emulator, plots and inspection: a clear error, or it works.

FIRSTSPIKE_FUZZ_CALLS sets the number of calls per function.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import firstspike as fs
from firstspike import data, emulator, energy, inspect, models, nir, nn, train
from firstspike.emulator import profile, qat

from .wrong_arguments import CALLS, ODD, check, floats, is_deliberate, spikes

pictures, plots = pytest.importorskip("PIL.Image"), pytest.importorskip("matplotlib.pyplot")
plot = pytest.importorskip("firstspike.plot", exc_type=ImportError)
for package in ("nir", "sklearn"):
    pytest.importorskip(package)

X, LABELS = floats(6, 5), torch.zeros(6, dtype=torch.int64)
EVENTS = np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i2")])
# Arguments that may be odd and still start what does not end.
LONG = ("epochs",)


def tools(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Functions with arguments that are right; their files lie in `folder`, the current one."""
    net = models.build("5-4-3", input_shape=(5,), steps=4)
    coded = models.build("5-4-3", input_shape=(5,), steps=4, encoder="spikes")
    layer = nn.TTFSLinear(5, 3, steps=4)
    program = emulator.quantize(net, calibration=X)
    ran = emulator.run(program, X)
    vectors = data.from_arrays(np.full((12, 5), 0.5, np.float32), np.arange(12) % 3)
    config = train.Config(spec="5-4-3", epochs=1, batch=6)
    fs.save(net, "net")
    emulator.save(program, "program")
    train.fit(config, directory="run", datasets=(vectors, vectors), progress=False)
    digits = train.Config(data="digits", spec="64-10-10", epochs=1)
    train.fit(digits, directory="digits", progress=False)
    Path("config.toml").write_text(config.to_toml())
    for part in ("train/a", "train/b", "test/a"):
        (folder / "images" / part).mkdir(parents=True)
        pictures.new("L", (4, 4)).save(folder / "images" / part / "one.png")
    with inspect.Monitor(net) as seen:
        net(X)
    placed, report = emulator.place(program), emulator.report(ran)
    return {
        "save": (fs.save, {"net": net, "path": "saved"}),
        "load": (fs.load, {"path": "net"}),
        "explain": (fs.explain, {"layer": layer, "batch": 2, "threads": None}),
        "profile a net": (fs.profile, {"net": net, "x": X, "table": "45nm-integer", "batch": 4}),
        "Dataset": (
            data.Dataset,
            {"images": floats(6, 1, 2, 2), "labels": LABELS, "classes": 2, "name": "n", "source": "s"}
            | {"steps": None, "recipe": None},
        ),
        "Normalize": (data.Normalize, {"mean": (0.5,), "std": (1.0,)}),
        "subset": (vectors.subset, {"index": slice(0, 2)}),
        "Normalize.of": (data.Normalize.of, {"images": floats(2, 1, 2, 2)}),
        "normalize": (data.Normalize(), {"images": floats(2, 1, 2, 2)}),
        "draw": (data.draw, {"dataset": vectors, "count": 3, "generator": None}),
        "split": (data.split, {"dataset": vectors, "validation": 0.5, "generator": None}),
        "from_arrays": (
            data.from_arrays,
            {"x": np.zeros((2, 5)), "y": np.array([0, 1]), "classes": 2, "name": "n", "source": "s"},
        ),
        "from_events": (
            data.from_events,
            {"recordings": [EVENTS], "y": [0], "sensor_size": (3, 3, 2), "steps": 4, "window": None, "classes": 2},
        ),
        "data.load": (data.load, {"name": "digits", "root": None, "train": True, "download": False}),
        "load_images": (data.load_images, {"folder": "images", "train": True, "size": 0}),
        "reload": (
            data.reload,
            {"recipe": {"kind": "named", "name": "digits"}, "train": True, "root": None, "download": False},
        ),
        "check": (emulator.check, {"model": net, "profile": "generic8"}),
        "quantize": (
            emulator.quantize,
            {"model": net, "profile": "generic8", "bits": 4, "granularity": "channel", "observer": "mse"}
            | {"calibration": X, "biases": "drop", "normalize": None, "name": "n"},
        ),
        "layer_sensitivity": (
            emulator.layer_sensitivity,
            {"model": net, "profile": "generic8", "images": X, "labels": LABELS, "bits": 4, "granularity": "channel"}
            | {"observer": "mse", "normalize": None},
        ),
        "place": (emulator.place, {"program": program}),
        "run": (
            emulator.run,
            {"program": program, "inputs": X, "labels": LABELS, "threads": 1, "early_exit": False, "trace": 0}
            | {"progress": None},
        ),
        "report": (
            emulator.report,
            {"run": ran, "placement": placed, "tables": None, "float_predictions": None, "samples": None},
        ),
        "count": (ran.count, {"name": "spikes"}),
        "destinations": (placed.destinations, {"layer": 0}),
        "write_json": (report.write_json, {"path": "report.json"}),
        "write_html": (report.write_html, {"path": "report.html"}),
        "emulator.save": (emulator.save, {"program": program, "path": "saved"}),
        "emulator.load": (emulator.load, {"path": "program"}),
        "export_c": (emulator.export_c, {"program": program, "directory": "c", "samples": X}),
        "profile": (profile.load, {"profile": "generic8"}),
        "prepare": (
            qat.prepare,
            {"model": net, "profile": "generic8", "bits": 4, "granularity": "channel", "observer": "mse"},
        ),
        "finetune": (
            lambda **change: qat.finetune(**{"model": qat.prepare(net)} | change),
            {"images": X, "labels": LABELS, "epochs": 1, "batch": 3, "lr": 1e-4, "generator": torch.Generator()}
            | {"normalize": None, "progress": None},
        ),
        "is_prepared": (qat.is_prepared, {"model": net}),
        "energy": (energy.load, {"table": "45nm-integer"}),
        "EnergyTable": (
            energy.EnergyTable,
            {"name": "a", "title": "b", "source": "c", "note": "d", "synaptic_operation_pj": 1.0, "spike_pj": None},
        ),
        "Monitor": (inspect.Monitor, {"net": net, "with_currents": False}),
        "OperationCounter": (inspect.OperationCounter, {"model": net}),
        "layer_current": (inspect.layer_current, {"layer": layer, "before": spikes(2, 5)}),
        "layer_signals": (inspect.layer_signals, {"model": net, "x": X, "labels": LABELS}),
        "synaptic_operations": (inspect.synaptic_operations, {"events": floats(2, 5), "layer": layer}),
        "from_nir": (nir.from_nir, {"graph": nir.to_nir(coded), "steps": 4, "encoder": "spikes", "dt": 1e-4}),
        "to_nir": (nir.to_nir, {"net": coded, "input_shape": None, "dt": 1e-4, "integrate_and_fire": "IF"}),
        "histogram": (plot.histogram, {"seen": seen}),
        "membrane": (plot.membrane, {"seen": seen, "sample": 0}),
        "raster": (plot.raster, {"seen": seen, "sample": 0}),
        "weights": (plot.weights, {"layer": layer, "channel": 0, "shape": (1, 5), "most": 3, "columns": 2}),
        "Augmentation": (train.Augmentation, {"shift": 0, "flip": False, "erase": 0.0, "erase_area": 0.2}),
        "Config": (train.Config, {key: value for key, value in config.to_dict().items() if key != "augmentation"}),
        "differences": (config.differences, {"other": config}),
        "from_dict": (train.Config.from_dict, {"values": {"spec": "5-3"}}),
        "from_toml": (train.Config.from_toml, {"path": "config.toml", "changes": None}),
        "build_model": (train.build_model, {"config": config, "input_shape": (5,)}),
        "build_optimizer": (train.build_optimizer, {"config": config, "model": net}),
        "evaluate": (
            train.evaluate,
            {"model": train.load_model("run").model, "dataset": vectors, "normalize": None, "batch": 4},
        ),
        "load_model": (train.load_model, {"path": "run", "model": None}),
        "load_own": (
            train.load_own,
            {"trained": train.load_model("digits"), "train": True, "images": None, "root": None, "download": False},
        ),
        "save_model": (train.save_model, {"path": "saved", "trained": train.load_model("run")}),
        "fit": (
            train.fit,
            {"config": config, "directory": None, "datasets": (vectors, vectors), "images": None, "model": None}
            | {"loss": None, "optimizer": None, "init_from": None, "callbacks": (), "resume": True, "progress": False},
        ),
    }


def wrong_calls(name: str, right: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One odd argument; the draw depends on the name alone."""
    draw = random.Random(name)
    for _ in range(CALLS):
        key, value = draw.choice(list(right)), draw.choice(ODD)
        if key not in LONG and not (key in ("loss", "optimizer", "callbacks", "progress") and callable(value)):
            yield {key: value}


def test_errors_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (function, right) in tools(tmp_path).items():
        try:
            check(function, right, wrong_calls(name, right), is_deliberate)
        except BaseException as error:
            error.add_note(f"in {name}")
            raise
        plots.close("all")
