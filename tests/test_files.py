"""Atomic writes: whatever fails, the old file is still there and nothing else is."""

import os
import sys
from pathlib import Path

import pytest

from firstspike._base import files


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = files.write_text(tmp_path / "sub" / "file", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_is_replaced_and_its_permissions_follow_the_umask(tmp_path, umask):
    path = files.write_atomic(tmp_path / "file", b"old")
    before = os.umask(umask)
    try:
        assert files.write_atomic(path, b"new") == path
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_is_replaced_and_its_target_untouched(tmp_path):
    target = tmp_path / "target"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    files.write_text(tmp_path / "link", "new")
    assert target.read_text() == "old" and not (tmp_path / "link").is_symlink()


def test_sweep_removes_what_a_kill_left_and_nothing_else(tmp_path):
    left = ".file.0123456789abcdef.partial"
    others = [".file.0123.partial", ".other.0123456789abcdef.partial", "file", ".files"]
    for name in (left, *others):
        (tmp_path / name).touch()
    (tmp_path / ".file.fedcba9876543210.partial").mkdir()
    files.sweep(tmp_path, "file")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".file.fedcba9876543210.partial"])


def test_reads_are_bounded_and_of_regular_files(tmp_path):
    path = files.write_atomic(tmp_path / "file", b"12345")
    assert files.read_bytes(path, limit=5) == b"12345"
    with pytest.raises(ValueError, match="has 5 bytes, the bound is 4"):
        files.read_bytes(path, limit=4)
    with pytest.raises(ValueError, match="/dev/zero is not a regular file"):
        files.read_bytes("/dev/zero", limit=4)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(ValueError, match=f"{tmp_path} is a folder, not a file"):
        files.read_bytes(tmp_path, limit=4)
    assert len(os.listdir("/dev/fd")) == before
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a regular file"):
        files.read_bytes(tmp_path / "pipe", limit=4)
    (tmp_path / "link").symlink_to(path)
    assert files.read_bytes(tmp_path / "link", limit=5) == b"12345"
    with pytest.raises(OSError):
        files.read_bytes(tmp_path / "link", limit=5, follow=False)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\udcff"])
def test_bad_json_is_a_value_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"record\.json is (not valid JSON|nested too deeply)"):
        files.read_json(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound what a process reserves")
def test_a_small_file_is_read_with_little_memory(tmp_path):
    """Whatever the bound is: Python allocates what `read` is asked for before it reads."""
    import resource

    path = files.write_text(tmp_path / "small", "abc")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), hard))
    try:
        assert files.read_bytes(path, limit=16 << 30) == b"abc"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_folder_is_no_file_to_write(tmp_path):
    (tmp_path / "chip").mkdir()
    with pytest.raises(IsADirectoryError, match="chip'$"):
        files.write_atomic(tmp_path / "chip", b"new")
    assert os.listdir(tmp_path) == ["chip"]
