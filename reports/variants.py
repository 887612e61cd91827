"""Each variant's time over that of the framework's own layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from reports import measured, speed
from reports.markdown import NOTHING, escape
from reports.measured import Timing
from reports.rows import Row, version

TEXT = (
    "Time over that of the framework's own layer, `native`, or where it was not timed that of `scratch`, "
    "else that of `tuned`; paired round by round in each pass, with the 98 % interval that tells rows apart. "
    "Points of curves have a line here, too."
)
REFERENCES = ("native", "scratch", "tuned")  # the first of them that was timed
ORDER = ("scratch", "native", "tuned", "remat")


def table_of(rows: Sequence[Row], what: str) -> pd.DataFrame:
    """A line for each question and framework of which two variants or more were timed."""
    lines = []
    for group in measured.groups(rows):
        same: dict[tuple[str, tuple[str, ...]], dict[str, Timing]] = defaultdict(dict)
        for item in measured.timings(group, what):
            same[item.row["implementation"], version(item.row.any)[1:]][item.row["variant"]] = item
        for (implementation, _), found in sorted(same.items()):
            if len(found) > 1:
                first = {"question": escape(group.title), "implementation": escape(implementation)}
                lines.append(first | _cells(found))
    frame = pd.DataFrame(lines)
    named = [name for name in frame.columns[2:] if name not in ORDER]
    columns = [*frame.columns[:2], *(name for name in ORDER if name in frame), *sorted(named)]
    return frame[columns].fillna(NOTHING)


def _cells(found: dict[str, Timing]) -> dict[str, str]:
    """By variant."""
    reference = next((found[name] for name in REFERENCES if name in found), next(iter(found.values())))
    return {
        escape(name): "1 (reference)" if item is reference else speed.ratio(item.over(reference))
        for name, item in found.items()
    }
