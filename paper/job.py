"""One run, from its settings to the contents of its record. Executors call `train`, here or on another machine."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

import firstspike
from firstspike import data, inspect, models, provenance
from firstspike import train as training
from firstspike.energy import LayerCounts
from firstspike.inspect import layer_signals
from firstspike.models import TTFSNet

from .execute import Outcome, Task
from .runs import Run

PACKAGES = ("firstspike", "torch", "numpy", "scikit-learn")  # what decides the numbers of a run
DIAGNOSED = 256  # training images for the statistics of layers
COUNTED = 1000  # test images for the counts of operations
DECIDED = 2000  # test images for the distribution of steps to decision
_BATCH = 500


def train(task: Task) -> Outcome:
    """Train and measure; an error is an outcome too, so that one run stops no other."""
    try:
        return Outcome(task.run, record=_record(task))
    except data.NotAvailable as error:
        return Outcome(task.run, reason="not run: no data", how=str(error))
    except Exception as error:
        traceback.print_exc()
        return Outcome(task.run, reason=f"failed: {type(error).__name__}", how=str(error))


def load(run: Run, root: str | None, *, train: bool) -> data.Dataset:
    """The training or test part of a run's data; NotAvailable where it is not there."""
    if not run.images:
        return data.load(run.data, root=root, train=train)
    return data.load_images(image_folder(run, root), train=train)


def image_folder(run: Run, root: str | None) -> Path:
    """The folder of a run's images, in the user's data folder; NotAvailable where it is not there."""
    base = data.user_root(root)
    folder = None if base is None else base / run.images
    if folder is None or not (folder / "train").is_dir():
        how = f"Put the images into DIR/{run.images}/train/CLASS/ and DIR/{run.images}/test/CLASS/, and name DIR by `--data`."
        raise data.NotAvailable(run.images, [f"{folder or run.images}: no such folder of images"], how)
    return folder


def _record(task: Task) -> dict[str, Any]:
    """The record of a run. Its commit, versions and machine are of its last session; `sessions` has them all."""
    run, began, worked = task.run, time.perf_counter(), time.process_time()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    torch.set_num_threads(run.cores)
    datasets = (load(run, task.data, train=True), load(run, task.data, train=False))
    result = fit(run.config, task.workplace, datasets)
    net = training.load_model(task.workplace)
    results: dict[str, Any] = {
        "parameters": result.parameters,
        "sources": [f"image folder {run.images}"] if run.images else list(result.sources),
        "images": _images(result.history[-1]),
        "curve": _curve(result.history),
        "test": _test(result.history[-1].test),
        "best": _best(result.history),
        "validation": _percent(result.history[-1].validation),
        "diagnosis": None,
    }
    layers = inspect.counts(net, datasets[1].images[:COUNTED], batch=_BATCH)
    results["operations"] = operations(layers)
    results["counts"] = [asdict(layer) for layer in counts(run, net, layers, datasets[1].input_shape)]
    if isinstance(net, TTFSNet):
        results["test"]["decided"] = _decided(net, datasets[1])
        results["diagnosis"] = _diagnosis(run, net, datasets[0])
    extra = time.perf_counter() - began
    return {
        "results": results,
        "timing": {
            "started": started,
            "seconds": round(max(extra, result.seconds), 3),
            "cpu_seconds": round(time.process_time() - worked, 3) if len(result.sessions) == 1 else None,
            "epochs": [round(epoch.seconds, 3) for epoch in result.history],
            "peak_mb": round(result.peak_memory / 1e6, 1),
        },
        "provenance": {
            "commit": None,
            "sessions": list(result.sessions),
            "versions": provenance.versions(PACKAGES),
            "machine": provenance.machine(),
            "backend": backend(),
            "threads": run.cores,
        },
    }


def backend() -> str:
    """The kernels that run here, in words."""
    cpu = firstspike.backends()["cpu"]
    return f"C++, {cpu['processor']} {cpu['instruction_set']}, {cpu['lanes']} lanes"


def fit(config: training.Config, folder: Path, datasets: tuple[data.Dataset, data.Dataset]) -> training.Result:
    """Train, or resume from the checkpoint of an earlier session; a checkpoint that cannot be used is dropped."""
    arguments: dict[str, Any] = {"directory": folder, "datasets": datasets, "progress": False}
    try:
        return training.fit(config, **arguments)
    except training.BadCheckpoint:
        return training.fit(config, resume=False, **arguments)


