"""Downloads over http(s) with short time limits, into memory or into a file."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from .deadline import Deadline
from .progress import bytes_bar

TIMEOUT = 5.0  # seconds without an answer, at connecting and at each read
_CHUNK = 1 << 18


class DownloadFailed(OSError):
    """A download that did not complete; the message is one line that says why."""


def download(url: str, *, limit: int, deadline: Deadline, timeout: float = TIMEOUT) -> bytes:
    """The bytes at an address.

    Args:
        url: an http or https address.
        limit: more bytes than this are refused.
        deadline: when to give up, however much has come.
        timeout: seconds to wait for the connection and for each read.

    Raises:
        DownloadFailed: unreachable, too slow, too long, cut short, or answered with an error.
    """
    return b"".join(_stream(url, limit, deadline, timeout))


def download_file(url: str, path: Path, *, md5: str, limit: int, deadline: Deadline, timeout: float = TIMEOUT) -> None:
    """Download an archive to a file, which appears only when it is whole and its md5 is the expected one.

    Raises:
        DownloadFailed: as `download`, and where the md5 differs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with open(temporary, "xb") as file:  # a new file: no link is followed
            for part in _stream(url, limit, deadline, timeout):
                digest.update(part)
                file.write(part)
        if digest.hexdigest() != md5:
            raise DownloadFailed(f"md5 is {digest.hexdigest()}, expected {md5}")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _stream(url: str, limit: int, deadline: Deadline, timeout: float) -> Iterator[bytes]:
    if deadline.passed:
        raise DownloadFailed(f"gave up after {deadline.seconds:.0f} s")
    request = urllib.request.Request(url, headers={"User-Agent": "firstspike"})
    try:
        with urllib.request.urlopen(request, timeout=deadline.left(timeout)) as answer:
            yield from _parts(answer, url, limit, deadline)
    except DownloadFailed:
        raise
    except urllib.error.URLError as error:
        raise DownloadFailed(str(getattr(error, "reason", None) or error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadFailed(str(error) or type(error).__name__) from error


def _parts(answer: http.client.HTTPResponse, url: str, limit: int, deadline: Deadline) -> Iterator[bytes]:
    length = answer.headers.get("Content-Length")
    size = 0
    with bytes_bar(url.rsplit("/", 1)[-1], int(length) if length else None) as bar:
        while part := answer.read1(_CHUNK):
            size += len(part)
            if size > limit:
                raise DownloadFailed(f"longer than the {limit} bytes expected at most")
            if deadline.passed:
                raise DownloadFailed(f"gave up after {deadline.seconds:.0f} s, with {size} bytes")
            bar.update(len(part))
            yield part
    if length and size != int(length):
        raise DownloadFailed(f"cut short after {size} of {length} bytes")
