"""After how many steps a long start pays: compilation is bought with the time of later steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports import statistics
from reports.markdown import escape
from reports.measured import Timing
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
        return statistics.estimate(found)


@dataclass(frozen=True)
class Payback:
    """The step from which on a row has caught up with one that started sooner, and its interval."""

    verdict: str = ""  # why there is no such step; empty where there is
    steps: float | None = None  # None where only a bound is known
    least: float | None = None
    most: float | None = None


def starts(timed: Sequence[Timing]) -> list[Start]:
    """The rows whose machine was watched, the one that starts soonest first."""
    found = [Start(timing) for timing in timed if _watched(timing)]
    return sorted(found, key=lambda start: start.seconds.value)


def table_of(timed: Sequence[Timing]) -> pd.DataFrame:
    """A line a row, the one that starts soonest first; a column for each of those before it."""
    found = starts(timed)
    if len(found) < 2:
        return pd.DataFrame()
    lines = []
    for at, start in enumerate(found):
        against = {f"against {_name(other)}": in_steps(pays(start, other)) for other in found[:at]}
        lines.append(
            {
                **{name: escape(start.timing.row[name]) for name in ("implementation", "variant")},
                "start, s": in_words(start.seconds),
                "ms per step": in_words(start.timing.step, 1e3),
                **against,
            }
        )
    return pd.DataFrame(lines)


def pays(late: Start, early: Start) -> Payback:
    """After how many steps the row that starts later has caught up with the other.

    n = (S_late - S_early) / (t_early - t_late). The difference of the steps is t_late (r - 1), r being
    their ratio paired by pass, so that what the machine did to both does not widen it.
    """
    if min(late.seconds.passes, early.seconds.passes) < LEAST_PASSES:
        return Payback("one pass: no interval")
    ratio = early.timing.over(late.timing)
    if ratio is None:
        return Payback("not paired")
    if ratio.holds_one:
        return Payback("not separable")
    if ratio.value < 1:
        return Payback("never")
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
        return Payback(most=most)
    return Payback(steps=owed[0] / saved[0], least=owed[1] / saved[2], most=most)


def in_steps(found: Payback) -> str:
    """``900 (850 to 960)``, ``at most 40``, or why there is no number."""
    if found.verdict or found.most is None:
        return found.verdict
    if found.steps is None or found.least is None:
        return f"at most {_steps(found.most, 0)}"
    places = decimals(found.steps, found.least, found.most)
    return "{} ({} to {})".format(*(_steps(n, places) for n in (found.steps, found.least, found.most)))


def _steps(n: float, places: int) -> str:
    """Whole steps, the last of them begun; no more digits than the interval supports."""
    return cut(math.ceil(n), min(places, 0))


def _watched(timing: Timing) -> bool:
    """Whether the machine was looked at while these samples were taken."""
    campaigns = {record["body"]["campaign"] for record in timing.row.quiet}
    return all(record["body"]["campaign"] in campaigns for record in timing.records)


def _name(start: Start) -> str:
    return escape(f"{start.timing.row['implementation']} {start.timing.row['variant']}")
