"""`firstspike eval`: measure a trained net."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ._shared import AsJson, DataFolder, Images, Offline, Run, errors, own_data, print_metrics, run_file


def eval_command(
    path: Run,
    data: DataFolder = None,
    images: Images = None,
    split: Annotated[str, typer.Option(help="Which images: test or train.")] = "test",
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Measure a trained net: accuracy, steps to decision, spikes."""
    with errors({"^path must": "RUN must", "^split must": "--split must"}):
        from .. import train
        from .._base import checks

        checks.one_of("split", split, ("test", "train"))
        trained = train.load_model(run_file(path))
        dataset = own_data(trained, train=split == "train", images=images, data=data, offline=offline)
        metrics = train.evaluate(trained.model, dataset, normalize=trained.normalize)
    if as_json:
        typer.echo(json.dumps(metrics.to_dict()))
        return
    typer.echo(f"{dataset.name} {split}, {trained.config.spec} after epoch {trained.epoch}")
    print_metrics(metrics)
