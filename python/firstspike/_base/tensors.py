"""Tensors in safetensors files: the same bytes for the same content, and no error but ValueError for a damaged file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    """The bytes of a safetensors file; the library's own order of metadata differs from process to process.

    A tensor that has several names (a layer that a net calls twice) is written once for each.
    """
    raw = save(_apart(tensors), dict(metadata or {}))
    size = int.from_bytes(raw[:_PREFIX], "little")
    facts = json.loads(raw[_PREFIX : _PREFIX + size])
    if "__metadata__" in facts:
        facts = {"__metadata__": dict(sorted(facts.pop("__metadata__").items())), **facts}
    text = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(_PREFIX, "little") + text + raw[_PREFIX + size :]


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous, none in the memory of another."""
    found: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        found[name] = plain.clone() if plain.untyped_storage().data_ptr() in places else plain
        places.add(found[name].untyped_storage().data_ptr())
    return found


def loads(raw: bytes, origin: str) -> TensorFile:
    """The content of a safetensors file. Raises ValueError that names `origin` if it is damaged or another file."""
    size = int.from_bytes(raw[:_PREFIX], "little")
    if len(raw) < _PREFIX or size > min(len(raw) - _PREFIX, _HEADER_LIMIT) or raw[_PREFIX : _PREFIX + 1] != b"{":
        raise ValueError(f"{origin} is not a safetensors file, or is cut short")
    metadata = header(raw[_PREFIX : _PREFIX + size], origin).get("__metadata__") or {}
    try:
        tensors = load(raw)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{origin} is a damaged safetensors file ({error})") from error
    return TensorFile(tensors, {str(name): str(value) for name, value in metadata.items()})


def header(text: bytes, origin: str = "the file") -> dict[str, Any]:
    """The header of a safetensors file, without its length. Raises ValueError if it is none."""
    found = parse_json(text, f"the header of {origin}")
    if not isinstance(found, dict) or not isinstance(found.get("__metadata__") or {}, dict):
        raise ValueError(f"the header of {origin} is not a table")
    return found


def read(path: str | os.PathLike[str], *, limit: int = LIMIT, follow: bool = True) -> TensorFile:
    """The content of the file at `path`.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is no regular file, larger than `limit` bytes, damaged, or no safetensors file.
    """
    return loads(read_bytes(path, limit=limit, follow=follow), os.fspath(path))