def _images(last: training.Epoch) -> dict[str, int]:
    parts = {"train": last.train, "validation": last.validation, "test": last.test}
    return {name: part.images for name, part in parts.items() if part is not None}


def _percent(metrics: training.Metrics | None) -> float | None:
    return None if metrics is None else 100 * metrics.accuracy


def _curve(history: Sequence[training.Epoch]) -> dict[str, list[float | None]]:
    """One entry per epoch; test accuracy is None where it was not measured (see `train.Config.validation`)."""
    return {
        "loss": [epoch.train.loss for epoch in history],
        "train_accuracy": [_percent(epoch.train) for epoch in history],
        "validation_accuracy": [_percent(epoch.validation) for epoch in history],
        "test_accuracy": [_percent(epoch.test) for epoch in history],
        "lr": [epoch.lr for epoch in history],
    }


def _best(history: Sequence[training.Epoch]) -> dict[str, Any] | None:
    """The epoch with the best test accuracy, the first of equals; None where not every epoch was tested."""
    measured = [(epoch.test.accuracy, -epoch.epoch) for epoch in history if epoch.test is not None]
    if len(measured) < len(history):
        return None
    accuracy, epoch = max(measured)
    return {"epoch": -epoch, "accuracy": 100 * accuracy}


def _test(metrics: training.Metrics | None) -> dict[str, Any]:
    assert metrics is not None  # `fit` tests the last epoch always
    found: dict[str, Any] = {"accuracy": 100 * metrics.accuracy, "loss": metrics.loss}
    if metrics.steps_mean is None:
        return found
    return found | {
        "decision": {"mean": metrics.steps_mean, "median": metrics.steps_median, "p95": metrics.steps_p95},
        "ties": _times100(metrics.ties),
        "silent": _times100(metrics.silent),
        "spikes_per_neuron": metrics.spikes_per_neuron,
        "spikes_per_layer": list(metrics.spikes_per_layer or ()),
        "spikes_per_image": metrics.spikes_per_image,
        "repeated": _times100(metrics.pooled_twice),
    }


def _times100(share: float | None) -> float | None:
    return None if share is None else 100 * share


def operations(layers: Sequence[LayerCounts]) -> dict[str, float]:
    """Sums per image over the layers with weights."""
    own = [layer for layer in layers if layer.kind != "pool"]
    return {
        "additions": sum(layer.additions for layer in own),
        "macs": sum(layer.direct_macs for layer in own),
        "nonzero_macs": sum(layer.nonzero_macs for layer in own if layer.direct_macs),
        "updates": sum(layer.active + layer.idle for layer in own),
    }


@torch.no_grad()
def _decided(net: TTFSNet, test: data.Dataset) -> list[int]:
    """How many of the first test images are decided in each step; the last number: in none."""
    parts = range(0, min(DECIDED, len(test)), _BATCH)
    steps = [net.observe(test.images[start : start + _BATCH]).decision_step for start in parts]
    return torch.bincount(torch.cat(steps), minlength=net.steps + 1).tolist()


def counts(run: Run, net: nn.Module, layers: list[LayerCounts], shape: tuple[int, ...]) -> list[LayerCounts]:
    """What each layer does per image; of the ReLU counterpart of a net of windows its own multiply-adds, and no spikes."""
    if isinstance(net, TTFSNet):
        return layers
    if run.timing != "windowed":
        return []
    twin = models.build(run.spec, input_shape=shape, steps=1, timing="windowed", pooling=run.pooling)
    own = iter(layers)
    silent: dict[str, Any] = {"events": 0.0, "additions": 0.0, "spikes": 0.0, "active": 0.0, "idle": 0.0}
    sizes = [replace(layer, **silent) for layer in inspect.counts(twin, torch.zeros(1, *shape, dtype=torch.uint8))]
    return [replace(layer, nonzero_macs=next(own).nonzero_macs) if layer.kind != "pool" else layer for layer in sizes]


def _diagnosis(run: Run, net: TTFSNet, train: data.Dataset) -> dict[str, Any]:
    """Statistics of the layers before and after training, on the first training images."""
    x, labels = train.images[:DIAGNOSED], train.labels[:DIAGNOSED]
    fresh: Any = training.build_model(run.config, input_shape=train.input_shape).eval()
    fresh.normalize = net.normalize
    return {"init": layer_signals(fresh, x, labels), "trained": layer_signals(net, x, labels)}
