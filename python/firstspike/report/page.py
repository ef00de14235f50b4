"""One HTML file that needs nothing else: style, tables and vector figures are inside it. Light, and it prints."""

import os
import re
from html import escape
from importlib import resources
from pathlib import Path
from typing import Self

import pandas as pd
from matplotlib.figure import Figure

from .._files import write_text
from .figures import WIDTH, svg
from .tables import MISSING, numeric
from .text import blocks, inline

_POINTS = 72  # an inch
_SHORT = 26  # characters; a text cell of at most this length is kept on one line


class Page:
    """A report, written from top to bottom. Every method but `html` and `write` returns the page itself.

    Tables and figures are numbered in their order; sections get a contents list and an anchor each.

        Page("Results", "three seeds").section("Accuracy").table(frame, "Test accuracy.").write("report.html")
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        """Start a page with a `title` and a line below it (both may hold inline markup)."""
        self.title = title
        self.subtitle = subtitle
        self._body: list[str] = []
        self._sections: list[tuple[str, str]] = []
        self._tables = 0
        self._figures = 0

    def section(self, heading: str) -> Self:
        """Start a section; its anchor is the heading in lower case with dashes."""
        anchor = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"
        taken = {name for name, _ in self._sections}
        while anchor in taken:
            anchor += "-2"
        self._sections.append((anchor, heading))
        self._body.append(f'<h2 id="{anchor}">{inline(heading)}</h2>\n')
        return self

    def text(self, markdown: str) -> Self:
        """Prose: paragraphs, lists, fenced code, `code`, **strong**, *emphasis*, links."""
        self._body.append(blocks(markdown))
        return self

    def notice(self, markdown: str) -> Self:
        """Prose that must not be overlooked, set apart from the rest."""
        self._body.append(f'<div class="notice">\n{blocks(markdown)}</div>\n')
        return self

    def facts(self, facts: dict[str, str]) -> Self:
        """Short names and values, one below the other."""
        rows = "".join(f"<dt>{inline(name)}</dt><dd>{inline(value)}</dd>\n" for name, value in facts.items())
        self._body.append(f'<dl class="facts">\n{rows}</dl>\n')
        return self

    def table(self, frame: pd.DataFrame, caption: str, note: str = "", rules: tuple[int, ...] = ()) -> Self:
        """A numbered table with its caption above; cells are text with inline markup, number columns flush right.

        `rules` are the rows (from 0) that begin a group and get a line above them.
        """
        self._tables += 1
        right = [numeric(frame.iloc[:, index]) for index in range(len(frame.columns))]
        head = "".join(_cell("th", str(title), flush) for title, flush in zip(frame.columns, right, strict=True))
        body = []
        for number, row in enumerate(frame.itertuples(index=False, name=None)):
            cells = "".join(_cell("td", str(cell), flush) for cell, flush in zip(row, right, strict=True))
            body.append(f"<tr{' class=rule' if number and number in rules else ''}>{cells}</tr>\n")
        self._body.append(
            f'<div class="table" id="table-{self._tables}">\n'
            f'<p class="caption"><b>Table {self._tables}.</b> {inline(caption)}</p>\n'
            f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{''.join(body)}</tbody>\n</table></div>\n"
            + (f'<div class="note">{blocks(note)}</div>\n' if note else "")
            + "</div>\n"
        )
        return self

    def figure(self, drawn: Figure | str, caption: str) -> Self:
        """A numbered vector figure, or the text that `svg` made of it, with its caption below."""
        self._figures += 1
        text = drawn if isinstance(drawn, str) else svg(drawn)
        self._body.append(
            f'<figure id="figure-{self._figures}">\n{_inline_svg(text, f"f{self._figures}", caption)}'
            f"<figcaption><b>Figure {self._figures}.</b> {inline(caption)}</figcaption>\n</figure>\n"
        )
        return self

    def html(self) -> str:
        """The whole document."""
        style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
        contents = "".join(f'<li><a href="#{anchor}">{inline(text)}</a></li>\n' for anchor, text in self._sections)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            f"<header>\n<h1>{inline(self.title)}</h1>\n"
            + (f'<p class="subtitle">{inline(self.subtitle)}</p>\n' if self.subtitle else "")
            + "</header>\n"
            + (f'<nav aria-label="Contents"><ol>\n{contents}</ol></nav>\n' if len(self._sections) > 1 else "")
            + "".join(self._body)
            + "</main>\n</body>\n</html>\n"
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to `path`, atomically."""
        return write_text(path, self.html())


def _cell(tag: str, text: str, right: bool) -> str:
    names = (["n"] if right else []) + (["off"] if text == MISSING or text.startswith("not run") else [])
    names += ["line"] if tag == "td" and len(text) <= _SHORT and not right else []
    kind = f' class="{" ".join(names)}"' if names else ""
    return f"<{tag}{kind}>{inline(text)}</{tag}>"


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
    return element.replace(
        "<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}" style="width:{share:.0f}%"', 1
    )
