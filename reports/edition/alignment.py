"""The same function in several languages, line beside line, and what is only in one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache

ALIKE = 0.5  # of two lines' tokens, below which they do not stand side by side
SAME_NAME = 0.5  # what it counts for that both lines give a value to the same name

Line = tuple[str, ...]  # its tokens, without blanks
Row = dict[str, int]  # framework: number of its line


def aligned(lines: Mapping[str, Sequence[Line]]) -> list[Row]:
    """Rows of lines that answer each other; every line is in one row, and in order."""
    rows: list[Row] = []
    for name, own in lines.items():
        rows = _merged(rows, lines, name, own)
    return rows


def packed(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows as high up as their order lets them: what has no counterpart takes no height of its own."""
    found: list[list[Row]] = []
    filled: dict[str, int] = {}
    for row in rows:
        at = max(filled.get(name, 0) for name in row)
        found += [[]] if at == len(found) else []
        found[at].append(row)
        filled |= dict.fromkeys(row, at + 1)
    return found


def shared(row: Row, lines: Mapping[str, Sequence[Line]]) -> dict[str, frozenset[int]]:
    """By framework the tokens of its line that every other line of the row has too, in that order."""
    found: dict[str, frozenset[int]] = {}
    for name, number in row.items():
        own = lines[name][number]
        common = frozenset(range(len(own)))
        for other, its in row.items():
            if other != name:
                common &= _matched(own, lines[other][its])
        found[name] = common
    return found


def _merged(
    rows: list[Row], lines: Mapping[str, Sequence[Line]], name: str, own: Sequence[Line]
) -> list[Row]:
    """The rows with one framework more: the pairing of the greatest likeness (Needleman and Wunsch 1970)."""
    n, m = len(rows), len(own)
    alike = [[_likeness(row, lines, line) for line in own] for row in rows]
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            paired = alike[i][j] + best[i + 1][j + 1] if alike[i][j] >= ALIKE else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    merged: list[Row] = []
    i = j = 0
    while i < n or j < m:
        if i < n and j < m and alike[i][j] >= ALIKE and best[i][j] == alike[i][j] + best[i + 1][j + 1]:
            merged.append(rows[i] | {name: j})
            i, j = i + 1, j + 1
        elif i < n and (j == m or best[i][j] == best[i + 1][j]):
            merged.append(rows[i])
            i += 1
        else:
            merged.append({name: j})
            j += 1
    return merged


def _likeness(row: Row, lines: Mapping[str, Sequence[Line]], line: Line) -> float:
    return max(_alike(lines[name][number], line) for name, number in row.items())


@cache
def _alike(a: Line, b: Line) -> float:
    if not a or not b:
        return ALIKE if a == b else 0.0  # blank lines
    ratio = SequenceMatcher(None, a, b, autojunk=False).ratio()
    return ratio + (SAME_NAME if _given(a) and _given(a) == _given(b) else 0.0)


def _given(line: Line) -> Line:
    """What a line gives a value to: the names before its ``=``, or that it returns one."""
    if line[0] == "return":
        return line[:1]
    before = line[: line.index("=")] if "=" in line else ()
    return before if before.count("(") == before.count(")") else ()


@cache
def _matched(own: Line, other: Line) -> frozenset[int]:
    """Which of own's tokens the other line has in the same order."""
    blocks = SequenceMatcher(None, own, other, autojunk=False).get_matching_blocks()
    return frozenset(block.a + offset for block in blocks for offset in range(block.size))
