"""After how many steps a long start pays: compilation is bought with the time of later steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports import statistics
from reports.markdown import escape, table
from reports.rows import Row
from reports.speed import Group, Timing, groups, timings
from reports.statistics import Estimate, cut, decimals, in_words

TEXT = (
    "*Start*: build and first step, with its 95 % interval over passes. A row is held against each that "
    "starts sooner: after n = (start - its start) / (its step - step) steps beyond the first both have taken "
    "equally long; in brackets what the intervals of both leave possible, that of the steps paired by pass. "
    "*Not separable*: the steps are; *never*: slower in both; *at most*: the starts are not separable. Only "
    "of campaigns whose machine was watched: a pass has one start, and nothing beside it would tell a burst "
    "of load."
)
LEAST_PASSES = 2  # one start has no interval


@dataclass(frozen=True)
class Start:
    """A row's start-up beside its steady state."""

    timing: Timing

    @functools.cached_property
    def seconds(self) -> Estimate:
        """Build and first step."""
        found = [
            statistics.median([phases["build_s"] + phases["first_step_s"]])
            for phases in (record["body"]["phases"] for record in self.timing.records)
        ]
        return statistics.estimate(found, "start", self.timing.records[0]["id"])


def sections(rows: Sequence[Row]) -> list[str]:
    """The part of the page; empty where no campaign was watched."""
    parts: list[str] = []
    for group in groups(rows):
        found = table_of(group)
        if not found.empty:
            parts += [f"#### {group.title}", table(found)]
    return ["### After how many steps a compile pays", TEXT, *parts] if parts else []


def table_of(group: Group) -> pd.DataFrame:
    """A line a row, the one that starts soonest first; a column for each of those before it."""
    starts = [Start(timing) for timing in timings(group, "train") if _watched(timing)]
    starts.sort(key=lambda start: start.seconds.value)
    if len(starts) < 2:
        return pd.DataFrame()
    lines = []
    for at, start in enumerate(starts):
        against = {f"against {_name(other)}": pays(start, other) for other in starts[:at]}
        lines.append(
            {
                **{name: escape(start.timing.row[name]) for name in ("implementation", "variant")},
                "start, s": in_words(start.seconds),
                "ms per step": in_words(start.timing.step, 1e3),
                **against,
            }
        )
    return pd.DataFrame(lines)


def pays(late: Start, early: Start) -> str:
    """After how many steps the row that starts later has caught up with the other, in words.

    n = (S_late - S_early) / (t_early - t_late). The difference of the steps is t_late (r - 1), r being
    their ratio paired by pass, so that what the machine did to both does not widen it.
    """
    if min(late.seconds.passes, early.seconds.passes) < LEAST_PASSES:
        return "one pass: no interval"
    ratio = early.timing.over(late.timing)
    if ratio is None:
        return "not paired"
    if ratio.holds_one:
        return "not separable"
    if ratio.value < 1:
        return "never"
    owed = (
        late.seconds.value - early.seconds.value,
        late.seconds.low - early.seconds.high,
        late.seconds.high - early.seconds.low,
    )
    step = late.timing.step
    saved = (
        step.value * (ratio.value - 1),
        step.low * (ratio.low - 1),
        step.high * (ratio.high - 1),
    )
    most = owed[2] / saved[1]
    if owed[1] <= 0:
        return f"at most {_steps(most, 0)}"
    n, least = owed[0] / saved[0], owed[1] / saved[2]
    places = decimals(n, least, most)
    return f"{_steps(n, places)} ({_steps(least, places)} to {_steps(most, places)})"


def _steps(n: float, places: int) -> str:
    """Whole steps, the last of them begun; no more digits than the interval supports."""
    return cut(math.ceil(n), min(places, 0))


def _watched(timing: Timing) -> bool:
    """Whether the machine was looked at while these samples were taken."""
    campaigns = {record["body"]["campaign"] for record in timing.row.quiet}
    return all(record["body"]["campaign"] in campaigns for record in timing.records)


def _name(start: Start) -> str:
    return escape(f"{start.timing.row['implementation']} {start.timing.row['variant']}")
