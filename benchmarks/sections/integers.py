"""Inference of nets of windows in integers, beside float32, ONNX Runtime and the exported C."""

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

from firstspike import emulator

from ..nets import inference
from ..nets.windows import channels_last, images_of, net_of, relu_of
from ..records import recording_failures
from ..session import Session
from ..table_cells import ABSENT, milliseconds, ratio
from ..workloads import WORKLOADS, Workload, workload_named

TITLE = "Nets of windows: inference in integers"
STEPS = 16
#: Under `--avx2`, which ONNX Runtime does not heed: it is left out.
WITHOUT_AVX512 = os.environ.get("ATEN_CPU_CAPABILITY") == "avx2"
PEERS = {
    "ReLU, torch float32, ms": "relu",
    "ReLU, ONNX Runtime float32, ms": "onnxruntime",
    "ReLU, ONNX Runtime int8, ms": "onnxruntime int8",
    "exported C, gcc -O3, one thread, ms": "exported C",
}


def measure(session: Session) -> None:
    """One cell per net and batch."""
    record = session.record("integers")
    for workload in WORKLOADS if session.full else WORKLOADS[:2]:
        for size in (256, 1):
            head = {"work": workload.name, "steps": STEPS, "batch": size}
            record.measure(f"{workload.name}-B{size}", partial(_inference, session, workload, size), **head)


def _inference(session: Session, workload: Workload, size: int) -> dict[str, Any]:
    images, _ = images_of(size, workload)
    floats = images.float() / 255
    net, relu = net_of(workload, STEPS).eval(), relu_of(workload, normalization=False).eval()
    program = emulator.quantize(net)
    fast = emulator.IntegerNet(program)
    calls: dict[str, Callable[[], object]] = {
        "integers": inference(fast, images),
        "windowed, float32": inference(net, images),
        "relu": inference(relu, channels_last(floats)),
    }
    failures: dict[str, str] = {}
    if size == 1:
        with recording_failures(failures, "exported C"):
            calls["exported C"] = _exported(program, images)
    times = session.alternate(calls)
    for side, bits in () if WITHOUT_AVX512 else (("onnxruntime", 32), ("onnxruntime int8", 8)):
        with recording_failures(failures, side):  # by itself: its threads spin on after a call, and would slow the others
            for threads in {1, session.threads}:
                found = session.alternate({side: _onnx(relu, floats, bits, threads)})[side] | {"threads": threads}
                times[side] = min(times.get(side, found), found, key=lambda side: side["median"])
    return {"times": times, "failures": failures}


def _exported(program: emulator.Program, images: Tensor) -> Callable[[], object]:
    """The exported C of a program on one image, on one thread, compiled for this processor."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        emulator.export_c(program, folder)
        state = '#include "fs_core.h"\nint run(const uint8_t *);\nstatic fs_state s;\n'
        state += "int run(const uint8_t *pixels) { return fs_run(&s, pixels); }\n"
        (folder / "one.c").write_text(state)
        processor = "x86-64-v3" if WITHOUT_AVX512 else "native"
        command = ["cc", "-O3", f"-march={processor}", "-shared", "-fPIC", "-o", "one.so"]
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
        model = onnxruntime.InferenceSession(small if bits == 8 else plain, options, ["CPUExecutionProvider"])
    given = {"x": x.numpy()}
    return lambda: model.run(None, given)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """Milliseconds of each side, with the ratio to ours."""
    lines = []
    for row in rows:
        times = row["times"]
        lines.append(
            {
                "net": workload_named(row["work"]).spec,
                "batch": row["batch"],
                "integers, ms": milliseconds(times, "integers"),
                "windowed, float32, ms": milliseconds(times, "windowed, float32"),
            }
        )
        for label, side in PEERS.items():
            if not any(side in row["times"] for row in rows):
                continue
            cell = f"{milliseconds(times, side)}, {ratio(times, side, 'integers')}" if side in times else ABSENT
            lines[-1][label] = cell
    return [(f"Inference, T = {STEPS}; behind each peer, times as long as ours in integers", pd.DataFrame(lines))]


def summaries(rows: list[dict[str, Any]]) -> dict[str, tuple[str, pd.DataFrame]]:
    """`summary`: integers beside the ReLU net in torch and in ONNX Runtime's int8."""
    sides = {"ReLU, torch float32": "relu", "ReLU, ONNX Runtime int8": "onnxruntime int8"}
    lines = []
    for row in rows:
        times = row["times"]
        line = {
            "net": workload_named(row["work"]).spec,
            "batch": row["batch"],
            "windows in integers, ms": milliseconds(times, "integers"),
        }
        for label, side in sides.items():
            line |= {f"{label}, ms": milliseconds(times, side), f"{label}: times as long": ratio(times, side, "integers")}
        lines.append(line)
    return {"summary": (f"Inference of a batch, T = {STEPS}, median (quartiles)", pd.DataFrame(lines))}
