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
    def __init__(self, steps: int) -> None: ...
    def add(self, layer: Any) -> None: ...
    def widths(self) -> list[tuple[int, int]]: ...
    def run(self, times: NDArray[np.uint8], threads: int, early_exit: bool, all_times: bool, trace: bool) -> Results: ...

def constant_times(sums: NDArray[np.int32], layer: Any, threads: int) -> NDArray[np.uint8]: ...
def instruction_set() -> str: ...
