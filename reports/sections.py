"""What a report says of one machine: the sections, each with its text and the tables it gives.

The Markdown page and the HTML page are both made of these, so that every text stands once. Titles
and texts are Markdown, and so are the cells of the tables: what comes from records is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from reports import break_even, diagnostics, quality, quiet, scaling, speed, tables, variants
from reports.equivalence import equivalence
from reports.machines import WORKS, Machine
from reports.markdown import NOTHING, escape
from results import ids

PARITY = (
    "In brackets the largest error over its tolerance, over all tensors of all levels: up to 1 passes. "
    "*Deviates*: the framework's own layer cannot hold the mathematics, as stated, and the gate failed "
    "as it must."
)
LEVELS = (
    "The row nearest to its tolerance: error, in brackets error over tolerance. "
    "Rows that deviate or are void are left out."
)
TRAJECTORIES = (
    "*Steps inside the envelope*: how long training kept to the oracle's within the tolerance of its level "
    "(in float32 a multiple of the oracle's own float32 error), of the row that was followed least; >= where "
    "it never left. Past the step at which the oracle's own error is too large to tell anything, no row is "
    "followed. *Twice in a process*: the same training once more, every loss, parameter and moment to the "
    "bit. *In several processes*: the losses of all records under the same key. What is not equal: by the "
    "largest relative difference, from the first step that differs, of the row that differs most."
)
QUALITY = (
    "Trained to the steps that the spec states, from the same weights over the same batches; the metrics are "
    "those of held-out data, the task's own first. *Optimum*: the best of it that any model can expect; "
    "*short of it*: by how much of that the row is worse; *baseline*: an answer that knows the mean, or how "
    "often each answer comes, and no more. Seconds hold the making of batches, and are no timing."
)
CURVES = (
    "The same training by several rows: over the points that all have, the largest difference between "
    "two of them, in brackets its share of their mean."
)
EQUIVALENCE = (
    "Level 6: the same spec trained from the same seeds; each seed's held-out metric less the reference's, "
    "the mean of these differences with its 90 % t interval. *Equivalent*: the whole interval lies within "
    "the margin, which is where two one-sided tests both reject at 5 % (p is the greater of theirs). "
    "*Different*: all of it lies outside. *Not shown* is neither: no difference found is no equality. The "
    "margin is part of the spec, so it was stated before the run. A training without a result rules "
    "*equivalent* out; why it has none is told above. Every line is a test of its own."
)
QUIET = (
    "Between the sample groups, with nothing of ours running, a fixed matrix product and a memory copy were "
    "timed: the median over these samples, their interquartile range over it, the slowest over the fastest. "
    "*Used by others*, *stolen* (by a hypervisor): shares of our cores' time, the groups' own included. "
    "A campaign is not quiet past {} of spread of the product, {} used by others, {} stolen, or where a core "
    "was slowed for its heat."
).format(*(f"{100 * limit:.0f} %" for limit in (quiet.SPREAD, quiet.OTHERS, quiet.STEAL)))


@dataclass(frozen=True)
class Table:
    """A table with its own heading, where it has one, and what is said below it."""

    frame: pd.DataFrame
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One section of a machine; ``kind`` is also that of its figures."""

    kind: str
    title: str
    text: str
    make: Callable[[Machine], Iterator[Table]]
    missing: str  # what the records lack where there is no table, or no figure
    drawn: bool = True  # whether it has figures

    def tables(self, machine: Machine) -> list[Table]:
        """Those that hold anything."""
        return [table for table in self.make(machine) if not table.frame.empty]


def _measured(machine: Machine) -> Iterator[Table]:
    yield Table(tables.measured(machine.rows))


def _parity(machine: Machine) -> Iterator[Table]:
    for task, matrix in tables.parity_matrices(machine.rows).items():
        yield Table(matrix, f"Parity: {escape(task)}")


def _levels(machine: Machine) -> Iterator[Table]:
    yield Table(tables.level_errors(machine.rows))


def _trajectories(machine: Machine) -> Iterator[Table]:
    yield Table(tables.trajectories(machine.rows))


def _quiet(machine: Machine) -> Iterator[Table]:
    yield Table(quiet.table_of(machine.rows))


def _throughput(what: str) -> Callable[[Machine], Iterator[Table]]:
    def make(machine: Machine) -> Iterator[Table]:
        for group, timed in machine.timed(what):
            frame = speed.throughput(group, what, timed)
            known = [ids.of(item.records[0], what) for item in timed]
            frame["id"] = known + [NOTHING] * (len(frame) - len(known))
            latency = [speed.LATENCY] if "ms per token" in frame else []
            note = "\n\n".join([*latency, speed.fastest(timed)])
            yield Table(frame, f"{WORKS[what]}: {escape(group.title)}", note)

    return make


