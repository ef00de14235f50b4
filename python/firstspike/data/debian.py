"""Gzipped IDX files out of a Debian package: apt-get downloads it (no root needed), nothing is installed."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .catalogue import DebianPackage, IdxFile
from .command import CommandFailed, run
from .deadline import Deadline

_AR_MAGIC = b"!<arch>\n"


def fetch(package: DebianPackage, files: tuple[IdxFile, ...], deadline: Deadline) -> list[bytes]:
    """Download the package and return the raw IDX files in the order of `files`.

    Raises:
        CommandFailed: if there is no apt-get, or it failed.
        ValueError: if the package does not hold the files.
    """
    if shutil.which("apt-get") is None:
        raise CommandFailed("there is no apt-get")
    with tempfile.TemporaryDirectory(prefix="firstspike-") as name:
        folder = Path(name)
        _download(package.name, folder, deadline)
        path = next(iter(folder.glob("*.deb")), None)
        if path is None:
            raise CommandFailed("apt-get left no package")
        return read(path, package.folder, files)


# Without a network they fail at once, rather than after several tries of 30 s.
_SHORT = ("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::https::Timeout=5")


def _download(package: str, folder: Path, deadline: Deadline) -> None:
    """`apt-get download`; if the package is unknown, once more with lists fetched into a private folder."""
    try:
        _apt(["download", package], folder, deadline)
    except CommandFailed:
        private = folder / "apt"
        for part in ("lists/partial", "cache/archives/partial"):
            (private / part).mkdir(parents=True)
        options = ["-o", f"Dir::State::Lists={private}/lists", "-o", f"Dir::Cache={private}/cache",
                   "-o", "APT::Sandbox::User="]  # fmt: skip
        _apt(["update"], folder, deadline, options)
        _apt(["download", package], folder, deadline, options)


def _apt(arguments: list[str], folder: Path, deadline: Deadline, options: Sequence[str] = ()) -> None:
    command = ["apt-get", "--quiet", *_SHORT, *options, *arguments]
    where = " (lists in a temporary folder)" if options else ""
    run(command, folder=folder, deadline=deadline, shown=f"apt-get {' '.join(arguments)}{where}")


def read(path: Path, folder: str, files: tuple[IdxFile, ...]) -> list[bytes]:
    """The raw IDX files `<folder>/<name>.gz` out of the package at `path`."""
    with tarfile.open(fileobj=io.BytesIO(_data(path))) as archive:
        members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
        raws = []
        for file in files:
            member = members.get(f"{folder}/{file.name}.gz")
            packed = archive.extractfile(member) if member is not None else None
            if packed is None:
                raise ValueError(f"{path.name} holds no {folder}/{file.name}.gz")
            with gzip.open(packed) as unpacked:
                raws.append(unpacked.read(file.size + 1))
        return raws


def _data(path: Path) -> bytes:
    """The package's data.tar, by dpkg-deb where there is one (it knows every compression), else by Python."""
    if shutil.which("dpkg-deb") is not None:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=False)
        if done.returncode != 0:
            raise ValueError(f"dpkg-deb cannot read {path.name}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout
    return ar_member(path.read_bytes(), "data.tar")


def ar_member(raw: bytes, prefix: str) -> bytes:
    """The first member of an ar archive whose name begins with `prefix`.

    An ar header has 60 bytes: name (16), time (12), owner (6), group (6), mode (8), size (10), "`" and a newline; each
    member begins at an even offset.
    """
    if not raw.startswith(_AR_MAGIC):
        raise ValueError(f"raw must begin with {_AR_MAGIC!r}, got {raw[:8]!r}")
    at = len(_AR_MAGIC)
    while at + 60 <= len(raw):
        name = raw[at : at + 16].decode("latin-1").strip()
        size = int(raw[at + 48 : at + 58])
        if name.startswith(prefix):
            return raw[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError(f"the archive holds no {prefix}")
