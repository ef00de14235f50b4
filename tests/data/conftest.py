"""Small stand-ins for the data sets: random images in files, and a mirror on this machine that serves them."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from firstspike.data import sources


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, no FIRSTSPIKE_DATA, no index for pip."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("FIRSTSPIKE_DATA", "FIRSTSPIKE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Mirror:
    """A web server on this machine: its folder, the address of that folder, the paths asked for."""

    folder: Path
    url: str
    asked: list[str]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Mirror(folder, f"http://127.0.0.1:{server.server_port}/", asked)
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Small:
    """Small data under the name "mnist": the arrays and the raw files."""

    arrays: tuple[np.ndarray, ...]
    raws: tuple[bytes, ...]

    def write(self, folder: Path, *, packed: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in zip(sources.IDX_NAMES, self.raws, strict=True):
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(raw, mtime=0) if packed else raw)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, mirror: Mirror) -> Small:
    """30 training and 20 test images; the mirror has nothing until `write` is called, and no package has them."""
    rng = np.random.default_rng(0)
    arrays = tuple(
        rng.integers(0, high, size=shape, dtype=np.uint8)
        for count in (30, 20)
        for high, shape in ((256, (count, 28, 28)), (10, (count,)))
    )
    raws = tuple(sources.idx_bytes(array) for array in arrays)
    hashes = tuple((hashlib.md5(gzip.compress(raw, mtime=0)).hexdigest(), hashlib.sha256(raw).hexdigest()) for raw in raws)

    def no_package(folder: Path) -> list[bytes]:
        raise OSError("no such package")

    made = replace(sources.IDX["mnist"], hashes=hashes, mirrors=(mirror.url,), package=no_package)
    monkeypatch.setitem(sources.IDX, "mnist", made)
    return Small(arrays, raws)
