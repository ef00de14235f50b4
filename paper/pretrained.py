"""Train the nets that come with the package, and write their files: one seed of Table 1's membrane rows.

    python paper/pretrained.py --results DIR
    python paper/pretrained.py --check        trains nothing; exit status 1 where docs/howto/pretrained.md differs

It resumes if interrupted; a net that is there already, with these weights and settings, is left as it is. The weights are
stored as float16, and the accuracy in the record is measured with the net as it is loaded from the file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import typer

import firstspike
from firstspike import data, models, train
from firstspike._base import provenance
from firstspike._base.checks import one_of
from firstspike._base.files import read_json, sha256, write_atomic, write_json
from firstspike._base.tensors import read as read_tensors
from firstspike.models.shipped import FOLDER
from paper import grid
from paper.options import check_data, check_results
from paper.runs import Run
from paper.session import NOT_RUN
from tools import ROOT, documents

NETS = ("digits-mlp", "digits-cnn", "mnist-mlp", "mnist-cnn", "fashion-mlp", "fashion-cnn")
ROW = "TTFS, membrane"
PAGE = ROOT / "docs" / "howto" / "pretrained.md"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    results: Annotated[Path | None, typer.Option(help="Folder for the runs, one folder each.")] = None,
    data_root: Annotated[str | None, typer.Option("--data", help="Folder with the data sets.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"These nets only: {', '.join(NETS)}.")] = None,
    profile: Annotated[str, typer.Option(help=f"Whose settings: {', '.join(grid.PROFILES)}.")] = "paper",
    to: Annotated[
        Path | None, typer.Option(help="Folder for the nets; for the profile paper by default the package.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Train nothing; compare the page with the records.")] = False,
) -> None:
    """Train what is not trained yet, and write every net with its record, and the table of docs/howto/pretrained.md."""
    if check:
        raise typer.Exit(_update_page(check=True))
    try:
        if results is None:
            raise ValueError("--results must be given")
        one_of("--profile", profile, grid.PROFILES)
        if to is None:
            if profile != "paper":
                raise ValueError(
                    f"--to must be given for the profile {profile}: the package holds nets of the profile paper"
                )
            to = FOLDER
        for name in only or ():
            one_of("--only", name, NETS)
        check_data(data_root)
        check_results(results)
        runs = {name: table1_run(grid.load(profile), name) for name in only or NETS}
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    missing, origin = [], provenance.record()  # before anything is written here
    for name, run in runs.items():
        try:
            result = train.fit(run.config, directory=results / name, root=data_root)
            asked = f"--results DIR --only {name}" + ("" if profile == "paper" else f" --profile {profile}")
            command = f"python paper/pretrained.py {asked}"
            found = ship(
                name, train.load_model(results / name), result, {"written": origin, "command": command}, to, data_root
            )
        except data.NotAvailable as error:
            missing.append(name)
            typer.echo(f"{name}: not made, {error}", err=True)
            continue
        typer.echo(
            f"{name}: {100 * found['test']['accuracy']:.2f} % as shipped, {100 * result.test.accuracy:.2f} % as trained, "
            f"{found['bytes'] / 1e6:.2f} MB"
        )
    if to == FOLDER:
        _update_page(check=False)
    if missing:
        raise typer.Exit(NOT_RUN)


def table() -> str:
    """The nets that come with the package, as a table in Markdown."""
    lines = [
        "| name | data | net | T | parameters | test accuracy, % | MB |",
        "| :--- | :--- | :--- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in models.pretrained().iterrows():
        lines.append(
            f"| `{name}` | {row['data']} | {row['spec']} | {row['steps']} | {row['parameters']:,} | {row['accuracy']:.2f} "
            f"| {row['MB']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _update_page(*, check: bool) -> int:
    command = "python paper/pretrained.py --results DIR"
    return documents.update(
        [PAGE], lambda text: documents.fill(text, "pretrained", lambda words: table()), check=check, command=command
    )


def table1_run(profile: grid.Profile, name: str) -> Run:
    """The first seed of a Table 1 net with the membrane decoder."""
    for condition in profile.of("table1"):
        if (condition.setup, condition.label) == (name, ROW):
            return condition.runs[0]
    raise ValueError(f"the profile {profile.name} has no row {ROW!r} of {name} in Table 1")


def ship(
    name: str,
    trained: train.Trained,
    result: train.Result,
    origin: dict[str, Any],
    folder: Path,
    root: str | None = None,
) -> dict[str, Any]:
    """Write a trained net and its record into `folder`; returns the record. What is there already of this net is kept.

    origin: what the record says of its own making.

    Raises ValueError for a net that float16 cannot hold, or that is not out of a config of `models.build`.
    """
    model = trained.model
    if not isinstance(model, models.TTFSNet):
        raise ValueError(f"{name} must be a spiking net, got {type(model).__name__}")
    half = models.from_config(model.config())
    half.load_state_dict(model.state_dict())
    for parameter in half.parameters():
        if parameter.ndim > 1:  # gamma and bias are few, and stay as they are
            parameter.data = parameter.data.half()
            if not bool(parameter.isfinite().all()):
                raise ValueError(f"the weights of {name} exceed the range of float16")
    kept = _kept(name, half, trained.config, folder)
    if kept is not None:
        return kept
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "model.safetensors"
        firstspike.save(half, made, {"config": trained.config.to_dict(), "epoch": trained.epoch, "data": trained.data})
        raw = made.read_bytes()
        loaded = train.load_model(made)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.model.parameters())
    test, warning = train.load_own(loaded, train=False, root=root)
    if warning is not None:
        raise ValueError(warning)
    record = {
        "name": name,
        "test": train.evaluate(loaded.model, test, normalize=loaded.normalize).to_dict(),
        "test_as_trained": result.test.to_dict(),
        "parameters": result.parameters,
        "config": trained.config.to_dict(),
        "data": trained.data,
        "weights": "float16; gamma and bias float32",
        "bytes": len(raw),
        "sha256": sha256(raw),
        "sessions": list(result.sessions),
        **origin,
    }
    write_atomic(folder / f"{name}.safetensors", raw)
    write_json(folder / f"{name}.json", record)
    return record


def _kept(name: str, half: models.TTFSNet, config: train.Config, folder: Path) -> dict[str, Any] | None:
    """The record in `folder`, where it and its file are of these weights and settings."""
    file = folder / f"{name}.safetensors"
    try:
        found: dict[str, Any] = read_json(folder / f"{name}.json")
        content = read_tensors(file)
        same = train.Config.from_dict(found["config"]) == config and found["sha256"] == sha256(file.read_bytes())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    tensors = half.state_dict()
    same = same and content.tensors.keys() == tensors.keys()
    return found if same and all(torch.equal(value, tensors[key]) for key, value in content.tensors.items()) else None


if __name__ == "__main__":
    app()
