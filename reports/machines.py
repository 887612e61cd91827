"""The machines of a report: sections of their own, never mixed, in the same order everywhere."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from reports import measured, scaling
from reports.measured import Group, Timing
from reports.rows import Row

WORKS = {"train": "Training", "infer": "Inference", "decode": "Greedy decoding"}


@dataclass(frozen=True)
class Machine:
    """The rows of one machine, and what several tables and figures ask of them."""

    number: int  # from 1
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Its hardware in words, as plain text."""
        return in_words(self.rows[0])

    @functools.cached_property
    def alone(self) -> tuple[Row, ...]:
        """The rows that are no points of curves."""
        on_curves = {id(row) for row in scaling.points(self.rows)}
        return tuple(row for row in self.rows if id(row) not in on_curves)

    @functools.cached_property
    def families(self) -> list[scaling.Family]:
        """The curves."""
        return scaling.families(self.rows)

    def timed(self, what: str) -> list[tuple[Group, list[Timing]]]:
        """The comparisons of one kind of work, a key of WORKS, each from its fastest row on."""
        return [
            (group, measured.timings(group, what))
            for group in self._groups
            if what != "decode" or group.generates
        ]

    @functools.cached_property
    def _groups(self) -> list[Group]:
        return measured.groups(self.alone)


def machines(rows: Iterable[Row]) -> list[Machine]:
    """By their names."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.hardware].append(row)
    order = sorted(found, key=lambda key: (in_words(found[key][0]), key))
    return [Machine(number, tuple(found[key])) for number, key in enumerate(order, 1)]


def in_words(row: Row) -> str:
    """Processor, cores, memory, GPU and system, as plain text."""
    hardware, platform = row.any["provenance"]["hardware"], row.any["provenance"]["platform"]
    parts = [
        hardware["cpu"],
        f"{hardware['cores']} cores used at most",
        f"{hardware['memory_bytes'] / 2**30:.0f} GiB",
        "no GPU" if hardware["gpu"] == "none" else f"{hardware['gpu']} (driver {hardware['driver']})",
        f"{platform.get('system', '')} {platform.get('machine', '')}".strip(),
    ]
    return ", ".join(part for part in parts if part)
