"""The one table of README.md: training steps of a published report, written between two markers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reports import measured, scaling
from reports.markdown import escape, table
from reports.measured import Timing
from reports.rows import Row, select
from reports.statistics import cut, decimals
from results.errors import UserError
from results.record import Record

BLOCK = re.compile(r"<!-- results(?:: (?P<name>[a-z0-9._-]+))? -->\n.*?<!-- /results -->", re.DOTALL)
MILLI = 1e3


def block(name: str, records: Iterable[Record]) -> str:
    """The marked block: milliseconds a training step, times the GEMM floor, one row per implementation."""
    rows = _at_their_sizes(select(records)[0])
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for group in measured.groups(rows):
        for timing in measured.timings(group, "train"):
            row = timing.row
            who = (row["implementation"], row["variant"])
            cells.setdefault(who, {})[f"{row['task']}, {row['cell']}"] = _cell(timing)
    lines = [
        {"implementation": escape(impl), "variant": escape(variant), **shown}
        for (impl, variant), shown in sorted(cells.items())
    ]
    shown = table(lines)
    page = f"reports/published/{name}/README.md"
    note = (
        f"Milliseconds for one training step; in brackets, times the GEMM floor. Machine, sizes, intervals, "
        f"memory and the parity of every row: [{page}]({page})."
    )
    return f"<!-- results: {name} -->\n{shown}\n\n{note}\n<!-- /results -->"


def replaced(readme: str, name: str, records: Iterable[Record]) -> str:
    """README's text with its block made anew. Raises UserError where it has no markers."""
    if not BLOCK.search(readme):
        raise UserError("README.md: expected the markers <!-- results --> and <!-- /results -->, got none.")
    return BLOCK.sub(lambda _: block(name, records), readme, count=1)


def named(readme: str) -> str | None:
    """The published report that README's block shows, if any."""
    found = BLOCK.search(readme)
    return found["name"] if found else None


def _at_their_sizes(rows: list[Row]) -> list[Row]:
    """Without the points of curves, and without another B or H than the size's own: a cell holds one."""
    on_curves = {id(row) for row in scaling.points(rows)}
    return [row for row in rows if id(row) not in on_curves and row["size"] == row.any["spec"]["size"]]


def _cell(timing: Timing) -> str:
    """The time, to the digits its interval supports, and the ratio to the floor."""
    step, floor = timing.step, timing.over_floor()
    value, low, high = (MILLI * part for part in (step.value, step.low, step.high))
    text = cut(value, decimals(value, low, high))
    if floor is None:
        return text
    return f"{text} ({cut(floor.value, decimals(floor.value, floor.low, floor.high))})"
