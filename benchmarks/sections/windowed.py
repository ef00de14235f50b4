"""Nets of windows beside their ReLU counterparts: a training step, and inference in integers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from firstspike import data, emulator, models

from .. import inputs
from ..nets import build, inference, training_step
from ..nets.training import feed
from ..peer_settings import fastest_setting
from ..records import recording_failures
from ..session import Session, fresh_compiler
from ..table_cells import ABSENT, milliseconds, ratio
from ..timing import speedup
from ..workloads import WORKLOADS, Workload, workload_named

TITLE = "Nets of windows"
STEPS = (2, 4, 8, 16, 64, 255)
PEER_STEPS = (8, 16, 64)
STEPS_OF_INFERENCE = 16
#: Under `--avx2`, which ONNX Runtime and a compiler's -march=native do not heed: those sides are left out.
WITHOUT_AVX512 = os.environ.get("ATEN_CPU_CAPABILITY") == "avx2"


def measure(session: Session) -> None:
    """One cell per net and number of steps, and one in bfloat16; then one per net and batch in inference."""
    record = session.record("windowed")
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for steps in STEPS if session.full else (16,):
            head = {"what": "training", "work": workload.name, "steps": steps, "batch": workload.batch}
            record.measure(f"{workload.name}-T{steps}", partial(_training, session, workload, steps), **head)
        head = {"what": "bfloat16", "work": workload.name, "steps": STEPS_OF_INFERENCE, "batch": workload.batch}
        record.measure(f"{workload.name}-bfloat16", partial(_bfloat16, session, workload), **head)
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for size in (256, 1):
            head = {"what": "inference", "work": workload.name, "steps": STEPS_OF_INFERENCE, "batch": size}
            record.measure(f"{workload.name}-B{size}", partial(_inference, session, workload, size), **head)


def _training(session: Session, workload: Workload, steps: int) -> dict[str, Any]:
    batch = inputs.batch("fashion-mnist", workload.batch, min(steps, 254), flat=workload.flat)
    images, labels = images_of(workload.batch, workload)
    floats = _channels_last(images.float() / 255)
    calls: dict[str, Callable[[], object]] = {
        "windowed": training_step(net_of(workload, steps), images, labels),
        "relu": training_step(_relu(workload), floats, labels),
    }
    failures: dict[str, str] = {}
    fresh_compiler()
    if steps in PEER_STEPS and steps in workload.steps:
        with recording_failures(failures, "spikingjelly"):
            setting = fastest_setting(workload, steps, "spikingjelly", compiled=None if session.full else False)
            call = training_step(build(setting, workload, steps), feed("spikingjelly", batch), labels)
            call()
            calls["spikingjelly"] = call
    return {"times": session.alternate(calls), "failures": failures}


def _bfloat16(session: Session, workload: Workload) -> dict[str, Any]:
    """Training steps of both nets, with products in float32 and in bfloat16."""

    def low(step: Callable[[], Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return step()

    images, labels = images_of(workload.batch, workload)
    floats = _channels_last(images.float() / 255)
    calls: dict[str, Callable[[], object]] = {}
    nets = {"windowed": (net_of(workload, STEPS_OF_INFERENCE), images), "relu": (_relu(workload), floats)}
    for side, (net, x) in nets.items():
        step = training_step(net, x, labels)
        calls |= {f"{side}, float32": step, f"{side}, bfloat16": partial(low, step)}
    return {"times": session.alternate(calls)}


def _inference(session: Session, workload: Workload, size: int) -> dict[str, Any]:
    images, _ = images_of(size, workload)
    floats = images.float() / 255
    net, relu = net_of(workload, STEPS_OF_INFERENCE).eval(), _relu(workload, normalization=False).eval()
    program = emulator.quantize(net)
    fast = emulator.IntegerNet(program)
    calls: dict[str, Callable[[], object]] = {
        "integers": inference(fast, images),
        "windowed, float32": inference(net, images),
        "relu": inference(relu, _channels_last(floats)),
    }
    failures: dict[str, str] = {}
    if size == 1 and not WITHOUT_AVX512:
        with recording_failures(failures, "exported C"):
            calls["exported C"] = _exported(program, images)
    for side, bits in () if WITHOUT_AVX512 else (("onnxruntime", 32), ("onnxruntime int8", 8)):
        with recording_failures(failures, side):
            call = _onnx(relu, floats, bits, session.threads)
            call()
            calls[side] = call
    return {"times": session.alternate(calls), "failures": failures}


def images_of(size: int, workload: Workload) -> tuple[Tensor, Tensor]:
    dataset = data.load("fashion-mnist", train=False)
    images = dataset.images[:size]
    return images.flatten(1) if workload.flat else images, dataset.labels[:size]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def net_of(workload: Workload, steps: int) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return models.build(workload.spec, input_shape=workload.input_shape, steps=steps, timing="layer", generator=generator)


def _relu(workload: Workload, normalization: bool = True) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return models.relu_counterpart(
        workload.spec, input_shape=workload.input_shape, normalization=normalization, generator=generator
    )


def _exported(program: emulator.Program, images: Tensor) -> Callable[[], object]:
    """The exported C of a program on one image, on one thread, compiled for this processor."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        emulator.export_c(program, folder)
        state = '#include "fs_core.h"\nint run(const uint8_t *);\nstatic fs_state s;\n'
        state += "int run(const uint8_t *pixels) { return fs_run(&s, pixels); }\n"
        (folder / "one.c").write_text(state)
        command = ["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", "one.so"]
        subprocess.run([*command, "fs_core.c", "fs_network.c", "one.c"], cwd=folder, check=True)
        library = ctypes.CDLL(str(folder / "one.so"))
    pixels = images.numpy().copy()
    expected = int(emulator.run(program, images).predictions[0])
    if library.run(ctypes.c_void_p(pixels.ctypes.data)) != expected:
        raise RuntimeError("the exported C decides otherwise")
    return lambda: library.run(ctypes.c_void_p(pixels.ctypes.data))


