"""Reports: a self-contained HTML page, tables in several formats, figures that print the same bytes twice."""

from .figures import CYCLE, Line, figure, line_style, svg, write_png, write_svg
from .page import Page
from .tables import Column, csv, latex, markdown, present

__all__ = [
    "CYCLE",
    "Column",
    "Line",
    "Page",
    "csv",
    "figure",
    "latex",
    "line_style",
    "markdown",
    "present",
    "svg",
    "write_png",
    "write_svg",
]