def _variants(machine: Machine) -> Iterator[Table]:
    for what, title in WORKS.items():
        yield Table(variants.table_of(machine.rows, what), f"{title}: variants")


def _startup(machine: Machine) -> Iterator[Table]:
    yield Table(speed.startup(machine.alone))


def _break_even(machine: Machine) -> Iterator[Table]:
    for group, timed in machine.timed("train"):
        yield Table(break_even.table_of(timed), escape(group.title))


def _memory(machine: Machine) -> Iterator[Table]:
    frame = tables.memory(machine.alone)
    frame["id"] = [ids.of(record, "memory") for row in machine.alone for record in row.memory]
    yield Table(frame)


def _times(machine: Machine) -> Iterator[Table]:
    for family in machine.families:
        yield Table(scaling.times(family), f"ms per step {escape(family.title)}")


def _memories(machine: Machine) -> Iterator[Table]:
    for family in machine.families:
        yield Table(scaling.memories(family), f"MiB {escape(family.title)}")


def _quality(machine: Machine) -> Iterator[Table]:
    frame = quality.trained(machine.rows)
    frame["id"] = [ids.of(record, "quality") for row in machine.rows for record in row.training]
    yield Table(frame)


def _curves(machine: Machine) -> Iterator[Table]:
    yield Table(quality.curves(machine.rows))


def _equivalence(machine: Machine) -> Iterator[Table]:
    yield Table(equivalence(machine.rows))


def _diagnostics(machine: Machine) -> Iterator[Table]:
    records = [record for row in machine.rows for record in row.records]
    for title, frame in diagnostics.tables(records).items():
        yield Table(frame, title)


UNTIMED = {
    "train": "no row was timed: `nox -s compare`",
    "infer": "no row was timed: `nox -s compare`",
    "decode": "no row of a task that generates was timed: `nox -s compare -- --full`",
}
NO_CURVE = "no campaign varied T, B or H: `nox -s curves`"
ALONE = "no two rows were trained on the same question: `nox -s train-<implementation>-cpu`"
SECTIONS = (
    Section("measured", "", "", _measured, "no record", drawn=False),
    Section("parity", "Parity", PARITY, _parity, "No row was put to the gate on this machine.", drawn=False),
    Section("levels", "Error per level", LEVELS, _levels, "no row was put to the gate", drawn=False),
    Section(
        "trajectories",
        "Training step by step",
        TRAJECTORIES,
        _trajectories,
        "no record of the gate says how long a training was followed",
        drawn=False,
    ),
    Section(
        "quiet",
        "Was the machine quiet?",
        QUIET,
        _quiet,
        "no campaign looked at the machine between its groups, so how quiet it was is not known",
        drawn=False,
    ),
    *(Section(what, title, "", _throughput(what), UNTIMED[what]) for what, title in WORKS.items()),
    Section(
        "variants",
        "Variants of one framework",
        variants.TEXT,
        _variants,
        "no two variants of a framework were timed side by side",
        drawn=False,
    ),
    Section(
        "start",
        "Import, build and first step",
        "Seconds, the median over passes.",
        _startup,
        UNTIMED["train"],
    ),
    Section(
        "break-even",
        "After how many steps a compile pays",
        break_even.TEXT,
        _break_even,
        "no two rows of one question were timed in a campaign that watched the machine",
    ),
    Section(
        "memory",
        "Memory of training",
        "Measured in a run of its own.",
        _memory,
        "no memory was measured: `nox -s compare`",
    ),
    Section("scaling-time", "Scaling: time of a training step", scaling.TEXT, _times, NO_CURVE),
    Section("scaling-memory", "Scaling: memory of training", scaling.MEMORY_TEXT, _memories, NO_CURVE),
    Section(
        "quality",
        "Training to quality",
        QUALITY,
        _quality,
        "no row was trained to quality: `nox -s train-<implementation>-cpu`",
    ),
    Section("curves", "Learning curves side by side", CURVES, _curves, ALONE, drawn=False),
    Section("equivalence", "Quality equivalence (level 6)", EQUIVALENCE, _equivalence, ALONE, drawn=False),
    Section(
        "diagnostics",
        "Diagnostics",
        diagnostics.TEXT,
        _diagnostics,
        "no gradient norms or hidden states were recorded: `nox -s diagnose`",
    ),
)
