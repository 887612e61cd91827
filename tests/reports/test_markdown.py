"""A name in a record is shown as it is, and never acts as markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports.markdown import CELL, brief, escape, link, table

PAGE = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
INERT = {"table", "thead", "tbody", "tr", "th", "td"}


class Reader(HTMLParser):
    """The tags of a page and the texts of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.strip("\n")


def read(markdown: str) -> Reader:
    reader = Reader()
    reader.feed(PAGE.render(markdown))
    reader.close()
    return reader


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a | b",
        "[click](https://evil.example)",
        "![](https://evil.example/x.png)",
        "**bold** _it_ ~~gone~~ `code`",
        "gru_reset_before",
        "&lt;b&gt; &amp; &#60;",
        r"back\slash \| \<b>",
        "# heading",
        "- item",
        "1. item",
        "<https://evil.example>",
        "[^1]: note",
    ],
)
def test_hostile_names_are_text(name: str) -> None:
    page = read(table([{"name": escape(name), "next": "x"}]))
    assert page.cells == ["name", "next", name, "x"]
    assert page.tags == INERT


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=40))
def test_any_text_stays_in_its_cell(name: str) -> None:
    page = read(table([{"first": "x", "name": escape(name), "next": "y"}]))
    assert page.tags == INERT
    assert len(page.cells) == 6
    plain = " ".join(name.split())
    if plain.isprintable() and plain.isascii():
        assert page.cells[4] == plain


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=40))
def test_any_text_stays_in_its_heading(name: str) -> None:
    assert PAGE.render(f"## Machine: {escape(name)}").count("<") == 2


def test_addresses_are_not_made_links_by_the_host() -> None:
    assert not re.search(r"https?://|www\.", escape("http://evil.example www.evil.example"))


def test_a_line_stays_a_line() -> None:
    assert "\n" not in escape("a\nb\r\nc\u2028d\x1b[31m")
    assert "\x1b" not in escape("\x1b[31m")
    escape("\udc80").encode()


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "https://a.example/) <b>", "https://a.example/\n", "data:text/html,x"]
)
def test_only_plain_addresses_are_linked(address: str) -> None:
    page = read(table([{"link": link("id", address)}]))
    assert page.tags == INERT


def test_a_plain_address_is_linked() -> None:
    assert link("torch_gru", "https://a.example/b_c?d=e#f") == r"[torch\_gru](https://a.example/b_c?d=e#f)"


def test_a_long_reason_is_cut() -> None:
    assert brief("a|b") == r"a\|b"
    assert brief("x" * 10_000) == "x" * CELL + " ..."


def test_numbers_keep_their_digits() -> None:
    assert "1.10 " in table([{"time": "1.10"}, {"time": "10.00000"}])
