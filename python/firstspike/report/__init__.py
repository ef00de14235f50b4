"""Reports: a self-contained HTML page, and figures that print the same bytes twice.

A page is light, prints, and needs nothing else: style, tables and vector figures are inside it. Figures have colours that
colour-blind readers tell apart.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .._base.files import write_atomic, write_text

__all__ = [
    "CYCLE",
    "MISSING",
    "WIDTH",
    "Line",
    "Page",
    "figure",
    "line_style",
    "numeric",
    "style",
    "svg",
    "write_png",
    "write_svg",
    "write_text",
]

MISSING = "–"

_NUMBER = re.compile(r"^[+\-−≈<>~]?\s?[\d,.]+(e[+-]?\d+)?\s?(%|k|M|G)?(\s?([±-]|to)\s?[\d.,]+)?(\s\([^()]+\))?$")
_NO_NUMBER = ("not run", "not held", "unknown", "none")  # what may stand in place of one
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")
_MARKDOWN.validateLink = lambda url: url.startswith(("https://", "http://", "#"))  # type: ignore[method-assign]
_POINTS = 72  # an inch
_SHORT = 26  # characters; a text cell of at most this length is kept on one line
_LONG = 50  # characters: a longer text needs a column of some width


def numeric(column: Iterable[Any]) -> bool:
    """True if a printed column holds numbers, ranges or `a ± b`, also with a remark in parentheses, or dashes."""
    cells = [str(cell).strip() for cell in column]
    filled = [cell for cell in cells if cell and not cell.startswith(_NO_NUMBER)]
    return bool(filled) and all(cell == MISSING or _NUMBER.match(cell) for cell in filled)


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


class Page:
    """A report, written from top to bottom: Page("Results").section("Accuracy").table(frame, "Test set.").write("report.html").

    Tables and figures are numbered in their order; sections get a contents list and an anchor each. Title and subtitle may hold
    inline markup.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title, self.subtitle = title, subtitle
        self._parts: list[dict[str, Any]] = []

    def section(self, heading: str) -> Self:
        """Start a section; its anchor is the heading in lower case with dashes."""
        anchor = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"
        while any(part.get("anchor") == anchor for part in self._parts):
            anchor += "-2"
        return self._add("section", anchor=anchor, heading=heading)

    def text(self, markdown: str) -> Self:
        """Prose in CommonMark."""
        return self._add("text", text=markdown)

    def notice(self, markdown: str) -> Self:
        """Prose that must not be overlooked, set apart from the rest."""
        return self._add("notice", text=markdown)

    def facts(self, facts: dict[str, str]) -> Self:
        """Short names and values, one below the other."""
        return self._add("facts", facts=facts)

    def table(self, frame: pd.DataFrame, caption: str, note: str = "", rules: tuple[int, ...] = ()) -> Self:
        """A numbered table with its caption above; cells are text with inline markup, number columns flush right.

        `rules` are the rows (from 0) that begin a group and get a line above them.
        """
        right = [numeric(frame.iloc[:, index]) for index in range(len(frame.columns))]
        head = [_cell(title, flush, head=True) for title, flush in zip(frame.columns, right, strict=True)]
        cells = frame.itertuples(index=False, name=None)
        rows = [[_cell(cell, flush) for cell, flush in zip(row, right, strict=True)] for row in cells]
        return self._add("table", caption=caption, note=note, rules=rules, head=head, rows=rows)

    def figure(self, drawn: Figure | str, caption: str) -> Self:
        """A numbered vector figure, or the text that `svg` made of it, with its caption below."""
        text = drawn if isinstance(drawn, str) else svg(drawn)
        drawing = _inline_svg(text, f"f{self._count('figure') + 1}", caption)
        return self._add("figure", svg=Markup(drawing), caption=caption)

    def _count(self, kind: str) -> int:
        return sum(part["kind"] == kind for part in self._parts)

    def _add(self, kind: str, **values: Any) -> Self:
        self._parts.append({"kind": kind, "number": self._count(kind) + 1, **values})
        return self

    def html(self) -> str:
        """The whole document."""
        return _template().render(title=self.title, subtitle=self.subtitle, parts=self._parts)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to `path`, atomically."""
        return write_text(path, self.html())


def inline(text: object) -> Markup:
    """HTML of Markdown within one line; HTML, pictures and links but to the web and within the page are not let through."""
    return Markup(_MARKDOWN.renderInline(str(text)))


def blocks(text: object) -> Markup:
    """HTML of paragraphs, lists, fenced code and the rest of CommonMark, as `inline`."""
    return Markup(_MARKDOWN.render(str(text)))


@cache
def _template() -> Template:
    folder = resources.files(__package__)
    environment = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.filters |= {"inline": inline, "blocks": blocks}
    environment.globals["style"] = Markup(folder.joinpath("page.css").read_text(encoding="utf-8"))
    return environment.from_string(folder.joinpath("page.html.jinja").read_text(encoding="utf-8"))


def _cell(value: object, right: bool, *, head: bool = False) -> dict[str, str]:
    """A cell's text and its classes: flush right, not there, on one line, or not in a narrow column."""
    text = str(value)
    kinds = (["n"] if right else []) + (["off"] if text == MISSING or text.startswith("not run") else [])
    kinds += ["line"] if not head and len(text) <= _SHORT and not right else []
    kinds += ["long"] if len(text) > _LONG else []
    return {"text": text, "kinds": " ".join(kinds)}


def _inline_svg(text: str, prefix: str, label: str) -> str:
    """The <svg> element alone, its identifiers made unique on the page; `WIDTH` fills the width of the text."""
    element = text[text.index("<svg") :]
    width = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', element)
    if width is None:
        raise ValueError(f"drawn must be SVG with a width in points, got {element[:80]!r}")
    share = min(100.0, 100 * float(width[1]) / _POINTS / WIDTH)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', element)
    element = re.sub(r'((?:xlink:)?href)="#([^"]+)"', rf'\1="#{prefix}-\2"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", element)
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}" style="width:{share:.0f}%"', 1)
