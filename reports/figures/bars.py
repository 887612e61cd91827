"""Bars: what passes before the steady state."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import pandas as pd

from reports import frames
from reports.figures.figure import LABELS, Figure, Kind, Setting, colour, drawn, layer, points, text, value
from reports.machines import Machine

PHASES = {"import_s": "import", "build_s": "build", "first_step_s": "first step"}
SHADES = (0.25, 0.55, 1.0)
WIDTH, STEP = 560, 19  # pixels


def startup(machine: Machine) -> Iterator[Figure]:
    """For each task: import, build and first step, one after the other."""
    frame = frames.startup(machine)
    if frame.empty:
        return
    frame = drawn(frame)
    frame["total"] = frame[[phase for phase in PHASES if phase in frame]].sum(axis=1)
    kind = Kind(
        "start",
        "Import, build and first step",
        _stacked,
        _told,
        "Seconds before the second step, the median over passes: import, build, then the first step, which "
        "traces and compiles.",
    )
    yield from kind.figures(machine, frame.sort_values(["total", "row"]), ["question", "seed"])


def _stacked(part: pd.DataFrame, whole: pd.DataFrame) -> alt.Chart:
    """One question: a bar a row, a shade a phase."""
    known = [phase for phase in PHASES if phase in part]
    long = part.melt(["row", "implementation", "id"], known, "phase", "seconds")
    long["at"] = long["phase"].map(list(PHASES).index)
    long["phase"] = long["phase"].map(PHASES)
    shades: Setting = {"type": "ordinal", "domain": list(PHASES.values()), "range": list(SHADES)}
    bars = layer(
        points(long, "row", "implementation", "phase", "at", "seconds", "id"),
        {"type": "bar", "size": 12},
        y=text("row", sort=list(part["row"]), title=None, axis={**LABELS, "grid": False}),
        x=value("seconds", title="seconds", axis={"grid": False}),
        color=text("implementation", scale=colour(list(whole["implementation"])), legend=None),
        opacity={**text("phase", scale=shades, title="from light to dark"), "type": "ordinal"},
        order=value("at"),
        tooltip=[text("row"), text("phase"), value("seconds"), text("id")],
    )
    return bars.properties(width=WIDTH, height={"step": STEP}, title=part["question"].iloc[0])


def _told(part: pd.DataFrame) -> str:
    """The first and the last that is ready."""
    ends = ((name, part.iloc[at]) for name, at in (("soonest ready", 0), ("last", -1)))
    texts = [f"{name} {row['row']} after {row['total']:.3g} s" for name, row in ends]
    return f"{part['question'].iloc[0]}: {', '.join(texts)}."
