"""Where data sets are kept, in messages."""

from pathlib import Path

from firstspike.data.cache import shown


def test_folders_below_the_home_folder_do_not_name_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shown(tmp_path / ".cache" / "firstspike") == "~/.cache/firstspike"
    assert shown(Path("/elsewhere/data")) == "/elsewhere/data"
    assert shown(Path("data")) == "data"
