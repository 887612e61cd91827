"""The parity matrix: how each row climbed the ladder, unfolding to level, tensor, error and tolerance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reports import tables
from reports.html.cells import Cell, Climb, Column, Line, Table, filters
from reports.html.facts import Facts, asked
from reports.markdown import NOTHING, SAFE_LINK
from reports.rows import Row, trajectory
from results import ids
from results.record import Record

SYMBOLS = {"passed": "✓", "deviates": "≠", "failed": "✗", "void": "∅", "skipped": "○"}
ORDER = ("passed", "skipped", "deviates", "failed", "void")  # the worst last
KEYS = ("task", "implementation", "variant", "dtype", "device")
CAPTION = (
    "✓ passed: equal to the float64 oracle at every level. ≠ deviates: the framework's own layer "
    "cannot hold the mathematics, as stated. ✗ failed. ∅ void: other data or weights than most. The "
    "number is "
    "the largest error over its tolerance; up to 1 passes. Steps: how long float32 training stayed within "
    "the "
    "tolerance. A cell unfolds."
)


def matrix(facts: Facts) -> Table:
    """A line for task, framework, variant, dtype and device; a column a cell."""
    met: dict[tuple[str, ...], dict[str, list[tuple[Row, Record]]]] = defaultdict(lambda: defaultdict(list))
    for machine in facts.machines:
        for row in machine.rows:
            if row.parity is not None:
                key = (str(machine.number), *(row[name] for name in KEYS))
                met[key][row["cell"]].append((row, row.parity))
    cells = sorted({cell for found in met.values() for cell in found})
    titles = ("framework", "variant", "task", "dtype", "device")
    columns = (*map(Column, titles), *(Column(cell, cell=cell) for cell in cells), Column("machine"))
    lines = [_line(key, found, cells) for key, found in sorted(met.items(), key=lambda item: item[0][1:])]
    return Table("parity-matrix", CAPTION, columns, tuple(lines), "No row was put to the gate.")


def _line(key: tuple[str, ...], found: Mapping[str, list[tuple[Row, Record]]], cells: Sequence[str]) -> Line:
    machine, task, implementation, variant, dtype, device = key
    row = next(iter(found.values()))[0][0]
    kept = {k: v for k, v in filters(_mapping(row), int(machine)).items() if k != "cell"}
    names = (implementation, variant, task, dtype, device)
    verdicts = [verdict(found[cell]) if cell in found else Cell(NOTHING, mark="muted") for cell in cells]
    return Line((*map(Cell, names), *verdicts, Cell(machine)), kept)


def verdict(tried: Sequence[tuple[Row, Record]]) -> Cell:
    """The worst of the rows that meet in a cell; unfolds to all of them."""
    row, record = max(tried, key=lambda each: (ORDER.index(_status(*each)), _ratio(each[1])))
    status = _status(row, record)
    text = f"{SYMBOLS[status]} {status}"
    small = []
    if status == "passed":
        text += f" {_ratio(record):.2g}"
        small = horizon([record for _, record in tried])
    elif status == "failed" and (level := tables.first_failed(record)) is not None:
        small = [f"level {level['level']}: {level['tensor']}"]
    passed = sum(_status(*each) == "passed" for each in tried)
    if len(tried) > 1:
        small.append(f"{passed} of {len(tried)} rows passed")
    order = ORDER.index(status) + min(_ratio(record), 1e9) / 1e10
    return Cell(text, order, status, tuple(small), tuple(_climb(*each) for each in tried))


def horizon(records: Sequence[Record]) -> list[str]:
    """How long float32 training was followed, of the record that was followed least."""
    float32 = [record for record in records if record["row"]["dtype"] == "float32"]
    known = [level for record in float32 if (level := trajectory(record)) is not None]
    if known:
        least = min(known, key=lambda level: level["inside"] / level["of"])
        inside, of = least["inside"], least["of"]
        return [f"≥ {of} steps" if inside == of else f"{inside} of {of} steps"]
    reached = any(level["status"] == "horizon reached" for r in float32 for level in r["body"]["levels"])
    return ["horizon reached"] if reached else []


def _climb(row: Row, record: Record) -> Climb:
    deviation: Mapping[str, str] = record["body"].get("deviation", {})
    link = deviation.get("link", "")
    reason = "; ".join(part for part in (deviation.get("id", ""), record["reason"]) if part)
    if row.void:
        reason = "its data or weights are not those of the other implementations"
    levels = tuple(_level(level) for level in record["body"]["levels"])
    return Climb(
        ids.of(record, "parity"), asked(row), reason[:400], link if SAFE_LINK.match(link) else "", levels
    )


def _level(level: Mapping[str, Any]) -> tuple[str, ...]:
    status, error = level["status"], level["error"]
    shown = NOTHING if error is None else (error if isinstance(error, str) else f"{error:.2g}")
    tolerance = NOTHING if level["tolerance"] is None else f"{level['tolerance']:.2g}"
    symbol = {"passed": "✓", "failed": "✗"}.get(status, "○")
    share = NOTHING if error is None else f"{tables.ratio(level):.2g}"
    name = f"{level['level']} {level['name']}"
    return name, f"{symbol} {status}", level["tensor"], shown, tolerance, share, level["where"]


def _status(row: Row, record: Record) -> str:
    return "void" if row.void else str(record["status"])


def _ratio(record: Record) -> float:
    return max((tables.ratio(level) for level in record["body"]["levels"]), default=0.0)


def _mapping(row: Row) -> dict[str, str]:
    return {name: row[name] for name in (*KEYS, "cell")}
