"""One HTML file that needs nothing else: style, tables and vector figures are inside it. Light, and it prints."""

import os
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from .._base.files import write_text
from .figures import WIDTH, svg
from .tables import MISSING, numeric

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")
_MARKDOWN.validateLink = lambda url: url.startswith(("https://", "http://", "#"))  # type: ignore[method-assign]
_POINTS = 72  # an inch
_SHORT = 26  # characters; a text cell of at most this length is kept on one line
_LONG = 50  # characters: a longer text needs a column of some width


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
