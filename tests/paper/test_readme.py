import re
from pathlib import Path

import pytest
from paper.records import Store
from typer.testing import CliRunner

from paper import grid, readme

from .samples import fill, profile

ROOT = Path(__file__).resolve().parents[2]
TEXT = "# Title\n\n<!-- results {} -->\nold\n<!-- end of results -->\n\nEnd.\n"


def test_the_block_is_a_table_of_the_records(tmp_path):
    made, store = profile(tmp_path), Store(tmp_path / "results")
    fill(store, made.of("table1"))
    lines = readme.block(made, store).splitlines()
    assert lines[0].startswith("| data set | net | augmentation | epochs | seeds |")
    assert lines[2] == "| digits | 64-16-10 | none | 2 | 2 | 90.50 ± 0.71 | 90.50 ± 0.71 | – |"
    assert lines[3] == "| MNIST | 4C3-AP2-10 | none | 1 | 2 | 90.50 ± 0.71 | 90.50 ± 0.71 | 99.48 |"


def test_only_what_is_between_the_marks_changes():
    text = readme.updated(TEXT.format("quick"), "quick", "| new |\n")
    assert text == TEXT.format("quick").replace("old\n", "| new |\n")
    with pytest.raises(ValueError, match="must have the lines"):
        readme.updated(TEXT.format("paper"), "quick", "")


def test_check_fails_until_it_is_written(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(TEXT.format("smoke"))
    arguments = ["--profile", "smoke", "--readme", str(path), "--results", str(tmp_path)]
    assert CliRunner().invoke(readme.app, [*arguments, "--check"]).exit_code == 1
    assert path.read_text() == TEXT.format("smoke")
    assert CliRunner().invoke(readme.app, arguments).exit_code == 0
    assert "not run" in path.read_text()
    assert CliRunner().invoke(readme.app, [*arguments, "--check"]).exit_code == 0


def test_the_readme_of_this_repository_agrees_with_its_records():
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    marks = re.findall(r"<!-- results (\w+) -->", text)
    if not marks:
        pytest.skip("the README has no results table")
    for name in marks:
        table = readme.block(grid.load(name), Store(ROOT / "paper" / "results" / name))
        assert readme.updated(text, name, table) == text
