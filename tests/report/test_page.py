import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from firstspike.report import Page, blocks, figure, inline, svg


class Reader(HTMLParser):
    """Collects identifiers and anything that would be fetched."""

    def __init__(self):
        super().__init__()
        self.ids, self.fetched, self.links, self.used = [], [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name == "src" or (tag == "link" and name == "href"):
                self.fetched.append(value)
            if tag == "a" and name == "href":
                self.links.append(value)
            if name == "xlink:href":
                self.used.append(value)


def drawing():
    drawn, axes = figure(3, 2)
    axes.plot([0, 1, 2], [0, 1, 4])
    axes.set_xlabel("step")
    return drawn


def glyphs(drawn):
    """The identifiers of the characters that a figure draws."""
    return set(re.findall(r'id="(DejaVuSans-\w+)"', svg(drawn)))


def page():
    frame = pd.DataFrame({"method": ["ours", "<theirs>"], "acc": ["98.1 ± 0.1", "–"]})
    page = Page("A & B", "with `code`").section("One").text("Hello *there*.").table(frame, "Accuracy.", note="Small.")
    return page.section("One").figure(drawing(), "First.").figure(drawing(), "Second.")


def test_page_needs_nothing_else_and_its_links_lead_somewhere():
    reader = Reader()
    html = page().html()
    reader.feed(html)
    assert reader.fetched == []
    assert "@import" not in html and "url(http" not in html
    assert len(reader.ids) == len(set(reader.ids))
    assert {"one", "one-2", "table-1", "figure-1", "figure-2"} <= set(reader.ids)
    assert {link[1:] for link in reader.links + reader.used} <= set(reader.ids)
    for name in re.findall(r"url\(#([^)]+)\)", html):
        assert name in reader.ids


def test_page_escapes_and_aligns():
    html = page().html()
    assert "<title>A &amp; B</title>" in html and "&lt;theirs&gt;" in html
    assert '<th class="n">acc</th>' in html and '<td class="n off">–</td>' in html and "<th>method</th>" in html


def test_page_is_the_same_bytes_twice_and_written_whole(tmp_path):
    path = page().write(tmp_path / "deep" / "report.html")
    assert path.read_text() == page().html()
    assert [child.name for child in path.parent.iterdir()] == ["report.html"]


def test_a_figure_may_come_as_the_text_that_was_drawn_before():
    assert Page("x").figure(svg(drawing()), "c").html() == Page("x").figure(drawing(), "c").html()
    with pytest.raises(ValueError, match="must be SVG with a width in points, got '<svg/>'"):
        Page("x").figure("<svg/>", "c")


def test_a_logarithmic_axis_is_labelled_by_powers_of_ten_not_by_markup():
    digits, axes = figure(3, 2)
    axes.set(xticks=[], yticks=[], title="0123456789")
    logarithmic, axes = figure(3, 2)
    axes.set(xticks=[], yscale="log", ylim=(1, 1e6))
    assert glyphs(logarithmic) and glyphs(logarithmic) <= glyphs(digits)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** *c* `d*e*`", "a <strong>b</strong> <em>c</em> <code>d*e*</code>"),
        ("2 * 3 * 4 < 5", "2 * 3 * 4 &lt; 5"),
        ("[x](https://a.b/c?d=1&e=2)", '<a href="https://a.b/c?d=1&amp;e=2">x</a>'),
        ("[x](javascript:y)", "[x](javascript:y)"),
        ("[x](#part) ![x](https://a.b/c.png)", '<a href="#part">x</a> !<a href="https://a.b/c.png">x</a>'),
        ("<b>a_b_c</b>", "&lt;b&gt;a_b_c&lt;/b&gt;"),
    ],
)
def test_inline(text, html):
    assert inline(text) == html


def test_blocks():
    html = blocks("One\ntwo.\n\n- a\n  b\n- c\n\n```\nx < 1\n\ny\n```\n\nEnd.")
    assert html == (
        "<p>One\ntwo.</p>\n<ul>\n<li>a\nb</li>\n<li>c</li>\n</ul>\n<pre><code>x &lt; 1\n\ny\n</code></pre>\n<p>End.</p>\n"
    )
