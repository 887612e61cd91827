"""The first screen: which row is the fastest that was proven, for each question on each machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from reports.html.cells import Cell, Column, Line, Table, digits, filters, missing, ordered
from reports.html.facts import QUIET, Facts, asked
from reports.machines import WORKS, Machine
from reports.markdown import NOTHING

Lines = list[dict[str, Any]]
MARKS = {"quiet": "passed", "not quiet": "failed", "not watched": "skipped"}
SYMBOLS = {"quiet": "✓", "not quiet": "✗", "not watched": "?"}
CAPTION = (
    "The fastest proven row of each question: tokens per second with its 95 % interval, and its time over "
    "that of the bare matrix products (the GEMM floor). Rows whose ratio to it could be 1 are not separable "
    "from it: take any of them."
)


def which(facts: Facts) -> Table:
    """A line a question, a column a kind of work."""
    questions: dict[tuple[Any, ...], tuple[Machine, dict[str, Lines]]] = {}
    for machine, line in facts.timed:
        row = facts.row(machine, line)
        key = (
            machine.number,
            row.any["fingerprint"],
            row["seed"],
            row["dtype"],
            row["device"],
            line["threads"],
        )
        works = questions.setdefault(key, (machine, defaultdict(list)))[1]
        works[line["work"]].append(line)
    shown = [work for work in WORKS if any(work in works for _, works in questions.values())]
    titles = ("task", "cell", "asked", *(WORKS[work] for work in shown), "machine quiet?")
    lines = [_line(facts, machine, works, shown) for machine, works in questions.values() if _timed(works)]
    return Table("which", CAPTION, tuple(map(Column, titles)), ordered(lines, 0, 1, 2), "No row was timed.")


def _line(facts: Facts, machine: Machine, works: dict[str, Lines], shown: Sequence[str]) -> Line:
    lines = [line for found in works.values() for line in found]
    row = facts.row(machine, lines[0])
    words = [facts.quiet(facts.row(machine, line)) for line in lines if missing(line.get("untimed"))]
    word = max(words, key=QUIET.index, default="not watched") if words else "not watched"
    where = Cell(f"{SYMBOLS[word]} {word}", mark=MARKS[word], small=(f"machine {machine.number}",))
    about = Cell(f"{row['device']}, {row['dtype']}", small=(asked(row), f"threads: {lines[0]['threads']}"))
    kept = {k: v for k, v in filters(lines[0], machine.number).items() if k not in ("framework", "variant")}
    cells = [Cell(row["task"]), Cell(row["cell"]), about, *(answer(works[work]) for work in shown), where]
    return Line(tuple(cells), kept)


def _timed(works: dict[str, Lines]) -> bool:
    """Whether there is an answer; where there is none, the table of what is missing says why."""
    return any(missing(line.get("untimed")) for lines in works.values() for line in lines)


def answer(lines: Lines) -> Cell:
    """Of the lines of one comparison: the fastest, and who cannot be told from it."""
    timed = [line for line in lines if missing(line.get("untimed"))]
    if not timed:
        return Cell("no row was timed" if lines else NOTHING, mark="muted")
    first, others = timed[0], timed[1:]
    rate, (low, high) = digits(*(first[f"tokens_per_s{end}"] for end in ("", "_low", "_high")))
    numbers = [f"{rate} tokens/s", f"{low} to {high}", _floor(first)]
    unpaired = [line for line in others if missing(line["separable_from_fastest"])]
    level = [_name(line) for line in others if line not in unpaired and not line["separable_from_fastest"]]
    if unpaired:
        note = f"{_name(first)} has the least time, but not every row shares a pass with it"
        return Cell("not comparable", mark="answer", small=(*numbers, note), id=first["id"])
    if level:
        note = f"not separable from it: {', '.join(level)}"
    else:
        note = "faster than every other row" if others else "the only row that was timed"
    return Cell(_name(first), mark="answer", small=(*numbers, note), id=first["id"])


def _floor(line: dict[str, Any]) -> str:
    if missing(line.get("over_gemm_floor")):
        return "GEMM floor not measured"
    value, (low, high) = digits(*(line[f"over_gemm_floor{end}"] for end in ("", "_low", "_high")))
    return f"{value} x GEMM floor ({low} to {high})"


def _name(line: dict[str, Any]) -> str:
    return f"{line['implementation']} {line['variant']}"
