"""What changed between two result sets: pairs of the same row, and what their samples say.

The verdict rests on the ratio to the GEMM floor, not on the time. Two sets are measured
at different times, so nothing can be paired by pass, and a machine that was busier or
clocked lower shifts every time of one set. It shifts the floor, measured between the same
blocks, alike, and the ratio stays: in `results/published/2026-11-cpu-2-cores` the standard
deviation from pass to pass is 3.3 % of it, and 4.3 % of the time (medians of 56 rows; 10 %
and 24 % at the ninetieth percentile). What the ratio cannot show is a slow-down of row
*and* floor, a slower BLAS say: the change of the time stands beside it. A row without a
floor is judged by its time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports import measured, statistics
from reports.measured import Timing
from reports.rows import Row, threads
from reports.statistics import Estimate, Logs
from results.record import canonical
from results.store import age

WORKS = ("train", "infer", "decode")
LEAST_PASSES = 2  # one says nothing of how passes differ


@dataclass(frozen=True)
class Pair:
    """One row in both sets."""

    old: Row
    new: Row

    @property
    def same_hardware(self) -> bool:
        """Whether times may be compared."""
        return self.old.hardware == self.new.hardware

    @property
    def lost(self) -> str:
        """Why the new row has no number any more that the old one had; empty where it has."""
        if self.old.verdict:
            return ""
        if self.new.verdict:
            return self.new.verdict
        gone = timed_threads(self.old) - timed_threads(self.new)
        failures = [record for record in self.new.bench if record["status"] != "ok"]
        return f"{failures[-1]['status']}: {failures[-1]['reason']}" if gone and failures else ""

    @property
    def apart(self) -> str:
        """Why timings that there are cannot be compared, though nothing was lost; empty where they can."""
        old, new = timed_threads(self.old), timed_threads(self.new)
        if self.lost or not old | new:
            return ""
        if self.old.verdict:
            return f"in the old set: {self.old.verdict}"
        sides = (" and ".join(sorted(side)) or "not timed" for side in (old, new))
        return "" if old & new else "threads: {} in the old set, {} in the new".format(*sides)


@dataclass(frozen=True)
class Change:
    """One kind of work of a row with so many threads, new over old."""

    pair: Pair
    what: str
    threads: str
    old: Timing
    new: Timing

    @property
    def floored(self) -> bool:
        """Whether both sets measured the GEMM floor beside the row."""
        return bool(self.old.floors and self.new.floors)

    def time(self) -> Estimate | None:
        """Of the seconds, with its own 95 % interval; None where a set has too few passes."""
        return self._over([item.seconds for item in (self.old, self.new)], 1)

    def over_floor(self, together: int) -> Estimate | None:
        """Of the ratio to the GEMM floor, with an interval for so many changes at once; None likewise."""
        return self._over([item.floors for item in (self.old, self.new)], together)

    def judged(self, together: int) -> Estimate | None:
        """What the verdict rests on; None where there can be none: too few passes, another machine."""
        if not self.pair.same_hardware:
            return None
        if self.floored:
            return self.over_floor(together)
        return self._over([item.seconds for item in (self.old, self.new)], together)

    def _over(self, sides: list[Mapping[measured.PassId, Logs]], together: int) -> Estimate | None:
        old, new = (list(side.values()) for side in sides)
        if min(len(old), len(new)) < LEAST_PASSES:
            return None
        return statistics.apart(old, new, together)


def verdict(found: Estimate, threshold: float) -> str:
    """ "slower", "faster" or "no change" where the whole interval says so."""
    most, least = 1 + threshold, 1 / (1 + threshold)
    if found.low > most:
        return "slower"
    if found.high < least:
        return "faster"
    return "no change" if least <= found.low and found.high <= most else "not separable"


def pairs(old: Sequence[Row], new: Sequence[Row]) -> tuple[list[Pair], list[Row], list[Row]]:
    """The rows that both sets have, only the old, only the new one: same row and spec.

    On each machine that both have; where there is none, the newest of each.
    """
    befores, afters = _by_question(old), _by_question(new)
    found = []
    for key in sorted(befores.keys() & afters.keys()):
        shared = sorted(befores[key].keys() & afters[key].keys())
        found += [Pair(befores[key][machine], afters[key][machine]) for machine in shared]
        if not shared:
            found.append(Pair(_newest(befores[key]), _newest(afters[key])))
    return found, _only(befores, afters), _only(afters, befores)


def changes(pair: Pair) -> Iterator[Change]:
    """What can be compared of a row that is proven in both sets."""
    if pair.old.verdict or pair.new.verdict:
        return
    for count in sorted(timed_threads(pair.old) & timed_threads(pair.new)):
        for what in WORKS:
            old, new = (measured.timing(row, count, what) for row in (pair.old, pair.new))
            if old is not None and new is not None:
                yield Change(pair, what, count, old, new)


def timed_threads(row: Row) -> set[str]:
    """The numbers of threads that it was timed with."""
    return {threads(record) for record in row.bench if record["status"] == "ok"}


def _by_question(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Row and spec to hardware to what was measured there."""
    found: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        found[canonical(row.any["row"]), row.any["fingerprint"]][row.hardware] = row
    return found


def _newest(machines: Mapping[str, Row]) -> Row:
    return max(machines.values(), key=lambda row: max(age(record) for record in row.records))


def _only(
    these: Mapping[tuple[str, str], Mapping[str, Row]], those: Mapping[tuple[str, str], object]
) -> list[Row]:
    return [row for key in sorted(these.keys() - those.keys()) for row in these[key].values()]
