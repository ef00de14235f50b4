"""Atomic writes: whatever fails, the old file is still there and nothing else is."""

import os

import pytest

from firstspike import _files


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = _files.write_text(tmp_path / "sub" / "file", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        _files.write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["file"]


def test_a_file_is_replaced_and_everyone_can_read_it(tmp_path):
    path = _files.write_atomic(tmp_path / "file", b"old")
    assert _files.write_atomic(path, b"new") == path
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o644
