"""The parts of the page, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports import diagnostics
from reports.figures import Figure
from reports.html import others, timings
from reports.html.cells import Table, compact
from reports.html.facts import Facts
from reports.html.parity import matrix
from reports.html.which import which
from results.store import Damaged

FOLLOW = (
    "Every number has an id. To measure it again in an environment rebuilt from its lock: "
    "nox -s reproduce -- ID. It says reproduced, not within the interval, or other hardware."
)


@dataclass(frozen=True)
class Section:
    """A part of the page; with ``folded``, its tables unfold from this text."""

    id: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...] = ()
    text: tuple[str, ...] = ()
    folded: str = ""


def sections(
    facts: Facts, damaged: Sequence[Damaged], name: str, left_out: int, figures: Mapping[str, Figure]
) -> list[Section]:
    """All of them: a section without content says so."""

    def of(*kinds: str) -> tuple[Figure, ...]:
        return tuple(figure for kind in kinds for figure in figures.values() if figure.kind == kind)

    parts = [
        Section("which-one", "Which one?", (which(facts),)),
        Section("parity", "Parity", (matrix(facts), others.followed(facts))),
        Section(
            "speed", "Throughput", (timings.throughput(facts),), of("overview", "train", "infer", "decode")
        ),
        Section("start", "Start and break-even", (timings.startup(facts),), of("start", "break-even")),
        Section("memory", "Memory", (timings.memory(facts),), of("memory")),
        Section(
            "scaling",
            "Scaling",
            (others.exponents(facts), timings.scaling(facts)),
            of("scaling-time", "scaling-memory"),
        ),
        Section(
            "quality", "Training to quality", (others.trained(facts), others.equivalent(facts)), of("quality")
        ),
        Section("diagnostics", "Diagnostics", (), of("diagnostics"), text=(diagnosed(facts),)),
        Section("machine", "Machine and versions", (others.watched(facts), others.measured(facts))),
        Section(
            "missing",
            "What is missing",
            (others.missing_rows(facts), others.broken(damaged)),
            text=(older(left_out),),
        ),
        Section(
            "follow", "Follow a number", (others.index(facts, name),), text=(FOLLOW,), folded="All numbers"
        ),
    ]
    count = len(facts.machines)
    return [replace(part, tables=tuple(compact(table, count) for table in part.tables)) for part in parts]


def diagnosed(facts: Facts) -> str:
    """What the curves are, or how to get them."""
    if any(row.diagnostics for machine in facts.machines for row in machine.rows):
        return diagnostics.TEXT.replace("*", "")  # Markdown's mark
    return "These records hold no diagnostics. To measure them: nox -s diagnose."


def older(left_out: int) -> str:
    """What was there and is not shown."""
    if not left_out:
        return "No older records of these rows were left out."
    return (
        f"{left_out} older record(s) of these rows were left out: of an earlier spec, source, lock or "
        "version, "
        "or repeated since."
    )
