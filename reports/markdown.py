"""Markdown from text that others wrote: a name in a record is never markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

MARKS = re.compile(r"([\\`*_{}\[\]|~$#^])")
SAFE_LINK = re.compile(r"https?://[\w.~/?#&=%:+,@-]+\Z")
NOTHING = "-"
CELL = 240  # characters of a reason


def one_line(text: object) -> str:
    """The text on one line, with nothing in it that cannot be printed."""
    line = " ".join(str(text).encode("utf-8", "backslashreplace").decode("utf-8").split())
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)


def escape(text: object) -> str:
    """The text itself on one line of a Markdown page, on a host that allows HTML too."""
    line = one_line(text)
    line = MARKS.sub(r"\\\1", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return line.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def brief(reason: str) -> str:
    """A reason that may hold a whole traceback, short enough for a cell; the record has all of it."""
    return escape(reason if len(reason) <= CELL else f"{reason[:CELL]} ...")


def link(label: str, address: str) -> str:
    """A link where the address is plain http(s), else both as text."""
    if SAFE_LINK.match(address):
        return f"[{escape(label)}]({address})"
    return f"{escape(label)}, {escape(address)}"


def table(rows: Sequence[Mapping[str, str]] | pd.DataFrame) -> str:
    """A pipe table. Its cells are Markdown already: escape what comes from records."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    # Numbers are formatted by us: tabulate would drop the digits that an interval supports.
    return str(frame.fillna(NOTHING).to_markdown(index=False, disable_numparse=True))
