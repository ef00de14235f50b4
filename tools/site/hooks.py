"""What mkdocs runs beside its pages: files of the repository become pages, pictures and tables are made from real runs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from tools.site import configuration, examples, pictures, tutorials  # noqa: E402

# Files outside docs/ that are pages of the site.
PAGES = {
    "paper/README.md": "reproduction.md",
    "cpp/README.md": "kernels.md",
    "benchmarks/results/zen4/README.md": "measurements.md",
    "benchmarks/results/full/README.md": "measurements-intel.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
FIGURE = re.compile(r"^!\[(.+)\]\(.+\)$", re.MULTILINE)  # a picture that is a paragraph
MATH = re.compile(r"^( *)```math\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE_MATH = re.compile(r"\$`([^`\n]+)`\$")  # as GitHub renders it
SHORT_CELL = re.compile(r"<td( [^>]*)?>([^<]{1,28})</td>")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/, and what is made by the build."""
    made = {page: (ROOT / source).read_text() for source, page in PAGES.items() if (ROOT / source).exists()}
    made["configuration.md"] = configuration.page()
    made["chip-profile.md"] = configuration.chip_page()
    made["examples.md"] = examples.page(ROOT / "examples")
    folder = ROOT / "build" / "docs" / "pictures"
    drawn = pictures.draw(folder)
    for source, page in tutorials.pages(ROOT).items():
        made[page] = tutorials.page(ROOT / source, folder)
    drawn |= {file.name: file for file in folder.glob("*-[0-9].svg")}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    for name, file in drawn.items():
        files.append(File.generated(config, f"pictures/{name}", content=file.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository into links to their pages, or into plain names where they have none."""
    targets = PAGES | tutorials.pages(ROOT)
    sources = {page: source for source, page in PAGES.items()}
    source = PurePosixPath(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    markdown = MATH.sub(mathml, markdown)
    markdown = INLINE_MATH.sub(lambda formula: convert(formula[1]), markdown)
    markdown = re.sub(r"<!-- (?!more).*?-->\n?", "", markdown, flags=re.DOTALL)

    def rewritten(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        file = os.path.normpath(source.parent / target)
        if file in targets:
            file = f"docs/{targets[file]}"
        if file.startswith("docs/"):
            start = PurePosixPath(page.file.src_uri).parent
            return f"{image}[{text}]({os.path.relpath(file.removeprefix('docs/'), start)}{anchor})"
        if image:
            return embedded(text, file, page, config, files)
        return text if "`" in text or text != target else f"`{text}`"

    return FIGURE.sub(captioned, LINK.sub(rewritten, markdown))


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Mark the short cells of tables, which are not broken (docs/site.css): nets and figures stay on one line."""
    return SHORT_CELL.sub(r'<td\1 class="short">\2</td>', html)


def mathml(block: re.Match[str]) -> str:
    """A block of LaTeX as MathML, which browsers show without a script."""
    return f'{block[1]}<div class="math">{convert(" ".join(block[2].split()), display="block")}</div>'


def captioned(picture: re.Match[str]) -> str:
    """A picture with its description below it, for those who see it as well."""
    return f'<figure markdown="span">\n{picture[0]}\n<figcaption>{picture[1]}</figcaption>\n</figure>'


def embedded(text: str, file: str, page: Any, config: Any, files: Files) -> str:
    """A picture of the repository, copied into the site."""
    name = f"pictures/{PurePosixPath(file).name}"
    if files.get_file_from_path(name) is None:
        files.append(File.generated(config, name, content=(ROOT / file).read_bytes()))
    return f"![{text}]({os.path.relpath(name, PurePosixPath(page.file.src_uri).parent)})"
