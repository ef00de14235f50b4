from pathlib import Path

import pytest
from paper.energies import energies
from paper.records import Store
from paper.tables.front import best
from paper.tables.timing import accuracies, costs
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


def test_the_table_of_the_readme(tmp_path):
    made, store = profile(tmp_path), Store(tmp_path / "results")
    fill(store, [*made.of("table1"), *made.of("windows")])
    shown = best(made, store).values.tolist()
    accuracies = ["90.50 ± 0.71", "90.50 ± 0.71", "99.48; 99.51"]
    assert [row[:6] for row in shown] == [
        ["MNIST", f"{kind}, T = 8", "4C3-AP2-10", *accuracies] for kind in ("step by step", "windows")
    ]
    spent = [
        energies(store.get(each.runs[0])) for each in made.of("table1") if each.setup == "cnn" and each.runs[0].model == "ttfs"
    ]
    assert shown[0][-2:] in [[f"{each[name] / 1e3:.3g}" for name in ("clocked", "relu")] for each in spent]
    store.path(made.of("windows")[-1].runs[0]).unlink()
    assert [row[1] for row in best(made, Store(tmp_path / "results")).values.tolist()] == ["step by step, T = 8"]


def test_accuracy_and_cost_against_t(tmp_path):
    made, store = profile(tmp_path), Store(tmp_path / "results")
    fill(store, [condition for condition in made.of("time") if condition.label != "windows, T = 8"])
    shown = accuracies(made, store, "small")
    assert shown["T"].tolist() == ["2", "8", "ReLU"]
    assert shown["windows"].tolist() == ["90.50 ± 6.35 [+0.00]", "not run", "90.50 ± 6.35"]
    shown = costs(made, store, "small")
    assert shown["step by step: latency"].tolist() == ["2", "8", "–"] and shown["windows: latency"].tolist() == ["2", "–", "–"]
    assert float(shown["windows: energy, µJ"][2]) > 0


@pytest.mark.usefixtures("committed_records")
@pytest.mark.parametrize("name", readme.DOCUMENTS)
def test_the_documents_of_this_repository_agree_with_their_records(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert documents.marks(text, readme.NAME) and readme.updated(text, ROOT / "paper" / "results") == text
