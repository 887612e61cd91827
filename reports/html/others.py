"""Tables beside time: training to quality, what was measured on which machine, and what is missing."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from reports import frames, quality, quiet, scaling, tables
from reports.equivalence import equivalence
from reports.html.cells import (
    HEAD,
    Cell,
    Column,
    Line,
    Table,
    dicts,
    filters,
    head,
    known,
    missing,
    number,
    ordered,
    text,
    whole,
)
from reports.html.facts import Facts, asked
from reports.markdown import NOTHING, escape
from results.store import Damaged

ESCAPED = re.compile(r"\\([\\`*_{}\[\]|~$#^])")
REASON = 400  # characters
GROWTH = ("growth, KiB per step", "must be kept, KiB per step", "growth / must be kept")
LONG = 40  # characters: a cell with more is broken into lines


def trained(facts: Facts) -> Table:
    """A line for each training to quality."""
    lines = []
    for machine in facts.machines:
        for line in dicts(frames.quality(machine)):
            row, note = facts.row(machine, line), line.get("untrained")
            better = quality.BETTER.get(str(line.get("metric")))
            metric = text(line.get("metric")) + (f", {better} is better" if better else "")
            values = [number(line.get(name), 4) for name in ("held_out", "optimum", "baseline")]
            cells = [Cell(metric), *values, whole(line.get("steps")), number(line.get("seconds"))]
            told = [
                Cell(text(note), mark="wide"),
                known(line["id"]),
                Cell(asked(row)),
                Cell(str(machine.number)),
            ]
            lines.append(Line((*head(line), *cells, *told), filters(line, machine.number)))
    titles = (
        "metric",
        "held out",
        "optimum",
        "baseline",
        "steps",
        "seconds",
        "notes",
        "id",
        "asked",
        "machine",
    )
    caption = (
        "Trained to the steps that the spec states, from the same weights over the same batches. Optimum: "
        "the "
        "best that any model can expect; baseline: an answer that knows only how often each answer comes."
    )
    columns = (*HEAD, *map(Column, titles))
    return Table(
        "quality-table", caption, columns, ordered(lines, 2, 3, 0, 1), "Nothing was trained to quality."
    )


def equivalent(facts: Facts) -> Table:
    """Level 6: whether a row is as good as the reference, over seeds."""
    frame = pd.concat([equivalence(machine.rows) for machine in facts.machines] or [pd.DataFrame()])
    caption = (
        "Level 6: the held-out metric of each seed less the reference's; equivalent where the 90 % t "
        "interval "
        "of the mean difference lies within the margin that the spec states."
    )
    return plain_table("equivalence", caption, frame, "No row was trained over seeds beside a reference.")


def exponents(facts: Facts) -> Table:
    """A line for each curve: how time and memory grow along its axis."""
    found = [pd.DataFrame()]
    for machine in facts.machines:
        for family in machine.families:
            frame = scaling.times(family)
            grown = scaling.memories(family)
            kept = [name for name in GROWTH if name in grown]
            if kept:
                frame = frame.merge(grown[["implementation", "variant", *kept]], "left")
            frame = frame[["implementation", "variant", "exponent", *kept]]
            row = next(row for line in family.lines.values() for row in line.values())
            about = {"task": row["task"], "cell": row["cell"], "along": family.axis, "curve": family.title}
            for at, (name, value) in enumerate(about.items(), 2):
                frame.insert(at, name, escape(value))
            found.append(frame.assign(machine=str(machine.number)))
    caption = (
        "How a training step grows along the axis: exponent of its time between the outermost points (1 is "
        "proportional, 0 overhead), and memory for each step of the sequence beside what must be kept of it."
    )
    return plain_table("exponents", caption, pd.concat(found), "No curve was measured.")


def followed(facts: Facts) -> Table:
    """How far training was followed, and whether it repeats to the bit."""
    frame = pd.concat([tables.trajectories(machine.rows) for machine in facts.machines] or [pd.DataFrame()])
    caption = (
        "Training step by step: the steps that stayed within the tolerance, of the row that was followed "
        "least, and whether the same training twice is equal to the bit."
    )
    return plain_table("trajectories", caption, frame, "No record holds a training that was followed.")


def measured(facts: Facts) -> Table:
    """With what versions, sources and settings."""
    found = []
    for machine in facts.machines:
        frame = tables.measured(machine.rows)
        frame.insert(0, "machine", str(machine.number))
        found.append(frame)
    caption = "What was measured: versions, source, lock and settings of each framework, as the records say."
    return plain_table("measured", caption, pd.concat(found or [pd.DataFrame()]))


def watched(facts: Facts) -> Table:
    """Was the machine quiet, campaign by campaign."""
    frame = pd.concat([quiet.table_of(machine.rows) for machine in facts.machines] or [pd.DataFrame()])
    caption = "Was the machine quiet? A fixed product and copy, timed between the groups of a campaign."
    return plain_table(
        "quiet", caption, frame, "No campaign was watched: whether the machine was quiet is unknown."
    )


def plain_table(name: str, caption: str, frame: pd.DataFrame, empty: str = "The records hold none.") -> Table:
    """A frame whose texts were escaped for Markdown, as plain text."""
    columns = tuple(Column(plain(column).replace("implementation", "framework")) for column in frame.columns)
    lines = tuple(_plain(line) for line in dicts(frame))
    return Table(name, caption, columns, lines, empty)


def _plain(line: dict[str, Any]) -> Line:
    texts = {name: NOTHING if missing(value) else plain(value) for name, value in line.items()}
    names = {"implementation": "framework"}
    kept = ("implementation", "variant", "task", "cell", "dtype", "device", "machine")
    return Line(
        tuple(Cell(value, mark="wide" if len(value) > LONG else "") for value in texts.values()),
        {names.get(name, name): texts[name] for name in kept if name in texts},
    )


def plain(escaped: object) -> str:
    """What ``reports.markdown.escape`` was given."""
    return ESCAPED.sub(r"\1", html.unescape(str(escaped)))


def missing_rows(facts: Facts) -> Table:
    """Every number that a row was to have and has not, with the reason."""
    lines = []
    for machine, line, what, reason in _gaps(facts):
        row = facts.row(machine, line)
        cells = (Cell(what), Cell(reason[:REASON], mark="wide"), Cell(asked(row)), Cell(str(machine.number)))
        lines.append(Line((*head(line), *cells), filters(line, machine.number)))
    columns = (*HEAD, *map(Column, ("what", "why", "asked", "machine")))
    caption = "Numbers that rows of these records were to have and have not."
    return Table("gaps", caption, columns, ordered(lines, 2, 3, 0, 1), "No row lacks a number.")


def _gaps(facts: Facts) -> Iterable[tuple[Any, dict[str, Any], str, str]]:
    for machine, line in facts.timed:
        if not missing(line.get("untimed")):
            yield machine, line, str(line["work"]), str(line["untimed"])
    for machine in facts.machines:
        for row in machine.rows:
            line = {name: row[name] for name in frames.ROW}
            curves = len(row.records) == len(row.diagnostics)  # and nothing else: they are judged alone
            if row.void or (row.verdict and row.parity is None and not curves):
                yield machine, line, "parity", row.verdict
            elif row.parity is not None and row.parity["status"] == "skipped":
                yield machine, line, "parity", f"skipped: {row.parity['reason']}"
        for what, frame, column in (
            ("memory", frames.memory(machine), "unmeasured"),
            ("quality", frames.quality(machine), "untrained"),
        ):
            for line in dicts(frame):
                if not missing(line.get(column)):
                    yield machine, line, what, str(line[column])


def broken(damaged: Sequence[Damaged]) -> Table:
    """Files that are no records."""
    lines = tuple(Line((Cell(bad.file.name), Cell(bad.reason[:REASON], mark="wide"))) for bad in damaged)
    caption = "Files that could not be read as records, by name, and what is wrong with each."
    return Table(
        "damaged", caption, (Column("file"), Column("what is wrong")), lines, "No record was damaged."
    )


def index(facts: Facts, name: str) -> Table:
    """Every number: the command that measures it again, and the records it rests on."""
    found: dict[str, list[tuple[str, str]]] = {}
    for machine in facts.machines:
        for line in dicts(frames.records(machine)):
            if line["id"]:
                found.setdefault(line["id"], []).append((line["kind"], line["record"]))
    lines = [
        Line(
            (
                Cell(number, mark="anchor"),
                Cell(f"nox -s reproduce -- {number}", mark="code"),
                _records(files, name),
            )
        )
        for number, files in sorted(found.items())
    ]
    columns = tuple(map(Column, ("id", "to run it again", "records")))
    return Table(
        "index", "Every number, how to measure it again, and its records.", columns, tuple(lines), live=False
    )


def _records(files: Sequence[tuple[str, str]], name: str) -> Cell:
    folder = f"../../../results/published/{name}/" if name else ""
    names = tuple(f"{kind}-{record}.json" for kind, record in files)
    return Cell("", mark="records", listed=names, link=folder)
