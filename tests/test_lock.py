"""The lock of a folder: one holder at a time, freed by a kill, and nothing is written through a link."""

import os
import subprocess
import sys
import time

import pytest

from firstspike._base.files import HOLDER, LOCK, FolderLock, locked

HOLD = (
    "import sys, time; from pathlib import Path; from firstspike._base.files import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_another_process_waits_and_says_for_whom_and_a_kill_frees_the_lock(tmp_path):
    first = start(tmp_path)
    assert first.stdout.readline() == "held\n"
    second = start(tmp_path)
    told = second.stderr.readline()
    assert f"waiting for process {first.pid} on " in told and str(tmp_path) in told
    assert second.poll() is None
    first.kill()
    assert second.stdout.readline() == "held\n"
    second.kill()
    for each in (first, second):
        each.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", [LOCK, HOLDER])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_link_is_followed(tmp_path, name, link):
    precious = tmp_path / "precious"
    precious.write_text("root:x:0:0")
    folder = tmp_path / "run"
    folder.mkdir()
    link(precious, folder / name)
    if name == LOCK:
        with pytest.raises(OSError, match="is a link or no regular file; remove it"), locked(folder):
            pass
    else:
        with locked(folder):
            assert FolderLock(folder).holder().startswith(f"process {os.getpid()} on ")
    assert precious.read_text() == "root:x:0:0"


def test_what_a_holder_left_is_not_trusted(tmp_path):
    (tmp_path / HOLDER).write_text("\x1b[31mred" + "x" * 2000)
    assert FolderLock(tmp_path).holder() == "another process"
    (tmp_path / HOLDER).write_text("\x1b[31mred")
    assert FolderLock(tmp_path).holder() == "[31mred"


def test_the_lock_is_free_afterwards(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            assert not FolderLock(tmp_path).try_acquire()
    assert not (tmp_path / HOLDER).exists()
    assert time.time() - (tmp_path / LOCK).stat().st_mtime < 3600
