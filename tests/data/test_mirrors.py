"""Downloads that go wrong."""

import os

import pytest

from firstspike.data import mirrors
from firstspike.data.deadline import Deadline


def test_download(mirror):
    (mirror.folder / "file").write_bytes(b"x" * 1000)
    assert mirrors.download(mirror.url + "file", limit=1000, deadline=Deadline(60)) == b"x" * 1000
    with pytest.raises(mirrors.DownloadFailed, match=r"longer than the 999 bytes"):
        mirrors.download(mirror.url + "file", limit=999, deadline=Deadline(60))
    with pytest.raises(mirrors.DownloadFailed, match=r"File not found|Not Found"):
        mirrors.download(mirror.url + "other", limit=999, deadline=Deadline(60))
    with pytest.raises(mirrors.DownloadFailed, match=r"cut short|IncompleteRead"):
        mirrors.download(mirror.url + "cut-short", limit=1000, deadline=Deadline(60))


def test_download_to_a_file_is_all_or_nothing(mirror, tmp_path):
    (mirror.folder / "file").write_bytes(b"abc")
    path = tmp_path / "sub" / "file"
    with pytest.raises(mirrors.DownloadFailed, match=r"md5 is 900150983cd24fb0d6963f7d28e17f72, expected 0"):
        mirrors.download_file(mirror.url + "file", path, md5="0", limit=10, deadline=Deadline(60))
    assert os.listdir(path.parent) == []
    mirrors.download_file(
        mirror.url + "file", path, md5="900150983cd24fb0d6963f7d28e17f72", limit=10, deadline=Deadline(60)
    )
    assert path.read_bytes() == b"abc"


def test_the_whole_time_is_bounded(mirror, tmp_path):
    (mirror.folder / "file").write_bytes(b"abc")
    with pytest.raises(mirrors.DownloadFailed, match=r"gave up after 0 s"):
        mirrors.download(mirror.url + "file", limit=10, deadline=Deadline(0))


def test_a_mirror_that_drips_is_given_up(mirror):
    """Each read is answered in time, the whole takes too long."""
    with pytest.raises(mirrors.DownloadFailed, match=r"gave up after 0 s, with \d+ bytes"):
        mirrors.download(mirror.url + "drips", limit=10_000, deadline=Deadline(0.3))
