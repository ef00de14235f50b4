"""Types of the compiled module of the integer core (cpp/bindings/emulator.cpp)."""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

COUNTERS: tuple[str, ...]

class Results(TypedDict):
    counters: NDArray[np.int64]
    steps_run: NDArray[np.int32]
    times: list[NDArray[np.uint8] | None]
    membrane: list[NDArray[np.int64] | None]
    overshoot: NDArray[np.int64] | None

class Network:
    def __init__(self, steps: int, total_steps: int) -> None: ...
    def add(self, name: str, layer: dict[str, Any]) -> None: ...
    def widths(self) -> list[tuple[int, int]]: ...
    def run(self, times: NDArray[np.uint8], threads: int, early_exit: bool, all_times: bool, trace: bool) -> Results: ...

class WindowResults(TypedDict):
    counters: NDArray[np.int64]
    times: list[NDArray[np.uint8]]
    membrane: list[NDArray[np.int64]]
    last: NDArray[np.int64]

class WindowNetwork:
    def __init__(self, steps: int) -> None: ...
    def add(self, name: str, layer: dict[str, Any]) -> None: ...
    def run(self, times: NDArray[np.uint8], threads: int, trace: bool) -> WindowResults: ...

def constant_times(
    sums: NDArray[np.int32],
    coarse: NDArray[np.int64],
    reached: NDArray[np.int64],
    high: int,
    lift: int,
    keep: int,
    decay_bits: int,
    steps: int,
    threads: int,
) -> NDArray[np.uint8]: ...
def instruction_set() -> str: ...
