"""Exported C on microcontrollers: sizes, and instructions per inference in QEMU, beside a plain net of bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

import firstspike
from firstspike import data, models
from firstspike import emulator as em

from ..session import Session

TITLE = "Microcontrollers"
SOURCES = Path(__file__).resolve().parents[1] / "cortex"
COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
MISSING = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
#: Processor: QEMU's board, and where its code and data lie. Code of a Cortex-M0+ runs on an M3, which has all its instructions.
BOARDS = {
    "cortex-m0plus": ("mps2-an385", "0x00000000", "0x20000000"),
    "cortex-m4": ("mps2-an386", "0x00000000", "0x20000000"),
    "cortex-m33": ("mps2-an505", "0x10000000", "0x38000000"),
}
NETS = {"MLP": ("784-800-800-10", "mnist-mlp"), "CNN": ("32C3-AP2-64C3-AP2-256-10", "mnist-cnn")}
FLAGS = ("-std=c99", "-O2", "-mthumb", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror")
VECTORS, LEVELS = 10, 16


def build(folder: Path, cpu: str, sources: list[Path], name: str) -> dict[str, int]:
    """Compile a program for a processor; the bytes of code and constants, and of RAM, of the net's own objects."""
    _, code, start = BOARDS[cpu]
    objects = []
    for source in sources:
        objects.append(folder / f"{source.stem}.o")
        command = [COMPILER, *FLAGS, f"-mcpu={cpu}", "-I", str(folder), "-I", str(SOURCES), "-c", str(source)]
        subprocess.run([*command, "-o", str(objects[-1])], check=True)
    memory = [f"-Wl,--defsym=CODE={code},--defsym=DATA={start}", "-T", str(SOURCES / "mps2.ld")]
    link = [
        COMPILER,
        "-mthumb",
        f"-mcpu={cpu}",
        "--specs=rdimon.specs",
        "-Wl,--no-warn-rwx-segments",
        *memory,
        *map(str, objects),
    ]
    subprocess.run([*link, "-o", str(folder / f"{name}.elf")], check=True)
    sizes: dict[str, int] = {}
    for path in objects:
        done = subprocess.run(["arm-none-eabi-size", str(path)], capture_output=True, text=True, check=True)
        text, initialised, zeroed = map(int, done.stdout.splitlines()[1].split()[:3])
        sizes[path.stem] = text + initialised
        sizes[f"{path.stem} RAM"] = initialised + zeroed
    return sizes


