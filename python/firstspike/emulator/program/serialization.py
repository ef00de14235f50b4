"""Program files: safetensors with a JSON header, open and versioned. Nothing in them is executed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from ..._base import checks
from ..._base.files import read_bytes, write_atomic
from .host import Encoder, Readout
from .layers import Layer, Register, Shortcut
from .profile import Profile
from .program import Program

KEY = "firstspike.program"
FORMAT_VERSION = 2
_ARRAYS = ("weight", "theta", "bias", "scale")
_HOST_ARRAYS = ("weight", "bias")
_LARGEST_HEADER = 1 << 24
LARGEST_FILE = 1 << 34  # bytes
# What building a program from arbitrary values may raise. RuntimeError: pybind11, for an int beyond C++'s range.
FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


class ProgramError(ValueError):
    """A file that does not hold a valid program.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "net.program")
        >>> path.write_text("not a program")
        13
        >>> emulator.load(path)
        Traceback (most recent call last):
            ...
        firstspike.emulator.program.serialization.ProgramError: ...
    """


def take_apart(program: Program) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(header of JSON values, arrays by name), from which `put_together` makes the program again."""
    arrays: dict[str, NDArray[Any]] = {}
    layers = []
    for n, layer in enumerate(program.layers):
        plain = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer) if f.name not in _ARRAYS}
        shortcut = plain.pop("shortcut")
        if shortcut is not None:  # files of nets without blocks stay readable by versions that know none
            plain["shortcut"] = {name: getattr(shortcut, name) for name in ("source", "in_shape", "stride", "delay")}
            arrays[f"layer.{n}.shortcut"] = np.ascontiguousarray(shortcut.weight)
        plain["accumulator"], plain["membrane"] = (
            dataclasses.asdict(plain[name]) for name in ("accumulator", "membrane")
        )
        layers.append(plain)
        arrays.update({f"layer.{n}.{name}": np.ascontiguousarray(getattr(layer, name)) for name in _ARRAYS})
    encoder = {
        f.name: getattr(program.encoder, f.name)
        for f in dataclasses.fields(program.encoder)
        if f.name not in _HOST_ARRAYS
    }
    if encoder["image_shape"] is None:  # as files were before it
        del encoder["image_shape"]
    for name in _HOST_ARRAYS:
        value = getattr(program.encoder, name)
        if value is not None:
            arrays[f"encoder.{name}"] = np.ascontiguousarray(value)
    header = {
        "version": FORMAT_VERSION,
        "name": program.name,
        "steps": program.steps,
        "profile": program.profile.to_dict(),
        "encoder": encoder,
        "readout": dataclasses.asdict(program.readout),
        "layers": layers,
        "table": program.table,
    }
    return json.loads(json.dumps(header, default=_python)), arrays


