"""Figure 1d: when the first output spike comes, decoder by decoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstspike.report import figure, line_style

from ..grid import Profile
from ..measures import records
from ..records import Store
from .named_figure import NamedFigure, by_setup, empty


def decisions(profile: Profile, store: Store) -> NamedFigure | None:
    """Share of samples with an output spike after each step, a panel for each bench."""
    setups = by_setup(profile.of("decoder"))
    if not any(records(condition, store) for conditions in setups.values() for condition in conditions):
        return None
    columns = min(2, len(setups))
    rows = -(-len(setups) // columns)
    drawn, grid = figure(6.8 if columns > 1 else 4.2, 0.3 + 2.4 * rows, nrows=rows, ncols=columns, sharey=True, squeeze=False)
    panels = list(grid.flat)
    handles: dict[str, Any] = {}
    for axes, (setup, conditions) in zip(panels, setups.items(), strict=False):
        axes.set_title(profile.title(setup))
        spiking = [each for each in conditions if not str(each.value).startswith("membrane")]  # others answer after all steps
        found = [(index, condition.label, records(condition, store)) for index, condition in enumerate(spiking)]
        if not any(made for _, _, made in found):
            empty(axes, store.missing_reason(conditions[0].runs[0]).reason)
            continue
        for index, label, made in found:
            if made:
                share = 100 * np.mean([_decided(record) for record in made], axis=0)
                line = axes.plot(np.arange(1, len(share) + 1), share, **line_style(index).plot())[0]
                handles.setdefault(label, line)
        axes.set_xlabel("steps")
        axes.set_ylim(-3, 103)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[len(setups) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("with an output spike, %")
    drawn.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4 if columns > 1 else 2)
    return NamedFigure(
        "decisions",
        drawn,
        "The first output spike (the paper's Fig. 1d): share of (up to 2,000) test images with an output spike "
        "after so many steps.",
    )


def _decided(record: dict[str, Any]) -> NDArray[np.float64]:
    """Share of samples with an output spike in step 0 to T - 1 or before, [T]; what never fires is not in it."""
    counts = np.array(record["results"]["test"]["decided"], dtype=float)
    shares: NDArray[np.float64] = counts[:-1].cumsum() / counts.sum()
    return shares
