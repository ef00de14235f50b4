import json

from tools import provenance


def test_the_origin_of_timings_can_be_recorded():
    origin = json.loads(json.dumps(provenance.timing_origin(), allow_nan=False))
    assert {"machine", "versions", "commit", "time"} == set(origin)
    assert {"processor", "cores", "caches", "system", "load", "huge_pages"} == set(origin["machine"])
    assert origin["machine"]["cores"] >= 1
    assert {"python", "torch", "spikingjelly", "instruction set"} <= set(origin["versions"])
    commit = origin["commit"]
    assert commit is None or len(commit.removesuffix("-dirty")) == 12


def test_the_setting_for_huge_pages_is_recorded_where_linux_tells_it(tmp_path, monkeypatch):
    file = tmp_path / "enabled"
    monkeypatch.setattr(provenance, "_HUGE_PAGES", file)
    assert provenance.huge_pages() is None
    file.write_text("always [madvise] never\n")
    assert provenance.huge_pages() == "madvise"
