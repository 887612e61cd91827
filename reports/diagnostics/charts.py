"""The figures of the diagnostics: gradient norms, and with ``states`` the hidden states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import altair as alt
import pandas as pd

from reports.diagnostics.curves import Judged, curve_of, judged, references
from reports.diagnostics.drawing import HEIGHT, MARKS, Frame, figure, grid, marks, panel, short, span
from reports.diagnostics.states import states
from reports.diagnostics.tables import clipped_at, factor
from reports.figures.figure import MID, Figure, axis
from results.record import Record

NAME = 12  # pixels: the height of a line's name
DISTANCE = (
    "The norm of the gradient of a loss with respect to the state so many steps before it (of an LSTM h and "
    "c), at initialisation. The number at a line's end is what orthogonal recurrent weights were multiplied "
    "by: where a line falls the gradient vanishes, where it rises it explodes, until the units saturate; an "
    f"LSTM whose forget gate is open keeps it. {MARKS} "
)
CLIPPING = (
    "The global norm at each step of a training of adding. Dashed: as backpropagation gives it; solid: as "
    "the optimiser was given it, read off Adam's first moment. Where the two part, clipping is active. "
    f"{MARKS} "
)


def charts(records: Iterable[Record], machine: int = 1) -> dict[str, Figure]:
    """By name, of one machine, in the order of a page; what has no records has no figure."""
    rows = [row for row in judged(records) if row.status in ("equal", "differs")]
    found: dict[str, Figure] = {}
    for seed in sorted({int(row["seed"]) for row in rows}):
        of_seed = [row for row in rows if int(row["seed"]) == seed]
        drawn = (*distance(of_seed, machine), *clipping(of_seed, machine), *states(of_seed, machine))
        found |= {one.name: one for one in drawn}
    return found


def distance(rows: Sequence[Judged], machine: int) -> Iterator[Figure]:
    """A panel a cell, a line a scale; the norm on a logarithmic axis."""
    lines = pd.DataFrame(
        {"panel": panel(cell, case), "scale": scale(case), "curve": "", "x": x, "y": short(y)}
        for (cell, _), cases in references(rows, "distance").items()
        for case in cases
        for x, y in zip(case["at"], curve_of(case, "gradient norm")["reference"], strict=True)
        if y > 0
    )
    if lines.empty:
        return
    points = marks(rows, "distance")
    x = alt.X("x:Q", title="steps between the state and the loss", scale=span(lines["x"], room=1.12))
    y = alt.Y(
        "y:Q",
        title="gradient norm",
        scale=alt.Scale(type="log", domain=[lines["y"].min(), lines["y"].max()], padding=8),
        axis=alt.Axis(format=".0e", tickCount=6),
    )

    def layers(part: Frame) -> list[alt.Chart]:
        ends = apart_on(part.loc[part.groupby("scale", sort=False)["x"].idxmax()], lines["y"])
        named = alt.Chart(ends).mark_text(align="left", dx=6, fontSize=11, fontWeight="bold", color=MID)
        drawn = alt.Chart(part).mark_line(color=MID, strokeWidth=1.6)
        return [drawn.encode(x=x, y=y, detail="scale:N"), named.encode(x=x, y=y, text="scale:N")]

    told = " ".join(
        f"{name}, recurrent weights x {size}: {shrunk(part)}."
        for (name, size), part in lines.groupby(["panel", "scale"], sort=False)
    )
    drawn = grid(lines, points, layers, x, y)
    yield figure(machine, rows, "distance", "Gradient norm against distance", told, DISTANCE, drawn)


def shrunk(part: Frame) -> str:
    """A line from end to end, in words."""
    first, last = part.iloc[0], part.iloc[-1]
    step = factor(dict(zip(part["x"], part["y"], strict=True)))
    ends = f"{first['y']:.1e} at distance {first['x']} to {last['y']:.1e} at {last['x']}"
    return f"from {ends}, a factor of {step:.2f} a step"


def clipping(rows: Sequence[Judged], machine: int) -> Iterator[Figure]:
    """A panel a cell: the norm before and after, and the threshold, over the steps of a training."""
    lines = pd.DataFrame(
        {"panel": cell, "case": case["case"], "curve": name, "x": x, "y": short(y)}
        for (cell, _), cases in references(rows, "clipping").items()
        for case in cases
        for name in ("before", "after")
        for x, y in zip(case["at"], curve_of(case, name)["reference"], strict=True)
    )
    if lines.empty:
        return
    points = marks(rows, "clipping")
    x = alt.X("x:Q", title="training step", scale=span(lines["x"]))
    y = alt.Y("y:Q", title="global gradient norm", scale=axis(lines["y"]))
    stroke = alt.StrokeDash(
        "curve:N", title="norm", scale=alt.Scale(domain=["before", "after"], range=[[4, 3], [1, 0]])
    )

    def layers(part: Frame) -> list[alt.Chart]:
        drawn = alt.Chart(part).mark_line(color=MID, strokeWidth=1.5)
        return [drawn.encode(x=x, y=y, strokeDash=stroke)]

    told = " ".join(f"{cell}: {held(part)}." for cell, part in lines.groupby("panel", sort=False))
    drawn = grid(lines, points, layers, x, y)
    yield figure(machine, rows, "clipping", "Gradient norm before and after clipping", told, CLIPPING, drawn)


def held(part: Frame) -> str:
    """At how many steps clipping was active, in words."""
    before, after = (part.loc[part["curve"] == name, "y"].to_numpy() for name in ("before", "after"))
    active = int(clipped_at(before, after).sum())
    largest = f"largest norm {before.max():.3g} before, {after.max():.3g} after"
    return f"clipped at {active} of {len(before)} steps, {largest}"


def apart_on(ends: Frame, every: pd.Series[float]) -> Frame:
    """The ends of lines, moved up on the logarithmic axis until their names do not overlap."""
    least = (every.max() / every.min()) ** (NAME / HEIGHT)
    found = ends.sort_values("y").copy()
    at: list[float] = []
    for y in found["y"]:
        at.append(short(max(y, at[-1] * least) if at else y))
    found["y"] = at
    return found


def scale(case: dict[str, Any]) -> str:
    """Of the recurrent weights."""
    return str(case["case"].partition(", ")[0].removeprefix("scale "))
