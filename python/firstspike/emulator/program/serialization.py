"""Program files: safetensors with a JSON header, open and versioned. Nothing in them is executed."""

from __future__ import annotations

import copy
import json
import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from ..._base import checks
from ..._base.files import read_bytes, write_atomic
from . import pixels
from .program import Program

KEY = "firstspike.program"
FORMAT_VERSION = 4
LARGEST_FILE = 1 << 34  # bytes
_LARGEST_HEADER = 1 << 24
# Errors of a program that is built from arbitrary values. RuntimeError: pybind11, for an int beyond C++'s range.
FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


class ProgramError(ValueError):
    """A file that does not hold a valid program.

    Examples
    --------
    >>> emulator.load(models.pretrained_file("digits-mlp"))
    Traceback (most recent call last):
        ...
    firstspike.emulator.program.serialization.ProgramError: ...
    """


def take_apart(program: Program) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(header of JSON values, arrays by name), from which `put_together` makes the program again.

    An array's name is its place, such as layers.0.inputs.0.weight.
    """
    arrays: dict[str, NDArray[Any]] = {}
    return {"version": FORMAT_VERSION} | _without_arrays(program.model_dump(), "", arrays), arrays


def _without_arrays(value: Any, place: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """The value without the arrays in it, which `arrays` gets by their places."""
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, f"{place}{n}.", arrays) for n, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    rest = {}
    for name, item in value.items():
        if isinstance(item, np.ndarray):
            arrays[f"{place}{name}"] = np.ascontiguousarray(item)
        else:
            rest[name] = _without_arrays(item, f"{place}{name}.", arrays)
    return rest


def put_together(header: Any, arrays: dict[str, NDArray[Any]]) -> Program:
    """The program of a header and arrays, with every value checked. Raises ProgramError and no other error."""
    try:
        values = copy.deepcopy(dict(header))
        if (version := values.pop("version")) != FORMAT_VERSION:
            remedy = "make the program again with emulator.quantize"
            raise ProgramError(f"format version must be {FORMAT_VERSION}, got {version!r}; {remedy}")
        for name, array in arrays.items():
            *path, field = name.split(".")
            place: Any = values
            for key in path:
                place = place[int(key) if isinstance(place, list) else key]
            place[field] = array
        program = Program(**values)
        program.engine()  # the core checks geometry and ranges
        if program.pixels is not None:  # as do the kernels that take pixels
            pixels.times(program.pixels, np.zeros((1, prod(program.pixels.in_shape)), np.uint8))
        return program
    except ProgramError:
        raise
    except FAULTS as error:
        raise ProgramError(f"not a valid program: {type(error).__name__}: {error}") from error


def dumps(program: Program) -> bytes:
    """A program as the bytes of a file."""
    header, arrays = take_apart(program)
    return save_arrays(arrays, {KEY: json.dumps(header, allow_nan=False)})


def loads(data: bytes) -> Program:
    """The program in the bytes of a file. Raises ProgramError and no other error."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, _LARGEST_HEADER):
        raise ProgramError(f"not a safetensors file: {len(data)} bytes, of which {size} should be the header")
    try:
        text = json.loads(data[8 : 8 + size])["__metadata__"][KEY]
    except (*FAULTS, RecursionError):
        raise ProgramError(f"not an emulator program: its metadata has no entry {KEY!r}") from None
    try:
        return put_together(json.loads(text), load_arrays(data))
    except ProgramError:
        raise
    except (SafetensorError, *FAULTS) as error:
        raise ProgramError(f"not a valid program: {type(error).__name__}: {error}") from error


def save(program: Program, path: str | os.PathLike[str]) -> Path:
    """Write a program to a file, in one step; missing folders are made.

    Parameters
    ----------
    program : from `quantize`.
    path : the file.

    Examples
    --------
    >>> emulator.save(emulator.quantize(models.mlp("64-32-10", steps=8)), "nets/small.program").name
    'small.program'
    """
    checks.instance("program", program, Program, "a firstspike.emulator.Program")
    return write_atomic(checks.path("path", path), dumps(program))


def load(path: str | os.PathLike[str]) -> Program:
    """Read a program. Raises OSError if the file cannot be opened, ProgramError that says what is wrong in it.

    Parameters
    ----------
    path : the file.

    Examples
    --------
    >>> path = emulator.save(emulator.quantize(models.mlp("64-32-10", steps=8), name="small"), "small.program")
    >>> emulator.load(path).name
    'small'
    """
    path = checks.path("path", path)
    try:
        return loads(read_bytes(path, limit=LARGEST_FILE))
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from error
    except ValueError as error:
        raise ProgramError(str(error)) from error


def is_program(path: str | os.PathLike[str]) -> bool:
    """True if a file says in its header that it holds a program; False for a folder or a missing file."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return KEY.encode() in file.read(min(size, _LARGEST_HEADER))
