from pathlib import Path

import pytest
from paper.records import Store
from typer.testing import CliRunner

from paper import readme
from tools import documents

from .samples import fill, profile

ROOT = Path(__file__).resolve().parents[2]
TEXT = "# Title\n\n<!-- results smoke -->\nold\n<!-- end -->\n\nEnd.\n"


def test_the_block_is_a_table_of_the_records(tmp_path):
    made, store = profile(tmp_path), Store(tmp_path / "results")
    fill(store, made.of("table1"))
    lines = readme.block(made, store).splitlines()
    assert lines[0].startswith("| decoder | data set | net | augmentation | seeds |")
    end = "none | 2 | 90.50 ± 0.71 | 90.50 ± 0.71 | – | 8 | 2 | 1,234 | 3 ± 0 | 1 |"
    assert lines[2] == f"| temporal weighting (TWD), the paper's method | digits | 64-16-10 | {end}"
    assert lines[4] == f"| membrane decoder | digits | 64-16-10 | {end}"
    assert "| MNIST | 4C3-AP2-10 | none | 2 | 90.50 ± 0.71 | 90.50 ± 0.71 | 99.48 |" in lines[3]
    assert "| 99.51 |" in lines[5]


def test_check_fails_until_it_is_written(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    arguments = ["--readme", str(path), "--results", str(tmp_path)]
    assert CliRunner().invoke(readme.app, [*arguments, "--check"]).exit_code == 1
    assert path.read_text() == TEXT
    assert CliRunner().invoke(readme.app, arguments).exit_code == 0
    assert "not run" in path.read_text() and "old" not in path.read_text() and path.read_text().endswith("End.\n")
    assert CliRunner().invoke(readme.app, [*arguments, "--check"]).exit_code == 0


@pytest.mark.usefixtures("committed_records")
def test_the_readme_of_this_repository_agrees_with_its_records():
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not documents.marks(text, readme.NAME):
        pytest.skip("the README has no results table")
    assert readme.updated(text, ROOT / "paper" / "results") == text
