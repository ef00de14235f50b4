"""What `paper` and `benchmarks` share, and the sessions of nox."""

import mmap
import re
import sys
from pathlib import Path

import pytest

from tools import documents, memory, records

ROOT = Path(__file__).resolve().parents[2]


def test_only_the_text_between_the_marks_changes():
    text = "a\n<!-- table one 1 -->\nold\n<!-- end -->\nb\n<!-- table two -->\n<!-- end -->\nc"
    filled = documents.fill(text, "table", lambda words: f"new {'+'.join(words)}\n")
    assert filled == "a\n<!-- table one 1 -->\nnew one+1\n<!-- end -->\nb\n<!-- table two -->\nnew two\n<!-- end -->\nc"
    assert documents.marks(text, "table") == [["one", "1"], ["two"]] and documents.marks(text, "results") == []
    with pytest.raises(ValueError, match="end"):
        documents.fill("<!-- table 1 -->\n<!-- table 2 -->\n<!-- end -->", "table", lambda words: "")


def test_check_writes_nothing_and_names_the_command(tmp_path, capsys):
    same, other = tmp_path / "same.md", tmp_path / "other.md"
    same.write_text("x")
    other.write_text("y")
    assert documents.update([same, other], lambda text: "x", check=True, command="python write.py") == 1
    said = capsys.readouterr().err
    assert other.read_text() == "y" and "other.md" in said and "same.md" not in said and "python write.py" in said
    assert documents.update([same, other], lambda text: "x", check=False, command="") == 0 and other.read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_is_seen_and_reset():
    memory.reset_peak()
    before = memory.resident()
    with mmap.mmap(-1, 64 << 20) as block:  # not a tensor: malloc may keep what is freed
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert memory.peak_resident() >= before + (60 << 20)
    memory.reset_peak()
    assert memory.peak_resident() < before + (60 << 20)


def test_a_record_comes_back_and_a_number_that_json_lacks_leaves_the_file_alone(tmp_path):
    path, kept = tmp_path / "record.json", {"format": records.FORMAT, "b": [1, 2], "a": 0.5}
    assert records.read_record(path) is None
    assert records.write_record(path, {"b": (1, 2), "a": 0.5}) == kept
    with pytest.raises(ValueError):
        records.write_record(path, {"a": float("inf")})
    assert records.read_record(path) == kept
    path.write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format"):
        records.read_record(path)


def test_pages_and_workflows_name_sessions_that_exist():
    sources = "\n".join(path.read_text() for path in (ROOT / "tools" / "sessions").glob("*.py"))
    sessions = set(re.findall(r"^def (\w+)\(session: nox\.Session", sources, re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "noxfile.py", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(path.read_text() for path in [*pages, *(ROOT / ".github" / "workflows").glob("*.yml")])
    named = set(re.findall(r"nox -s (\w+)", text))
    for listed in re.findall(r"^ +session: \[(.*)\]$", text, re.MULTILINE):
        named |= set(listed.split(", "))
    assert {"tests", "docs", "generic", "oracle", "wheel"} <= named <= sessions
