"""Tables of the page as plain data: texts are escaped by the template, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from reports import statistics
from reports.markdown import NOTHING

LAST = 1e308  # what is missing sorts behind all numbers
FILTERS = ("task", "cell", "framework", "variant", "device", "dtype", "machine")


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it sorts by, a class of style, and what unfolds from it."""

    text: str
    order: float | str | None = None
    mark: str = (
        ""  # "passed", "deviates", "failed", "void", "skipped", "number", "answer", "wide", "muted", "code"
    )
    small: tuple[str, ...] = ()  # further lines, in small type
    levels: tuple[Climb, ...] = ()
    listed: tuple[str, ...] = ()  # unfolds to a list
    link: str = ""  # what the items of the list are linked with, put before each
    id: str = ""  # of the number, linked with its line in the index


@dataclass(frozen=True)
class Climb:
    """One row's way up the parity ladder."""

    id: str
    about: str
    reason: str
    link: str  # of a deviation; empty where there is none
    levels: tuple[
        tuple[str, ...], ...
    ]  # level, status, tensor, error, tolerance, error over tolerance, where


@dataclass(frozen=True)
class Line:
    """A line of a table, with the values that the filters ask for."""

    cells: tuple[Cell, ...]
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A head; ``cell`` where the whole column is of one kind of cell."""

    title: str
    cell: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption; without lines the page says ``empty`` instead."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    empty: str = "The records hold none."
    live: bool = True  # sorted, searched and paged; else a plain table, whose lines can be linked


def compact(table: Table, machines: int) -> Table:
    """Without the columns that say nothing: empty ones, and that of the machine where there is one."""
    kept = [
        at
        for at, column in enumerate(table.columns)
        if (machines > 1 or column.title != "machine")
        and any(line.cells[at].text != NOTHING for line in table.lines)
    ]
    lines = tuple(replace(line, cells=tuple(line.cells[at] for at in kept)) for line in table.lines)
    return replace(table, columns=tuple(table.columns[at] for at in kept), lines=lines)


def filters(row: Mapping[str, Any], machine: int) -> dict[str, str]:
    """What the line of a row is filtered by."""
    values = {name: str(row[name]) for name in ("task", "cell", "variant", "device", "dtype")}
    return {**values, "framework": str(row["implementation"]), "machine": str(machine)}


def head(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The first cells of a row's line; HEAD names them."""
    names = ("implementation", "variant", "task", "cell", "dtype", "device")
    return tuple(Cell(str(row[name])) for name in names)


HEAD = tuple(map(Column, ("framework", "variant", "task", "cell", "dtype", "device")))


def number(value: Any, digits: int = 3) -> Cell:
    """To so many significant digits."""
    if missing(value):
        return Cell(NOTHING, LAST)
    return Cell(f"{float(value):,.{digits}g}", float(value), "number")


def known(value: Any) -> Cell:
    """The id of a number."""
    return Cell(NOTHING) if missing(value) else Cell("", str(value), id=str(value))


def whole(value: Any) -> Cell:
    """A count."""
    return Cell(NOTHING, LAST) if missing(value) else Cell(f"{int(value):,}", int(value), "number")


def between(line: Mapping[str, Any], name: str, factor: float = 1.0) -> Cell:
    """Value and 95 % interval times the factor, to the digits that the interval supports.

    ``name`` is that of the frame's columns, with ``{}`` where ``_low`` and ``_high`` go.
    """
    found = [line.get(name.format(end)) for end in ("", "_low", "_high")]
    known = [factor * float(x) for x in found if x is not None and not missing(x)]
    if len(known) < len(found):
        return Cell(NOTHING, LAST)
    value, low, high = known
    text, (least, most) = digits(value, low, high)
    return Cell(text, value, "number", (f"{least} to {most}",))


def digits(value: float, low: float, high: float) -> tuple[str, tuple[str, str]]:
    """The value and the ends of its interval, to the digits that the interval supports."""
    places = statistics.decimals(value, low, high)
    return statistics.cut(value, places), (statistics.cut(low, places), statistics.cut(high, places))


def missing(value: Any) -> bool:
    """Whether a frame has nothing here."""
    return value is None or value == "" or bool(pd.isna(value))


def text(value: Any) -> str:
    """A text of a frame, a dash where there is none."""
    return NOTHING if missing(value) else str(value)


def dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a frame."""
    return [{str(key): value for key, value in line.items()} for line in frame.to_dict("records")]


def ordered(lines: Iterable[Line], *columns: int) -> tuple[Line, ...]:
    """By the texts of these columns."""
    return tuple(sorted(lines, key=lambda line: [line.cells[column].text for column in columns]))


def choices(tables: Sequence[Table]) -> dict[str, list[str]]:
    """By filter, the values that occur."""
    found: dict[str, set[str]] = {name: set() for name in FILTERS}
    for table in tables:
        for line in table.lines:
            for name, value in line.filters.items():
                found[name].add(value)
        found["cell"] |= {column.cell for column in table.columns if column.cell}
    return {name: sorted(values) for name, values in found.items()}
