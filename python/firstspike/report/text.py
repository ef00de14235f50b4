"""Markdown to HTML. HTML and pictures in the text are not let through, nor links but to the web and within the page."""

from markdown_it import MarkdownIt
from markupsafe import Markup

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")
_MARKDOWN.validateLink = lambda url: url.startswith(("https://", "http://", "#"))  # type: ignore[method-assign]


def inline(text: object) -> Markup:
    """Markup within one line, everything else escaped. What stands between backticks is left as it is."""
    return Markup(_MARKDOWN.renderInline(str(text)))


def blocks(text: object) -> Markup:
    """Paragraphs, lists, fenced code and whatever else CommonMark has."""
    return Markup(_MARKDOWN.render(str(text)))
