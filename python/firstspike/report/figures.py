"""Figures in one look: colours that colour-blind readers tell apart, vector output, and the same bytes every time."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .._base.files import write_atomic


@dataclass(frozen=True)
class Line:
    """How one series is drawn: colour, marker and dash differ together, so that no series rests on colour alone."""

    color: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]

    def plot(self) -> dict[str, Any]:
        """Arguments for `Axes.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dash}


#: The palette of Okabe and Ito (2008) without its yellow, which is too light on paper.
CYCLE = (
    Line("#0072B2", "o", "-"),
    Line("#D55E00", "s", "--"),
    Line("#009E73", "^", "-."),
    Line("#CC79A7", "D", ":"),
    Line("#E69F00", "v", (0, (5, 1, 1, 1, 1, 1))),
    Line("#56B4E9", "P", (0, (3, 1))),
    Line("#000000", "X", (0, (1, 1))),
)

#: Inches: a figure that is as wide as the text of a `Page`.
WIDTH = 6.8

_STYLE = Path(__file__).with_name("figures.mplstyle")


def line_style(index: int) -> Line:
    """The style of series `index` (>= 0); the cycle repeats after its end."""
    return CYCLE[index % len(CYCLE)]


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures: fonts, lines, grid."""
    with mpl.rc_context(fname=_STYLE):
        yield


def figure(width: float = WIDTH, height: float = 2.8, **grid: Any) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches, without a window, and its axes, as `Figure.subplots(**grid)` gives them.

    Draw on it within `style()`.
    """
    with style():
        drawn = Figure(figsize=(width, height), layout="constrained")
        return drawn, drawn.subplots(**grid)


def svg(drawn: Figure) -> str:
    """The figure as SVG text without date and random identifiers, so that equal figures are equal bytes."""
    buffer = io.StringIO()
    with style():
        FigureCanvasSVG(drawn).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def write_svg(drawn: Figure, path: str | os.PathLike[str]) -> Path:
    """Write the figure as SVG, atomically."""
    return write_atomic(path, svg(drawn).encode())


def write_png(drawn: Figure, path: str | os.PathLike[str], dpi: int = 200) -> Path:
    """Write the figure as PNG with `dpi` dots per inch, atomically."""
    buffer = io.BytesIO()
    with style():
        drawn.set_dpi(dpi)
        FigureCanvasAgg(drawn).print_png(buffer, metadata={"Software": None})
    return write_atomic(path, buffer.getvalue())
