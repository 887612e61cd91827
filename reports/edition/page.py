"""The page of the parallel edition: one HTML file that needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.edition import alignment, code, equations
from reports.edition.contents import CONTENTS, FRAMEWORKS, TOLD_BY, Entry
from reports.edition.evidence import Evidence, Number
from reports.edition.extract import SCHEMA
from reports.rows import Row
from results.errors import UserError

HERE = Path(__file__).parent
SHORT = 12  # characters of a hash
SHOWN = 3  # timings beside the code; the rest are behind a summary

TYPED = "``[^`]+``"  # in a docstring

Piece = Mapping[str, Any]
GAP = ("gap", Markup(""))


@dataclass(frozen=True)
class Card:
    """An entry in one framework."""

    framework: str
    name: str
    pieces: Sequence[Piece]
    lines: Sequence[tuple[str, Markup]]  # class and content; a gap has no content
    proofs: Sequence[Number]
    speeds: Sequence[Number]
    other: bool  # some of these numbers are of other code


@dataclass(frozen=True)
class Shown:
    """An entry on the page."""

    entry: Entry
    equations: Sequence[Sequence[Markup]]  # those of one statement together
    source: str  # what the comment above the function names
    words: Sequence[Markup]  # paragraphs
    cards: Sequence[Card]
    height: int  # lines of code, gaps included
    by_hand: Card | None


def render(extract: Mapping[str, Any], rows: Sequence[Row], name: str = "") -> str:
    """The page of what ``extract`` returned and the rows that ``reports.rows.select`` gave.

    ``name`` is that of a published report, whose page stands in ``reports/published/<name>/`` and links
    to the files of its records; without one, links fit a page in ``reports/latest/``. The same arguments
    give the same bytes. Raises UserError where the extract is of another schema.
    """
    if extract.get("schema") != SCHEMA:
        raise UserError(
            f"parallel edition: expected an extract of schema {SCHEMA}, got {extract.get('schema')!r}. "
            "Make it anew from the sources: python -m reports."
        )
    evidence, known = Evidence(rows), extract["pieces"]  # an older extract may lack an entry
    sections = [
        (section, [_shown(entry, extract, evidence) for entry in section.entries if entry.anchor in known])
        for section in CONTENTS
    ]
    heights = sorted({shown.height for _, entries in sections for shown in entries})
    style = (HERE / "style.css").read_text(encoding="utf-8") + _rules(heights)
    page = _environment().get_template("page.html.jinja")
    return page.render(
        name=name,
        top="../../../" if name else "../../",
        style=style,
        policy=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        sections=[(section, entries) for section, entries in sections if entries],
        frameworks=FRAMEWORKS,
        strangers=_strangers(extract, evidence),
        rows=len(rows),
        limit=SHOWN,
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _rules(heights: Sequence[int]) -> str:
    """What depends on numbers: how far a line is indented, how many rows a card spans."""
    step = code.TAB
    indents = (
        f".i{n} {{ padding-left: {step * n + step // 2}ch; text-indent: -{step * n + step // 2}ch; }}\n"
        for n in range(code.DEEPEST + 1)
    )
    spans = (
        f".rows{n} {{ grid-row: span {n}; }}\n.card.rows{n} {{ grid-row: span {n + 2}; }}\n" for n in heights
    )
    return "".join([*indents, *spans])


def _strangers(extract: Mapping[str, Any], evidence: Evidence) -> list[tuple[str, str, str]]:
    """Frameworks whose records are of other code than this: name, hash here, hashes there."""
    found = []
    for framework, name in FRAMEWORKS.items():
        there = sorted(evidence.sources(framework) - {extract["sources"][framework]})
        if there:
            found.append((name, extract["sources"][framework][:SHORT], ", ".join(h[:SHORT] for h in there)))
    return found


def _shown(entry: Entry, extract: Mapping[str, Any], evidence: Evidence) -> Shown:
    pieces: Mapping[str, Sequence[Piece]] = extract["pieces"][entry.anchor]
    cut = {name: code.tokens(_texts(pieces[name])) for name in FRAMEWORKS if name in pieces}
    lines = {name: [code.bare(line) for line in own] for name, own in cut.items()}
    rows = alignment.packed(alignment.aligned(lines))
    by_framework = {name: [GAP] * len(rows) for name in cut}
    for number, side_by_side in enumerate(rows):
        for row in side_by_side:
            common = alignment.shared(row, lines)
            for name in row:
                by_framework[name][number] = _line(cut[name][row[name]], common[name], alone=len(row) == 1)
    cards = [_card(name, entry, pieces[name], by_framework[name], extract, evidence) for name in cut]
    return Shown(
        entry=entry,
        equations=_equations(entry, pieces),
        source=_cited(pieces),
        words=_words(entry, pieces),
        cards=cards,
        height=len(rows),
        by_hand=_by_hand(pieces),
    )


def _card(
    framework: str,
    entry: Entry,
    pieces: Sequence[Piece],
    lines: Sequence[tuple[str, Markup]],
    extract: Mapping[str, Any],
    evidence: Evidence,
) -> Card:
    proofs, speeds = evidence.proofs(framework, entry.proof), evidence.speeds(framework, entry)
    other = any(number.source != extract["sources"][framework] for number in (*proofs, *speeds))
    return Card(framework, FRAMEWORKS[framework], pieces, lines, proofs, speeds, other)


def _by_hand(pieces: Mapping[str, Sequence[Piece]]) -> Card | None:
    """NumPy's backward pass, beside which nothing stands."""
    if "by hand" not in pieces:
        return None
    own = pieces["by hand"]
    lines = [_line(line, frozenset(range(len(line))), alone=False) for line in code.tokens(_texts(own))]
    return Card("numpy", FRAMEWORKS["numpy"], own, lines, (), (), False)


def _texts(pieces: Sequence[Piece]) -> list[str]:
    return [piece["text"] for piece in pieces]


def _line(line: Sequence[code.Token], common: AbstractSet[int], alone: bool) -> tuple[str, Markup]:
    """Its class and content. A line that stands alone is marked as a whole."""
    content = code.html(line, common)
    return f"line i{code.depth(line)}{' alone' if alone and content else ''}", content


def _equations(entry: Entry, pieces: Mapping[str, Sequence[Piece]]) -> list[list[Markup]]:
    if entry.derived is None:
        return []
    return equations.derived(pieces[entry.derived.framework][0]["text"], entry.derived)


def _cited(pieces: Mapping[str, Sequence[Piece]]) -> str:
    """Where the equations are from: the last bracket of the comment over the function."""
    above = pieces[TOLD_BY][0]["above"]
    return above.rpartition(" (")[2].rstrip(")") if above.endswith(")") else ""


def _words(entry: Entry, pieces: Mapping[str, Sequence[Piece]]) -> list[Markup]:
    """The entry's own text, then the docstring's, the formulas in it as such."""
    paragraphs = equations.docstring(pieces[TOLD_BY][0]["text"])
    return [*([Markup.escape(entry.text)] if entry.text else []), *(_paragraph(p, entry) for p in paragraphs)]


def _paragraph(text: str, entry: Entry) -> Markup:
    """The text with its formulas, and what is between ``double marks``, as such."""
    special = "|".join([TYPED, *map(re.escape, entry.quotes)])
    shown = Markup("")
    for part in re.split(f"({special})", text):
        if part in entry.quotes:
            shown += equations.quoted(part)
        elif re.fullmatch(TYPED, part):
            shown += Markup("<code>{}</code>").format(part.strip("`"))
        else:
            shown += Markup.escape(part)
    return shown
