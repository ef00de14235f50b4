"""What a program gains and loses if it stops early: accuracy and energy over the steps."""

from __future__ import annotations

import math
import os

import numpy as np
import pandas as pd
from torch import Tensor

from ... import energy
from ...energy import EnergyTable
from ...spikes import SpikeTimes
from ..program.program import Program
from ..program.stopping import stopped
from .cost import account_of
from .run import run

LARGEST_CURVE = 16  # steps of which a curve has a row, if there are more


def stopping(
    program: Program,
    inputs: SpikeTimes | Tensor,
    labels: Tensor,
    *,
    table: str | os.PathLike[str] | EnergyTable | None = None,
    schedule: str | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Return accuracy and energy of a program that stops after each number of steps: `stopped` and `run`.

    Columns: `steps`, without delays; `accuracy`, 0 to 1; `agreement`, the share of samples with the class of the complete run;
    `latency_steps`, with delays, and with a margin the mean; `energy_nj` per sample, without a placement. Of more than 16 numbers
    of steps, 16 have a row, the last among them.

    Parameters
    ----------
    program : Program
    inputs, labels, threads : as of `run`.
    schedule : as of `report`.
    table : str, path or EnergyTable, optional
        By default that of the program's profile; NaN without one.

    Examples
    --------
    >>> program = emulator.quantize(models.mlp("64-32-10", steps=8))
    >>> curve = emulator.stopping(program, torch.rand(20, 64), torch.randint(10, (20,)))
    >>> len(curve), float(curve["agreement"].iloc[-1])
    (8, 1.0)
    """
    figures = program.profile.energy_table() if table is None else energy.load(table)
    every = program.score_steps
    picked = np.unique(np.linspace(0, len(every) - 1, min(LARGEST_CURVE, len(every))).round().astype(int))
    runs = {every[n]: run(stopped(program, after=every[n]), inputs, labels=labels, threads=threads) for n in picked}
    whole = runs[every[-1]].predictions
    rows = [
        {
            "steps": steps,
            "accuracy": each.accuracy,
            "agreement": float((each.predictions == whole).mean()),
            "latency_steps": float(each.steps_run.mean()),
            "energy_nj": math.nan if figures is None else account_of(each, figures, schedule=schedule).total,
        }
        for steps, each in runs.items()
    ]
    return pd.DataFrame(rows)