def put_together(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Program:
    """The program of a header and arrays, with every value checked. Raises ProgramError and no other error."""
    try:
        return _build(header, arrays)
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
    try:
        return put_together(_header(data), load_arrays(data))
    except ProgramError:
        raise
    except (SafetensorError, *FAULTS) as error:
        raise ProgramError(f"not a valid program: {type(error).__name__}: {error}") from error


def save(program: Program, path: str | os.PathLike[str]) -> Path:
    """Write a program to `path`, in one step; missing folders are made.

    Raises TypeError for what is no program or path, and OSError where the file cannot be written.

    Examples:
        >>> import os, tempfile
        >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
        >>> emulator.save(program, os.path.join(tempfile.mkdtemp(), "nets", "small.program")).name
        'small.program'
    """
    checks.instance("program", program, Program, "a firstspike.emulator.Program")
    return write_atomic(checks.path("path", path), dumps(program))


def load(path: str | os.PathLike[str]) -> Program:
    """Read a program. Raises OSError where the file cannot be opened, or ProgramError naming it and what is wrong in it.

    Examples:
        >>> import os, tempfile
        >>> program = emulator.quantize(models.mlp("64-32-10", steps=8), name="small")
        >>> path = emulator.save(program, os.path.join(tempfile.mkdtemp(), "small.program"))
        >>> emulator.load(path).name
        'small'
    """
    path = checks.path("path", path)
    try:
        data = read_bytes(path, limit=LARGEST_FILE)
    except ValueError as error:
        raise ProgramError(str(error)) from error
    try:
        return loads(data)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from error


def is_program(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it holds a program; False for a folder or a missing file."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return KEY.encode() in file.read(min(size, _LARGEST_HEADER))


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, _LARGEST_HEADER):
        raise ProgramError(f"not a safetensors file: {len(data)} bytes, of which {size} should be the header")
    metadata = json.loads(data[8 : 8 + size].decode("utf-8")).get("__metadata__", {})
    if not isinstance(metadata, dict) or KEY not in metadata:
        raise ProgramError(f"not an emulator program: its metadata has no entry {KEY!r}")
    header = json.loads(metadata[KEY])
    if not isinstance(header, dict):
        raise ProgramError(f"the header must be an object, got {type(header).__name__}")
    return header


def _build(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Program:
    if header.get("version") == 1:
        header = _from_version_1(header)
    if header.get("version") != FORMAT_VERSION:
        raise ProgramError(f"format version must be 1 or {FORMAT_VERSION}, got {header.get('version')!r}")
    layers = []
    for n, values in enumerate(header["layers"]):
        plain: dict[str, Any] = dict(values)
        for name in ("accumulator", "membrane"):
            held: dict[str, Any] = {k: _whole(v) if k != "policy" else v for k, v in plain[name].items()}
            plain[name] = Register(**held)
        for name, length in (("in_shape", 3), ("out_shape", 3), ("stride", 2), ("padding", 2)):
            plain[name] = tuple(_whole(value) for value in plain[name])
            if len(plain[name]) != length:
                raise ProgramError(f"layer {n}: {name} must have {length} numbers")
        for name in ("pool", "delay", "start", "stop", "shift", "keep", "decay_bits"):
            plain[name] = _whole(plain[name])
        if plain.get("shortcut") is not None:
            plain["shortcut"] = _shortcut(plain["shortcut"], arrays[f"layer.{n}.shortcut"])
        if not isinstance(plain["fires"], bool) or not isinstance(plain["name"], str):
            raise ProgramError(f"layer {n}: fires must be true or false, and name a string")
        plain |= {name: arrays[f"layer.{n}.{name}"] for name in _ARRAYS}
        layers.append(Layer(**plain))
    host: dict[str, Any] = {name: arrays.get(f"encoder.{name}") for name in _HOST_ARRAYS}
    sizes = {name: tuple(header["encoder"][name]) for name in ("stride", "padding")}
    if header["encoder"].get("image_shape") is not None:
        sizes["image_shape"] = tuple(header["encoder"]["image_shape"])
    encoder = Encoder(**{**header["encoder"], **sizes, **host})
    program = Program(
        layers=layers,
        steps=_whole(header["steps"]),
        profile=Profile.from_dict(header["profile"]),
        encoder=encoder,
        readout=Readout(**header["readout"]),
        name=str(header["name"]),
        table=_table(header["table"]),
    )
    program.engine()  # the core checks geometry and ranges
    return program


def _table(rows: Any) -> list[dict[str, Any]]:
    def plain(value: Any) -> bool:
        return (
            value is None or isinstance(value, (bool, str, int)) or (isinstance(value, float) and math.isfinite(value))
        )

    if not isinstance(rows, list) or not all(isinstance(row, dict) and all(map(plain, row.values())) for row in rows):
        raise ProgramError("table must be a list of objects with plain values")
    return rows


def _shortcut(values: dict[str, Any], weight: NDArray[Any]) -> Shortcut:
    if set(values) != {"source", "in_shape", "stride", "delay"}:
        raise ProgramError(f"a shortcut must have source, in_shape, stride and delay, got {sorted(values)}")
    height, width, channels = (_whole(value) for value in values["in_shape"])
    down, across = (_whole(value) for value in values["stride"])
    return Shortcut(
        _whole(values["source"]), (height, width, channels), weight, (down, across), _whole(values["delay"])
    )


def _from_version_1(header: dict[str, Any]) -> dict[str, Any]:
    """A header of firstspike 0.1 with the names of version 2."""

    def renamed(values: dict[str, Any]) -> dict[str, Any]:
        made = dict(values)
        made["update"] = {"step": "clocked"}.get(made["granularity"], made["granularity"])
        del made["granularity"]
        return made

    encoder = dict(header["encoder"])
    for name in ("stride", "padding"):
        encoder[name] = [encoder[name], encoder[name]]
    if "deviation" in encoder:
        encoder["std"] = encoder.pop("deviation")
    profile = renamed(header["profile"])
    if "granularity" in profile["sources"]:
        profile["sources"] = {("update" if k == "granularity" else k): v for k, v in profile["sources"].items()}
    layers = [renamed(layer) for layer in header["layers"]]
    return header | {"version": FORMAT_VERSION, "encoder": encoder, "profile": profile, "layers": layers, "table": []}


def _python(value: object) -> object:
    """A number of NumPy, which JSON cannot hold, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a program must hold plain values, got {checks.shown(value)}")


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 62:
        raise ProgramError(f"expected a whole number, got {value!r}")
    return value
