"""What the page asks of a report several times: its machines, their timings, who was quiet, row by row."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import frames, quiet, scaling
from reports.html.cells import dicts
from reports.machines import Machine, machines
from reports.rows import Row

QUIET = ("quiet", "not quiet", "not watched")


@dataclass(frozen=True)
class Facts:
    """The rows of a report, machine by machine."""

    machines: tuple[Machine, ...]

    @functools.cached_property
    def timed(self) -> list[tuple[Machine, dict[str, Any]]]:
        """The lines of the throughput frames, fastest of each comparison first."""
        return [(machine, line) for machine in self.machines for line in dicts(frames.throughput(machine))]

    @functools.cached_property
    def rows(self) -> Mapping[tuple[str, ...], Row]:
        """By machine and all that a frame says of a row."""
        return {_key(m.number, row): row for m in self.machines for row in m.rows}

    def row(self, machine: Machine, line: Mapping[str, Any]) -> Row:
        """The row that a line of a frame is about."""
        return self.rows[_key(machine.number, line)]

    @functools.cached_property
    def disturbed(self) -> dict[str, list[str]]:
        """By campaign that was watched, what disturbed it."""
        return {state.campaign: state.disturbed for m in self.machines for state in quiet.states(m.rows)}

    def quiet(self, row: Row) -> str:
        """Of the machine while the row was timed: the worst of its campaigns, in a word of QUIET."""
        campaigns = {record["body"]["campaign"] for record in row.bench if record["status"] == "ok"}
        known = [self.disturbed.get(campaign) for campaign in campaigns]
        if any(known):
            return "not quiet"
        return "quiet" if known and None not in known else "not watched"

    def reasons(self, machine: Machine) -> str:
        """What disturbed its campaigns, each reason once."""
        found = [reason for state in quiet.states(machine.rows) for reason in state.disturbed]
        return "; ".join(dict.fromkeys(found))


def gather(rows: Sequence[Row]) -> Facts:
    """The facts of these rows."""
    return Facts(tuple(machines(rows)))


def asked(row: Row) -> str:
    """The question beside task and cell: ``small, generated; B = 50, T = 50, H = 64``."""
    places = ", ".join(f"{letter} = {value}" for letter, value in scaling.places(row).items() if value)
    seed = "" if row["seed"] == "0" else f", seed {row['seed']}"
    return f"{row.any['spec']['size']}, {row['data']}{seed}; {places}"


def _key(machine: int, row: Any) -> tuple[str, ...]:
    return (str(machine), *(str(row[name]) for name in frames.ROW))
