"""Keep the results in documents equal to the records.

    python paper/readme.py           writes each table between its marks in README.md and docs
    python paper/readme.py --check   writes nothing; exit status 1 where a document differs

The marks are the lines `<!-- results PROFILE WORDS -->` and `<!-- end -->`. WORDS:

    (none)           the main columns of Table 1
    short            its accuracies, of rows that were run, have a published accuracy or none to have, and are not superseded
    best             the table of README.md
    windows          nets of windows made for accuracy
    yin-yang         Yin-Yang
    accuracy SETUP   accuracy against T
    cost SETUP       latency, spikes and energy against T
    energy SETUP     energy against T in every schedule and model
    energy windows   energy of the nets of windows made for accuracy
    answers SETUP    what an answer costs: accuracy, spikes, steps and energy by several models
    conversion       conversions of ReLU nets
    chips            small nets on each chip
    advice NET [N]   what would lower the energy of a net that ships; with N, run with N input steps
"""

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import typer
from tools.tables import Column, markdown

from paper import advice, chips, conversion, grid
from paper.grid import Profile
from paper.records import Store
from paper.tables import TABLES
from paper.tables.accuracy import table1
from paper.tables.cost import answers
from paper.tables.front import best
from paper.tables.table import Table
from paper.tables.timing import accuracies, accurate_energies, costs, energies
from tools import ROOT, documents

NAME = "results"
DOCUMENTS = ("README.md", "docs/accuracy.md", "docs/cost.md", "docs/emulator.md", "docs/howto/less-energy.md")
SHORT = ("group", "dataset", "net", "augmentation", "seeds", "accuracy", "relu_accuracy", "published")
WANTED = (*SHORT, "epochs", "parameters", "steps", "seconds", "threads")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def block(profile: Profile, store: Store, short: bool = False) -> str:
    """The main columns of Table 1, in Markdown; of the setups that need `--large` those that were run.

    short: only rows that were run and are not superseded, with a published accuracy or of a copy of a data set; their accuracies.
    """
    table = table1(profile, store)
    large = table.raw["setup"].map(lambda name: profile.setups[name].large)
    raw = table.raw[~large | (table.raw["seeds"] > 0)].reset_index(drop=True)
    if short:
        superseded = raw["setup"].map(lambda name: profile.setups[name].superseded)
        comparable = raw["published"].notna() | (raw["images"] != "")
        raw = raw[(raw["seeds"] > 0) & comparable & ~superseded].reset_index(drop=True)
    wanted = SHORT if short else WANTED
    columns: tuple[Column, ...] = tuple(column for column in table.columns if column.name in wanted)
    return markdown(Table(table.name, table.caption, raw, columns).shown)


def updated(text: str, results: Path) -> str:
    """`text` with the table of each profile that it has a mark for; ValueError for a mark without an end."""
    return documents.fill(text, NAME, lambda words: _table(words[0], results / words[0], words[1:]))


def _table(name: str, folder: Path, words: list[str]) -> str:
    if words == ["conversion"]:
        return markdown(conversion.table(name, folder / "conversion"))
    if words == ["chips"]:
        return markdown(chips.table(name, folder / "chips"))
    if words and words[0] == "advice":
        return markdown(advice.table(name, folder / "advice", words[1], int(words[2]) if words[2:] else None))
    loaded, store = grid.load(name), Store(folder)
    if words == ["energy", "windows"]:
        return markdown(accurate_energies(loaded, store))
    made = {"accuracy": accuracies, "cost": costs, "energy": energies, "answers": answers}
    if words and words[0] in made:
        return markdown(made[words[0]](loaded, store, words[1]))
    if words in (["windows"], ["yin-yang"]):
        return markdown(TABLES[words[0]][1](loaded, store).shown.drop(columns="validation, %"))  # nothing was held out
    if words == ["best"]:
        return markdown(best(loaded, store))
    return block(loaded, store, words == ["short"])


@app.command()
def main(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where it differs.")] = False,
    readme: Annotated[list[Path] | None, typer.Option(help="Documents (repeat); by default those with marks.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with results.")] = ROOT / "paper" / "results",
) -> None:
    """Write the results tables into the README, or check that they are the ones that are there."""
    command = "python paper/readme.py"
    paths = readme or [ROOT / name for name in DOCUMENTS]
    if documents.update(paths, lambda text: updated(text, results), check=check, command=command):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
