"""Keep the README's results table equal to the records.

    python paper/readme.py --profile quick            writes the table between the two marks in README.md
    python paper/readme.py --profile quick --check    writes nothing; exit status 1 where the README differs

The marks are the lines `<!-- results PROFILE -->` and `<!-- end of results -->`.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import typer

from firstspike.report import Column, markdown, present, write_text
from paper import grid
from paper.grid import Profile
from paper.records import Store
from paper.tables.accuracy import table1
from paper.tables.table import DATASETS

ROOT = Path(__file__).resolve().parents[1]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def block(profile: Profile, store: Store) -> str:
    """The README's results: the main columns of Table 1, in Markdown."""
    table = table1(profile, store)
    wanted = {"net", "augmentation", "epochs", "seeds", "accuracy", "relu_accuracy", "published"}
    columns = [Column("dataset", "data set", lambda row: DATASETS[row["dataset"]])]
    columns += [column for column in table.columns if column.name in wanted]
    return markdown(present(table.raw, columns))


def updated(text: str, profile: str, table: str) -> str:
    """The README `text` with `table` between its marks; ValueError where it lacks them."""
    pattern = re.compile(rf"(<!-- results {profile} -->\n).*?(<!-- end of results -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the README must have the lines '<!-- results {profile} -->' and '<!-- end of results -->'")
    return pattern.sub(lambda match: f"{match[1]}{table}{match[2]}", text)


@app.command()
def main(
    profile: Annotated[str, typer.Option(help=f"One of {', '.join(grid.PROFILES)}.")] = "quick",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where it differs.")] = False,
    readme: Annotated[Path, typer.Option(help="The README.")] = ROOT / "README.md",
    results: Annotated[Path, typer.Option(help="Folder with results.")] = ROOT / "paper" / "results",
) -> None:
    """Write the results table of a profile into the README, or check that it is the one that is there."""
    before = readme.read_text(encoding="utf-8")
    after = updated(before, profile, block(grid.load(profile), Store(results / profile)))
    if before == after:
        return
    if check:
        typer.echo(f"{readme} differs from the records; run: python paper/readme.py --profile {profile}", err=True)
        raise typer.Exit(1)
    write_text(readme, after)


if __name__ == "__main__":
    app()
