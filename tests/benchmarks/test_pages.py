"""Tables, figures and quotations from records, without measuring."""

import json

import pytest
from benchmarks.peer_settings import fastest_setting
from benchmarks.workloads import CNN, MLP
from tools.provenance import processor_and_model
from tools.records import FORMAT

from benchmarks import embed_tables, page, records
from tools import ROOT, documents

ORIGIN = {
    "machine": {"processor": "test", "cores": 2, "caches": {}, "system": "x", "load": 0.5, "huge_pages": "madvise"},
    "versions": {"python": "3", "norse": "absent"},
    "commit": "abc",
    "threads": 2,
    "time": "2026-01-01T00:00:00Z",
}


def side(median):
    return {"median": median, "low": median * 0.9, "high": median * 1.1, "samples": [median] * 3}


def write(folder, section, rows):
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"format": FORMAT, "section": section, "rows": [{"origin": ORIGIN, **row} for row in rows]}
    (folder / f"{section}.json").write_text(json.dumps(whole))


STEP = {
    "cell": "mlp-T8-fashion-mnist",
    "work": "mlp",
    "steps": 8,
    "source": "fashion-mnist",
    "batch": 128,
    "times": {"firstspike": side(2.0), "spikingjelly": side(18.0), "dense": side(15.0), "dense eager": side(19.0)},
    "failures": {"norse": "RuntimeError: no"},
    "settings": {
        "firstspike": "eager",
        "spikingjelly": "multi-step",
        "dense": "loop, compiled",
        "dense eager": "loop",
        "norse": "default",
    },
}


def test_a_page_shows_ratios_targets_and_failures(tmp_path):
    write(tmp_path, "steps", [STEP])
    text = page.write(tmp_path).read_text()
    assert "9.0x" in text and "7.5x" in text and "| 8 |" in text  # 18 / 2, 15 / 2, the target
    assert "| norse | default | – |" in text
    assert "huge pages: madvise; " in text and "; commit abc." in text and "norse absent" not in text


def test_documents_are_filled_from_the_records_and_filling_again_changes_nothing(tmp_path):
    write(tmp_path, "steps", [STEP])
    text = "before\n<!-- bench steps 0 -->\nold\n<!-- end -->\nafter\n"
    filled = embed_tables.fill(text, tmp_path)
    assert "9.0x" in filled and "old" not in filled and filled.startswith("before\n") and filled.endswith("after\n")
    assert embed_tables.fill(filled, tmp_path) == filled
    elsewhere = text.replace("bench steps", f"bench {tmp_path.name}/steps")
    assert embed_tables.fill(elsewhere, tmp_path.parent / "full") == filled.replace("bench steps", f"bench {tmp_path.name}/steps")
    missing = embed_tables.fill("<!-- bench growth 0 -->\n<!-- end -->", tmp_path)
    assert embed_tables.MISSING in missing
    with pytest.raises(ValueError, match="one of steps's tables 0, 1, summary"):
        embed_tables.fill("<!-- bench steps 7 -->\n<!-- end -->", tmp_path)


def test_the_fastest_setting_of_a_sweep_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.peer_settings.RESULTS", tmp_path)
    assert fastest_setting(MLP, 8, "dense").name == "loop, compiled"  # nothing swept
    times = {"loop": side(9.0), "scan": side(8.0), "loop, compiled": side(5.0), "scan, compiled": side(7.0)}
    rows = [{"cell": "a", "work": "mlp", "steps": 8, "library": "dense", "failures": {}, "times": times}]
    write(tmp_path / "full", "sweep", rows)
    assert fastest_setting(MLP, 16, "dense").name == "loop, compiled"
    assert fastest_setting(MLP, 254, "dense").name == "scan, compiled"  # an unrolled loop is out of reach there
    assert fastest_setting(MLP, 8, "dense", compiled=False).name == "scan"
    assert fastest_setting(CNN, 8, "dense").compiled  # swept for another net only
    origin = {"machine": {"processor": processor_and_model()}}
    here = {"loop, compiled": side(9.0), "scan": side(3.0)}
    write(tmp_path / "here", "sweep", [{**rows[0], "origin": origin, "times": here}])
    assert fastest_setting(MLP, 8, "dense").name == "scan"  # as it was on this processor


@pytest.mark.usefixtures("committed_records")
def test_the_documents_of_this_repository_agree_with_their_records():
    folder = records.RESULTS / "full"
    places = 0
    for path in [ROOT / "README.md", ROOT / "benchmarks/NOTES.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        places += len(documents.marks(text, embed_tables.NAME))
        assert embed_tables.fill(text, folder) == text, f"run python -m benchmarks.embed_tables {path}"
    assert places


@pytest.mark.usefixtures("committed_records")
@pytest.mark.parametrize("name", ["full", "zen4", "zen3"])
def test_the_pages_beside_the_records_are_made_of_them(name):
    folder = records.RESULTS / name
    made, _ = page.made(folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == made, f"run nox -s bench -- --tables --name {name}"
