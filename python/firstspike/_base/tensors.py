"""Tensors in safetensors files: equal content gives equal bytes, and a damaged file is a ValueError."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .files import parse_json, read_bytes

LIMIT = 16 << 30  # bytes of a file that is read
_PREFIX = 8  # bytes of the header's length
_HEADER_LIMIT = 100_000_000  # the format's own bound


@dataclass(frozen=True)
class TensorFile:
    """The content of a file: tensors on the CPU and metadata, both by name."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def numel(self) -> int:
        """The number of elements in all tensors."""
        return sum(value.numel() for value in self.tensors.values())


def dumps(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a safetensors file with its metadata sorted; the library's order differs between processes.

    A tensor that has several names (a layer that a net calls twice) is written once for each.
    """
    apart: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        apart[name] = plain.clone() if plain.untyped_storage().data_ptr() in places else plain
        places.add(apart[name].untyped_storage().data_ptr())
    raw = save(apart, dict(metadata or {}))
    size = int.from_bytes(raw[:_PREFIX], "little")
    header = json.loads(raw[_PREFIX : _PREFIX + size])
    if "__metadata__" in header:
        header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(_PREFIX, "little") + text + raw[_PREFIX + size :]


def loads(raw: bytes, origin: str) -> TensorFile:
    """Return the content of a safetensors file. Raises ValueError that names `origin` for any other or damaged file."""
    size = int.from_bytes(raw[:_PREFIX], "little")
    if len(raw) < _PREFIX or size > min(len(raw) - _PREFIX, _HEADER_LIMIT) or raw[_PREFIX : _PREFIX + 1] != b"{":
        raise ValueError(f"{origin} is not a safetensors file, or is cut short")
    metadata = parse_json(raw[_PREFIX : _PREFIX + size], f"the header of {origin}").get("__metadata__") or {}
    try:
        tensors = load(raw)
        return TensorFile(tensors, {str(name): str(value) for name, value in metadata.items()})
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{origin} is a damaged safetensors file ({error})") from error


def read(path: str | os.PathLike[str], *, limit: int = LIMIT) -> TensorFile:
    """Return the content of the file at `path`. Raises OSError and ValueError as `files.read_bytes` and `loads`."""
    return loads(read_bytes(path, limit=limit), os.fspath(path))
