"""Small stand-ins for the data sets: made-up images in files, and a mirror on this machine that serves them."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from firstspike import data
from firstspike._base.files import sha256
from firstspike.data import idx
from firstspike.data.catalogue import MNIST, IdxFile, IdxSource

TRAIN, TEST = 30, 20


@dataclass(frozen=True)
class Small:
    """A small IDX data set: its source (with no mirror and no package that exist), arrays and raw files."""

    source: IdxSource
    arrays: tuple[np.ndarray, ...]
    raws: tuple[bytes, ...]

    def write(self, folder: Path, *, packed: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file, raw in zip(self.source.files, self.raws, strict=True):
            if packed:
                (folder / f"{file.name}.gz").write_bytes(gzip.compress(raw))
            else:
                (folder / file.name).write_bytes(raw)


@pytest.fixture
def small() -> Small:
    rng = np.random.default_rng(0)
    arrays = tuple(
        rng.integers(0, high, size=shape, dtype=np.uint8)
        for count in (TRAIN, TEST)
        for high, shape in ((256, (count, 28, 28)), (10, (count,)))
    )
    raws = tuple(idx.encode(array) for array in arrays)
    files = tuple(IdxFile(f.name, len(r), sha256(r)) for f, r in zip(MNIST.files, raws, strict=True))
    return Small(replace(MNIST, files=files, mirrors=()), arrays, raws)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[IdxSource], None]:
    """Make `data.load("mnist")` load the given source: an empty cache, no FIRSTSPIKE_DATA, no index for pip."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("FIRSTSPIKE_DATA", "FIRSTSPIKE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return lambda source: monkeypatch.setitem(data._IDX, "mnist", source)


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
            if (folder / self.path[1:]).name == "cut-short":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"few")
            elif (folder / self.path[1:]).name == "drips":
                self.send_response(200)
                self.end_headers()
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Mirror(folder, f"http://127.0.0.1:{server.server_port}/", asked)
    server.shutdown()
    thread.join()
    server.server_close()
