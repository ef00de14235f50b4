"""Atomic writes, bounded reads, the lock of a folder."""

import os
import subprocess
import sys

import pytest

from firstspike._base import files

HOLD = (
    "import sys, time; from pathlib import Path; from firstspike._base.files import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def start(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def test_a_link_stays_and_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "new" and (tmp_path / "link").is_symlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_text(tmp_path / "folder", "new")
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "target"]


def test_sweep_removes_what_a_kill_left_and_nothing_else(tmp_path):
    others = [".file.0123.partial", ".other.0123456789abcdef.partial", "file"]
    for name in (".file.0123456789abcdef.partial", *others):
        (tmp_path / name).touch()
    files.sweep(tmp_path, "file")
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_reads_are_bounded_and_of_regular_files(tmp_path):
    path = files.write_atomic(tmp_path / "file", b"12345")
    (tmp_path / "link").symlink_to(path)
    assert files.read_bytes(path, limit=5) == files.read_bytes(tmp_path / "link", limit=5) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    for bad in (path, "/dev/zero", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match=str(bad)):
            files.read_bytes(bad, limit=4)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{", b"\xff"])
def test_bad_json_is_a_value_error_that_names_the_file(tmp_path, text):
    (tmp_path / "record.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"record\.json"):
        files.read_json(tmp_path / "record.json")


def test_another_process_waits_and_a_kill_frees_the_lock(tmp_path):
    first = start(tmp_path)
    assert first.stdout.readline() == "held\n"
    second = start(tmp_path)
    assert "waiting for another process" in second.stderr.readline() and second.poll() is None
    first.kill()
    assert second.stdout.readline() == "held\n"
    second.kill()
    for each in (first, second):
        each.communicate()


def test_the_lock_is_free_afterwards(tmp_path, capsys):
    for _ in range(2):
        with files.locked(tmp_path / "new"):
            assert (tmp_path / "new" / files.LOCK).exists()
    assert capsys.readouterr().err == ""
