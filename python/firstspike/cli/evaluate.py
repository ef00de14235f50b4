"""`firstspike eval`: measure a trained net."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ._shared import AsJson, DataFolder, Images, Offline, Run, errors, print_metrics, run_data, run_path


def eval_command(
    path: Run,
    data: DataFolder = None,
    images: Images = None,
    split: Annotated[str, typer.Option(help="Which images: test or train.")] = "test",
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Measure a trained net: accuracy, steps to decision, spikes."""
    with errors():
        from .. import train
        from .._base import checks

        checks.one_of("split", split, ("test", "train"))
        path = run_path(path)
        dataset = run_data(path, train=split == "train", images=images, data=data, offline=offline)
        info, metrics = train.load_info(path), train.evaluate(train.load_model(path), dataset)
        if as_json:
            typer.echo(json.dumps(metrics.to_dict()))
        else:
            typer.echo(f"{dataset.name} {split}, {info.config.spec} after epoch {info.epoch}")
            print_metrics(metrics)
