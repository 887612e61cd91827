"""Code as HTML, a line a block: coloured by pygments, wrapped with its indentation, its own tokens marked."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from markupsafe import Markup
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]
from pygments.token import Comment, Keyword, Name, Number, Operator, String  # type: ignore[import-untyped]

from reports.edition.alignment import Line

Token = tuple[str, str]  # class of its colour or "", text

COLOURS = (  # the first that fits
    (Comment, "c"),
    (String, "s"),
    (Number, "n"),
    (Operator.Word, "k"),
    (Keyword, "k"),
    (Name.Function, "d"),
    (Name.Class, "d"),
    (Name.Builtin, "b"),
    (Name.Decorator, "b"),
)
DEEPEST = 12  # levels of indentation that the style sheet knows
TAB = 4
BLANKS = re.compile(r"(\s+)")


def tokens(texts: Sequence[str]) -> list[list[Token]]:
    """The lines of these pieces, a blank line between two."""
    source = "\n\n".join(textwrap.dedent(text) for text in texts)
    lines: list[list[Token]] = [[]]
    for kind, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source):
        colour = next((name for family, name in COLOURS if kind in family), "")
        first, *others = text.split("\n")
        lines[-1] += _words(colour, first)
        lines += [_words(colour, other) for other in others]
    return lines


def _words(colour: str, text: str) -> list[Token]:
    """Words and blanks apart: docstrings and comments are compared by words."""
    return [(colour if word.strip() else "", word) for word in BLANKS.split(text) if word]


def bare(line: Sequence[Token]) -> Line:
    """The texts of a line's tokens, without blanks: what is compared."""
    return tuple(text.strip() for _, text in line if text.strip())


def html(line: Sequence[Token], common: AbstractSet[int]) -> Markup:
    """The line; tokens whose number among the bare ones is not in ``common`` are marked, in runs."""
    parts: list[Markup] = []
    run: list[Markup] = []
    blank = Markup("")
    number = 0
    for colour, text in line:
        shown = Markup('<span class="{}">{}</span>').format(colour, text) if colour else Markup.escape(text)
        if not text.strip():
            blank += shown
            continue
        if number in common:
            parts += [_marked(run), blank, shown]
            run = []
        else:
            parts += [] if run else [blank]
            run += [blank, shown] if run else [shown]
        blank = Markup("")
        number += 1
    return Markup("").join([*parts, _marked(run)])


def depth(line: Sequence[Token]) -> int:
    """Levels of indentation, for a wrapped line to go on under itself."""
    text = "".join(text for _, text in line)
    return min((len(text) - len(text.lstrip())) // TAB, DEEPEST)


def _marked(run: Sequence[Markup]) -> Markup:
    return Markup("<mark>{}</mark>").format(Markup("").join(run)) if run else Markup("")
