"""Reports: a self-contained HTML page, tables in several formats, figures that print the same bytes twice."""

from .._base.files import write_text
from .figures import CYCLE, WIDTH, Line, figure, line_style, style, svg, write_png, write_svg
from .page import Page
from .tables import MISSING, Column, absent, csv, latex, markdown, present

__all__ = [
    "CYCLE",
    "MISSING",
    "WIDTH",
    "Column",
    "Line",
    "Page",
    "absent",
    "csv",
    "figure",
    "latex",
    "line_style",
    "markdown",
    "present",
    "style",
    "svg",
    "write_png",
    "write_svg",
    "write_text",
]
