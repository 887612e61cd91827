"""Tables of time and memory: throughput, start-up and break-even, memory, scaling."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from reports import break_even, frames, speed, statistics
from reports.html.cells import (
    HEAD,
    LAST,
    Cell,
    Column,
    Line,
    Table,
    between,
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
from reports.machines import Machine
from reports.markdown import NOTHING
from reports.speed import PHASES
from reports.tables import MIB

WORKS = {"train": "training step", "infer": "inference", "decode": "decoding"}
KIB = 1024


def throughput(facts: Facts) -> Table:
    """A line for each row and kind of work; the untimed with their reason."""
    titles = ("work", "ms", "tokens/s", "x GEMM floor", "x fastest", "id", "asked", "passes", "path", "notes")
    lines = [_throughput(facts, machine, line) for machine, line in facts.timed]
    caption = (
        "Milliseconds of a training step, of inference and of decoding for a batch, with 95 % intervals. "
        "x fastest is paired round by round in each pass; where its interval holds 1 the rows are not "
        "separable."
    )
    return Table("throughput", caption, (*HEAD, *map(Column, titles), Column("machine")), tuple(lines))


def _throughput(facts: Facts, machine: Machine, line: dict[str, Any]) -> Line:
    row = facts.row(machine, line)
    about = Cell(asked(row), small=(f"threads: {line['threads']}",))
    work, where = Cell(WORKS[line["work"]]), Cell(str(machine.number))
    if not missing(line.get("untimed")):
        empty = [Cell(NOTHING, LAST) for _ in range(4)]
        none, why = Cell(NOTHING), Cell(line["untimed"], mark="wide")
        cells = [work, *empty, none, about, none, none, why, where]
    else:
        floor = _floor(line)
        rate = between(line, "tokens_per_s{}")
        step = between(line, "step{}_s", 1e3)
        passes = Cell(f"{int(line['passes'])} x {line['rounds'] / line['passes']:.0f}", line["passes"])
        notes = Cell("; ".join(_notes(line)) or NOTHING, mark="wide")
        path = Cell(text(line["path"]), mark="wide")
        found = [step, rate, floor, _fastest(line), known(line["id"])]
        cells = [work, *found, about, passes, path, notes, where]
    return Line((*head(line), *cells), filters(line, machine.number))


def _floor(line: dict[str, Any]) -> Cell:
    """Times its own floor; below, times NumPy's, where a row of NumPy measured that."""
    own = between(line, "over_gemm_floor{}")
    if missing(line.get("over_numpys_floor")):
        return own
    numpys = between(line, "over_numpys_floor{}")
    return Cell(own.text, own.order, own.mark, (*own.small, f"NumPy's: {numpys.text}", *numpys.small))


def _fastest(line: dict[str, Any]) -> Cell:
    if missing(line.get("over_fastest")):
        # The first of a comparison has no ratio; nor has a row that shares no pass with it.
        return Cell("reference", 0.0)
    found = between(line, "over_fastest{}")
    if line["separable_from_fastest"]:
        return found
    return Cell(found.text, found.order, found.mark, (*found.small, "not separable"))


def _notes(line: dict[str, Any]) -> list[str]:
    notes = []
    if line["iqr_over_median"] > statistics.NOISY:
        notes.append(f"noisy: IQR {100 * line['iqr_over_median']:.0f} % of the median")
    if line["floor_of"] == "bytes":
        notes.append(speed.OF_BYTES)
    if line["passes"] == 1:
        notes.append("one pass: interval from rounds only")
    if not missing(line["proven_at"]):
        notes.append(f"proven at {line['proven_at']}")
    return notes


def startup(facts: Facts) -> Table:
    """A line a row: the phases before the steady state, and after how many steps they pay."""
    lines = []
    for machine in facts.machines:
        paid = _paid(machine)
        for line in dicts(frames.startup(machine)):
            row = facts.row(machine, line)
            phases = [number(line.get(key)) for key in PHASES]
            against = paid.get(tuple(row[name] for name in frames.ROW), [])
            pays = Cell(f"against {len(against)} row(s)" if against else NOTHING, listed=tuple(against))
            tail = [pays, known(line["id"]), Cell(asked(row)), Cell(str(machine.number))]
            lines.append(Line((*head(line), *phases, *tail), filters(line, machine.number)))
    titles = [f"{name}, s" for name in PHASES.values()] + ["pays after, steps", "id", "asked", "machine"]
    caption = (
        "Seconds before the steady state, the median over passes. Pays after: the training step from "
        "which on "
        "a row has caught up with one that starts sooner, in brackets what the intervals leave possible; "
        "only of campaigns whose machine was watched."
    )
    return Table("startup", caption, (*HEAD, *map(Column, titles)), ordered(lines, 2, 3, 0, 1))


def _paid(machine: Machine) -> dict[tuple[str, ...], list[str]]:
    """By row, what it is held against and after how many steps it has caught up."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for _, timed in machine.timed("train"):
        starts = break_even.starts(timed)
        for at, late in enumerate(starts):
            for early in starts[:at]:
                other = early.timing.row
                steps = break_even.in_steps(break_even.pays(late, early))
                key = tuple(late.timing.row[name] for name in frames.ROW)
                found[key].append(f"{other['implementation']} {other['variant']}: {steps}")
    return found


def memory(facts: Facts) -> Table:
    """A line for each run of the memory pass."""
    lines = []
    for machine in facts.machines:
        for line in dicts(frames.memory(machine)):
            row = facts.row(machine, line)
            if missing(line.get("unmeasured")):
                sizes = (line["peak_over_baseline_bytes"] / MIB, line["baseline_bytes"] / MIB)
                cells = [Cell(f"{size:,.1f}", size, "number") for size in sizes]
                cells += [Cell(text(line["device_bytes"])), whole(line["steps"]), Cell(NOTHING)]
            else:
                cells = [Cell(NOTHING, LAST), Cell(NOTHING, LAST), Cell(NOTHING), Cell(NOTHING, LAST)]
                cells.append(Cell(line["unmeasured"], mark="wide"))
            tail = (known(line["id"]), Cell(asked(row)), Cell(str(machine.number)))
            lines.append(Line((*head(line), *cells, *tail), filters(line, machine.number)))
    titles = ("peak, MiB", "baseline, MiB", "device, bytes", "steps", "notes", "id", "asked", "machine")
    caption = (
        "Peak memory of training over the baseline after import, in MiB, from a run of its own; on a GPU "
        "also "
        "what the allocator counted."
    )
    return Table("memory-table", caption, (*HEAD, *map(Column, titles)), ordered(lines, 2, 3, 0, 1))


def scaling(facts: Facts) -> Table:
    """A line for each point of each curve."""
    lines = []
    for machine in facts.machines:
        for line in dicts(frames.curves(machine)):
            step = between(line, "step{}_s", 1e3)
            peak = line["peak_bytes"]
            size = Cell(NOTHING, LAST) if missing(peak) else Cell(f"{peak / MIB:,.1f}", peak, "number")
            places = [whole(line[letter]) for letter in "TBH"]
            note = Cell(text(line["untimed"]), mark="wide")
            cells = [Cell(line["axis"]), *places, step, size, note, known(line["id"])]
            where = Cell(str(machine.number))
            lines.append(Line((*head(line), *cells, where), filters(line, machine.number)))
    titles = ("along", "T", "B", "H", "ms", "memory, MiB", "notes", "id", "machine")
    caption = "Time and peak memory of a training step at each point of each curve: one of T, B, H varies."
    return Table(
        "scaling-table", caption, (*HEAD, *map(Column, titles)), tuple(lines), "No curve was measured."
    )
