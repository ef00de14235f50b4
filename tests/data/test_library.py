"""Reading of archives that have to be unpacked first: one process at a time, and what is not whole is passed over."""

import pickle
import threading
import time

import pytest

from firstspike.data import NotAvailable, library


def load(read, root, **options):
    return library.load("made-up", read, root=root, download=False, url="http://127.0.0.1:9/a.tar", archive="a.tar",
                        md5="0" * 32, limit=100, **options)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_one_at_a_time_unpacks(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x")
    inside, most = 0, 0

    def read(folder):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        inside -= 1
        return folder

    threads = [threading.Thread(target=load, args=(read, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("error", [EOFError("ran out"), pickle.UnpicklingError("cut off"), RuntimeError("damaged")])
def test_what_is_not_whole_is_passed_over(tmp_path, error):
    def read(folder):
        raise error

    with pytest.raises(NotAvailable, match=str(error)):
        load(read, tmp_path)
