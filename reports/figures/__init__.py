"""The figures of a report, drawn by Altair from the numbers of its tables.

``charts(rows)`` are those that the rows give, ``svg(figure)`` is a file of one. Why a figure is not
there says ``missing`` of its section (``reports.sections``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from altair.utils.schemapi import debug_mode

from reports import diagnostics
from reports.figures import bars, dots, lines
from reports.figures.figure import Figure
from reports.figures.svg import svg
from reports.machines import WORKS, Machine, machines
from reports.rows import Row

__all__ = ["Figure", "charts", "svg"]


def charts(rows: Sequence[Row]) -> dict[str, Figure]:
    """By name, in the order of the page: machine by machine, kind by kind."""
    with debug_mode(False):  # not each part against the schema: the tests do that with whole figures
        return {figure.name: figure for machine in machines(rows) for figure in _of(machine)}


def _of(machine: Machine) -> Iterator[Figure]:
    yield from dots.overview(machine)
    for work in WORKS:
        yield from dots.throughput(machine, work)
    yield from bars.startup(machine)
    yield from lines.break_even(machine)
    yield from dots.memory(machine)
    yield from lines.scaling(machine, "scaling-time")
    yield from lines.scaling(machine, "scaling-memory")
    yield from lines.learning(machine)
    records = [record for row in machine.rows for record in row.records]
    yield from diagnostics.charts(records, machine.number).values()
