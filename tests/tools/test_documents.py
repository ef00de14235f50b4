import pytest

from tools import documents


def test_only_what_is_between_the_marks_changes():
    text = "a\n<!-- table one 1 -->\nold\n<!-- end -->\nb\n<!-- table two -->\n<!-- end -->\nc"
    filled = documents.fill(text, "table", lambda words: f"new {'+'.join(words)}\n")
    assert filled == "a\n<!-- table one 1 -->\nnew one+1\n<!-- end -->\nb\n<!-- table two -->\nnew two\n<!-- end -->\nc"
    assert documents.marks(text, "table") == [["one", "1"], ["two"]]
    assert documents.marks(text, "results") == []


@pytest.mark.parametrize("text", ["<!-- table 1 -->\n", "<!-- table 1 -->\n<!-- table 2 -->\n<!-- end -->"])
def test_a_mark_without_an_end_is_refused(text):
    with pytest.raises(ValueError, match="'<!-- table 1 -->' must be followed by '<!-- end -->'"):
        documents.fill(text, "table", lambda words: "")


def test_check_writes_nothing_and_names_the_command(tmp_path, capsys):
    same, other = tmp_path / "same.md", tmp_path / "other.md"
    same.write_text("x")
    other.write_text("y")
    command = "python write.py"
    assert documents.update([same, other], lambda text: "x", check=True, command=command) == 1
    assert other.read_text() == "y"
    told = capsys.readouterr().err
    assert "other.md" in told and "same.md" not in told and command in told
    assert documents.update([same, other], lambda text: "x", check=False, command=command) == 0
    assert other.read_text() == "x"
