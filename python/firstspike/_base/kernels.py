"""Which compiled kernels run, and why.

The CPU kernels are built once for each instruction set, each in a separate module (`_cpu_v2`, `_cpu_v3`, `_cpu_v4` on x86-64,
`_cpu_generic` elsewhere). The newest one that the processor has is taken; `FIRSTSPIKE_ISA=v2|v3|v4|generic` forces another.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

if importlib.util.find_spec(f"{__package__}._core") is None:
    raise ImportError(
        f"firstspike is not compiled for {sys.implementation.cache_tag} in {Path(__file__).parent}: run pip install . in the "
        "project's folder and start Python elsewhere, or build in place as CONTRIBUTING.md says"
    )
from . import _core  # after the check, whose message says what to do
from .provenance import cores, processor

_MODULES = {"v2": "_cpu_v2", "v3": "_cpu_v3", "v4": "_cpu_v4", "generic": "_cpu_generic"}


def _available() -> list[str]:
    """The instruction sets that are built and that the processor has, oldest first."""
    return [
        name
        for name in ("generic", *_core.instruction_sets())
        if importlib.util.find_spec(f"{__package__}.{_MODULES[name]}") is not None
    ]


def _choose() -> tuple[str, str]:
    """The instruction set to use, and the reason."""
    available = _available()
    if not available:
        raise ImportError(
            f"firstspike has no kernels for this processor ({platform.machine()} without SSE4.2 and POPCNT, or a build without "
            "its instruction set); build it here with pip install . -C cmake.define.FIRSTSPIKE_ISAS=generic"
        )
    forced = os.environ.get("FIRSTSPIKE_ISA")
    if forced is None:
        slow = _core.avx512_by_loops and available[-1] == "v4"
        return available[-1], "AVX-512 by loops, a slow build for tests" if slow else "the newest that this processor has"
    if forced not in available:
        raise ValueError(f"FIRSTSPIKE_ISA must be one of {', '.join(available)} on this processor, got {forced!r}")
    return forced, "forced by FIRSTSPIKE_ISA"


def _openmp_pool() -> tuple[int, str]:
    """Address of GOMP_parallel in the OpenMP library that torch has loaded, 0 where there is none, and the reason."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return 0, "own threads: the OpenMP library of torch can be found on Linux only"
    loaded = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines() if "libgomp" in line}
    root = str(Path(torch.__file__).parent)
    ours = sorted(loaded, key=lambda path: not path.startswith(root))
    if not ours:
        return 0, "own threads: torch has loaded no libgomp"
    address = ctypes.cast(ctypes.CDLL(ours[0]).GOMP_parallel, ctypes.c_void_p).value
    return address or 0, f"torch's OpenMP pool ({Path(ours[0]).name})"


ISA, _ISA_REASON = _choose()
cpu = importlib.import_module(f".{_MODULES[ISA]}", __package__)
_POOL, _POOL_REASON = _openmp_pool()
cpu.share_openmp_pool(_POOL)

_OLDEST_DEVICE = (8, 0)  # compute capability that the CUDA kernels are compiled for (CMakeLists.txt)


def _cuda_refusal(driver: int, runtime: int, capability: tuple[int, int]) -> str | None:
    """Why the CUDA module cannot run on this driver and device; None where it can.

    driver, runtime: CUDA versions, 12040 for 12.4. A runtime runs on every driver of its major version or a later one.
    """

    def name(version: int) -> str:
        return f"{version // 1000}.{version % 1000 // 10}"

    if driver // 1000 < runtime // 1000:
        return f"built with CUDA {name(runtime)}, but the driver knows CUDA up to {name(driver)} only: install a newer driver"
    if capability < _OLDEST_DEVICE:
        oldest = ".".join(map(str, _OLDEST_DEVICE))
        return f"built for compute capability {oldest} and later, but the device has {'.'.join(map(str, capability))}"
    return None


def find_cuda() -> tuple[Any, str]:
    if importlib.util.find_spec(f"{__package__}._cuda") is None:
        return None, "not built: install with -C cmake.define.FIRSTSPIKE_CUDA=ON where nvcc is at hand"
    if not torch.cuda.is_available():
        return None, "built, but torch sees no CUDA device"
    module = importlib.import_module("._cuda", __package__)
    driver, runtime = module.versions()
    refusal = _cuda_refusal(driver, runtime, torch.cuda.get_device_capability())
    if refusal is not None:
        return None, refusal
    return module, "built, and torch sees a CUDA device that it can run on"


def backends() -> dict[str, dict[str, Any]]:
    """Report what is compiled, which instruction set, threads and device are in use, and why.

    Returns
    -------
    dict
        "cpu" (instruction_set, reason, available, lanes, tile, threads, thread_pool, processor, cores), "cuda" (available,
        reason).

    Examples
    --------
    >>> sorted(backends())
    ['cpu', 'cuda']
    """
    cuda, reason = find_cuda()
    return {
        "cpu": {
            "instruction_set": ISA,
            "reason": _ISA_REASON,
            "available": _available(),
            "lanes": cpu.lanes,
            "tile": cpu.tile,
            "threads": torch.get_num_threads(),
            "thread_pool": _POOL_REASON,
            "processor": processor(),
            "cores": cores(),
        },
        "cuda": {"available": cuda is not None, "reason": reason},
    }
