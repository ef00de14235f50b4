"""A small subset of Markdown to HTML: paragraphs, lists, fenced code, `code`, **strong**, *emphasis*, [links](url)."""

import re
from html import escape

_INLINE = (
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w*])\*(?!\s)(.+?)(?<!\s)\*(?![\w*])"), r"<em>\1</em>"),
    (re.compile(r"\[([^\]]+)\]\((https?://[^\s)]+|#[^\s)]+)\)"), r'<a href="\2">\1</a>'),
)


def inline(text: str) -> str:
    """Markup within one line, everything else escaped. What stands between backticks is left as it is."""
    parts = re.split(r"`([^`]+)`", text)
    html = []
    for index, part in enumerate(parts):
        safe = escape(part)
        if index % 2:
            html.append(f"<code>{safe}</code>")
            continue
        for pattern, replacement in _INLINE:
            safe = pattern.sub(replacement, safe)
        html.append(safe)
    return "".join(html)


def blocks(text: str) -> str:
    """Paragraphs, `- ` lists and fenced code, parted by blank lines."""
    html = []
    fence = re.compile(r"^```[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
    position = 0
    for match in fence.finditer(text):
        html.append(_prose(text[position : match.start()]))
        html.append(f"<pre><code>{escape(match[1].rstrip())}</code></pre>\n")
        position = match.end()
    html.append(_prose(text[position:]))
    return "".join(html)


def _prose(text: str) -> str:
    html = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        if lines[0].startswith("- "):
            html.append(_list(lines))
        else:
            html.append(f"<p>{inline(' '.join(lines))}</p>\n")
    return "".join(html)


def _list(lines: list[str]) -> str:
    items: list[str] = []
    for line in lines:
        if line.startswith("- "):
            items.append(line[2:])
        else:
            items[-1] += " " + line
    return "<ul>\n" + "".join(f"<li>{inline(item)}</li>\n" for item in items) + "</ul>\n"