def _onnx(net: nn.Module, x: Tensor, bits: int, threads: int) -> Callable[[], object]:
    """A net in ONNX Runtime: float32, or int8 by its own static quantisation per channel, calibrated on the inputs."""
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        parts = iter(x[:64].split(16))

        def get_next(self) -> dict[str, Any] | None:
            part = next(self.parts, None)
            return None if part is None else {"x": part.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, small = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "ready", "small"))
        axes = {"x": {0: "batch"}}
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(net, (x[:1],), plain, dynamo=False, input_names=["x"], dynamic_axes=axes)
        if bits == 8:
            quant_pre_process(plain, ready)
            quantization.quantize_static(ready, small, Reader(), per_channel=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # threads that spin on would slow the other sides
        model = onnxruntime.InferenceSession(small if bits == 8 else plain, options, ["CPUExecutionProvider"])
    given = {"x": x.numpy()}
    return lambda: model.run(None, given)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Training steps and inference, with the ratio to the ReLU net in torch; then training steps in bfloat16."""
    training, running, low = [], [], []
    for row in rows:
        times = row["times"]
        head = {"net": workload_named(row["work"]).spec, "batch": row["batch"]}
        if row["what"] == "training":
            training.append(
                {
                    **head,
                    "T": row["steps"],
                    "windowed, ms": milliseconds(times, "windowed"),
                    "ReLU, torch, ms": milliseconds(times, "relu"),
                    "times as long as ReLU": f"{speedup(times['windowed']['samples'], times['relu']['samples']):.2f}x",
                    "SpikingJelly, ms": milliseconds(times, "spikingjelly"),
                    "SpikingJelly: times as long as windowed": ratio(times, "spikingjelly", "windowed"),
                }
            )
            continue
        if row["what"] == "bfloat16":
            cells = {**head, "T": row["steps"]}
            for name, side in (("windowed", "windowed"), ("ReLU, torch", "relu")):
                full, reduced = f"{side}, float32", f"{side}, bfloat16"
                cells |= {
                    f"{name}, float32, ms": milliseconds(times, full),
                    f"{name}, bfloat16, ms": milliseconds(times, reduced),
                }
                cells[f"{name}, speed-up"] = f"{speedup(times[full]['samples'], times[reduced]['samples']):.2f}x"
            low.append(cells)
            continue
        running.append(
            {
                **head,
                "integers, ms": milliseconds(times, "integers"),
                "windowed, float32, ms": milliseconds(times, "windowed, float32"),
                **{
                    label: f"{milliseconds(times, side)}, {ratio(times, side, 'integers')}" if side in times else ABSENT
                    for label, side in (
                        ("ReLU, torch float32, ms", "relu"),
                        ("ReLU, ONNX Runtime float32, ms", "onnxruntime"),
                        ("ReLU, ONNX Runtime int8, ms", "onnxruntime int8"),
                        ("exported C, gcc -O3, one thread, ms", "exported C"),
                    )
                },
            }
        )
    return [
        (
            "Training step of a net of windows and of its ReLU counterpart, both with batch normalisation",
            pd.DataFrame(training),
        ),
        (
            f"Inference, T = {STEPS_OF_INFERENCE}; behind each peer, times as long as ours in integers",
            pd.DataFrame(running),
        ),
        ("Training step with products in bfloat16", pd.DataFrame(low)),
    ]