def run(folder: Path, cpu: str, name: str) -> str:
    """What a program prints in QEMU, one instruction per nanosecond of its clock."""
    board = ["-M", BOARDS[cpu][0], "-nographic", "-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
    command = [EMULATOR, *board, "-kernel", str(folder / f"{name}.elf")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600, stdin=subprocess.DEVNULL).stdout


def spiking(program: em.Program, images: torch.Tensor, cpu: str, folder: Path) -> dict[str, Any]:
    """Sizes and instructions of a program's C; its test vectors must be equal to the emulator's."""
    made = em.export_c(program, folder, samples=images)
    own = [folder / f"{name}.c" for name in ("fs_core", "fs_network", "fs_vectors")]
    build(folder, cpu, [*own, folder / "main.c", SOURCES / "start.c"], "check")
    text = run(folder, cpu, "check")
    if f"equal to the emulator: {len(images)} of {len(images)} samples" not in text:
        raise RuntimeError(f"{program} on {cpu}: {text}")
    sizes = build(folder, cpu, [*own, *(SOURCES / f"{name}.c" for name in ("spiking", "count", "start"))], "count")
    ram = int(re.search(r"RAM: (\d+)", text)[1])  # type: ignore[index]
    operations = made.macs + (made.operations_per_sample or 0)
    return _row(run(folder, cpu, "count"), sizes["fs_core"], sizes["fs_network"], ram) | {"operations": operations}


def _row(text: str, code: int, tables: int, ram: int) -> dict[str, Any]:
    instructions = int(re.search(r"instructions (\d+)", text)[1])  # type: ignore[index]
    classes = [int(found) for found in re.findall(r"class (\d+)", text)]
    return {"code": code, "tables": tables, "ram": ram, "instructions": instructions, "classes": classes}


def relu(spec: str, images: torch.Tensor, labels: torch.Tensor) -> models.ReluNet:
    """The ReLU net of a string, trained for a few hundred steps."""
    torch.manual_seed(0)
    net = models.relu_counterpart(spec, input_shape=(1, 28, 28))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for pick in torch.randperm(len(images))[:20_000].split(100):
        loss = nn.functional.cross_entropy(net(images[pick]), labels[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def plain(net: models.ReluNet, images: torch.Tensor, vectors: torch.Tensor, cpu: str, folder: Path) -> dict[str, Any]:
    """Sizes and instructions of the ReLU net in bytes, one scale per layer (benchmarks/cortex/plain.c)."""
    records: list[str] = []
    parts, largest, macs = ['#include "plain.h"\n'], 1, 0
    scale, pooled, x = 1 / 255, 0, images[:500].float() / 255
    with torch.no_grad():
        for module in net.layers:
            before, x = x, module(x)
            if isinstance(module, nn.AvgPool2d):
                pooled = 1
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                map_shape = before.shape if isinstance(module, nn.Flatten) else x.shape
                continue
            weight, conv = module.weight.detach(), isinstance(module, nn.Conv2d)
            number, inputs = len(weight), before.shape[1]
            height, width = x.shape[2:] if conv else map_shape[2:] if pooled else (1, 1)
            if conv:
                weight = weight.permute(0, 2, 3, 1)
            elif pooled:
                weight = weight.view(number, -1, height, width).permute(0, 2, 3, 1)
            step = weight.abs().max().item() / 127
            codes = (weight / step).round().to(torch.int8).reshape(number, -1).numpy()
            assert module.bias is not None
            bias = (module.bias.detach() / (scale * step)).round().to(torch.int32).numpy()
            following = x.max().item() / 255
            n, factor = len(records), round(scale * step / following * 2**24)
            parts += [_table(f"int8_t weights_{n}", codes), _table(f"int32_t bias_{n}", bias)]
            records.append(f"{{{int(conv)}, {pooled}, {height}, {width}, {inputs}, {number}, weights_{n}, bias_{n}, {factor}}}")
            largest = max(largest, x[0].numel(), before[0].numel())
            macs += codes.size * (height * width if conv else 1)
            scale, pooled = following, 0
    parts.append(f"const plain_layer plain_layers[] = {{{', '.join(records)}}};\nconst int plain_count = {len(records)};\n")
    pixels: NDArray[np.uint8] = vectors.flatten(1).numpy()
    driver = f'#include "plain.h"\n{_table("uint8_t pixels", pixels)}'
    driver += f"extern const int samples;\nconst int samples = {len(pixels)};\nint classify(int sample);\n"
    driver += f"int classify(int sample) {{ return plain_run(pixels + sample * {pixels.shape[1]}); }}\n"
    for name, text in (
        ("plain_net.c", "\n".join(parts)),
        ("driver.c", driver),
        ("plain_sizes.h", f"#define PLAIN_LARGEST {largest}\n"),
    ):
        (folder / name).write_text(text)
    sources = [
        SOURCES / "plain.c",
        folder / "plain_net.c",
        folder / "driver.c",
        SOURCES / "count.c",
        SOURCES / "start.c",
    ]
    sizes = build(folder, cpu, sources, "plain")
    return _row(run(folder, cpu, "plain"), sizes["plain"], sizes["plain_net"], sizes["plain RAM"]) | {"operations": macs}


def _table(declaration: str, values: NDArray[Any]) -> str:
    return f"static const {declaration}[] = {{{', '.join(map(str, values.ravel().tolist()))}}};\n"


def measure(session: Session) -> None:
    """One cell per net, kind and processor; nothing where the tools are missing."""
    if MISSING:
        print(f"cortex: left out, without {' and '.join(MISSING)}")
        return
    record = session.record("cortex")
    train, test = data.load("mnist", train=True), data.load("mnist", train=False)
    vectors = test.images[:VECTORS]
    for name, (spec, shipped) in NETS.items():
        steps = models.load_pretrained(shipped)
        net = relu(spec, train.images, train.labels)
        windows = firstspike.convert(net, train.images[:500] / 255, steps=LEVELS)
        programs = {
            f"step by step, T = {steps.steps}": em.quantize(steps, calibration=train.images[:200], name=shipped),
            f"windows, T = {LEVELS}": em.quantize(windows, calibration=train.images[:200], name=f"{shipped} of windows"),
        }
        for cpu in BOARDS:
            for kind in (*programs, "plain bytes"):
                head = {"net": name, "spec": spec, "kind": kind, "cpu": cpu}
                with tempfile.TemporaryDirectory() as place:
                    if kind in programs:
                        work = partial(spiking, programs[kind], vectors, cpu, Path(place))
                    else:
                        work = partial(plain, net, train.images, vectors, cpu, Path(place))
                    record.measure(f"{name}, {kind}, {cpu}", work, **head)


def tables(rows: list[dict[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    """One row per net and kind: flash, RAM, operations, and instructions by processor."""
    made: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = made.setdefault((row["net"], row["kind"]), {"net": row["spec"], "kind": row["kind"]})
        line["operations"] = f"{row['operations']:,.0f}"
        line["flash: code, bytes"], line["flash: tables, bytes"] = f"{row['code']:,}", f"{row['tables']:,}"
        line["RAM, bytes"] = f"{row['ram']:,}"
        line[f"instructions, {row['cpu']}"] = f"{row['instructions']:,}"
    caption = "Per MNIST image (mean of ten), gcc -O2; sizes are of the Cortex-M33"
    return [(caption, pd.DataFrame(list(made.values())))]
