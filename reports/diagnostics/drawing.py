"""What the figures of the diagnostics share: panels with the oracle's lines and the rows' marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from reports.diagnostics.curves import Judged, values
from reports.figures.figure import DIGITS, Figure, colour, shape

WIDTH, HEIGHT = 300, 210  # pixels of a panel
MARKED = 12  # a row's marks stand at every so many points, each row's at others
MARKS = (
    "Lines: the float64 oracle. The marks of each row stand at points of its own, so that none covers "
    "another's."
)
COLUMNS = ["panel", "implementation", "variant", "x", "y"]

Frame = pd.DataFrame


def marks(rows: Sequence[Judged], diagnostic: str) -> Frame:
    """Of each row every MARKED-th point that is a number, each row beginning elsewhere."""
    shown = [row for row in rows if row.diagnostic == diagnostic]
    names = list(dict.fromkeys((row.name, row["dtype"]) for row in shown))
    lines = []
    for row in shown:
        begin = names.index((row.name, row["dtype"])) * MARKED // max(len(names), 1)
        for case in row.cases:
            for curve in case["curves"]:
                for x, y in [*zip(case["at"], values(curve), strict=True)][begin::MARKED]:
                    if 0 < y < float("inf"):
                        where = panel(row["cell"], case) if diagnostic == "distance" else row["cell"]
                        who = {"implementation": row["implementation"], "variant": row["variant"]}
                        lines.append({"panel": where, **who, "x": x, "y": short(float(y))})
    return pd.DataFrame(lines, columns=COLUMNS)


def dots(points: Frame, x: alt.X, y: alt.Y) -> alt.Chart:
    """Colour says the framework, the shape the variant."""
    drawn: alt.Chart = (
        alt.Chart(points)
        .mark_point(filled=True, size=34, opacity=1, aria=False)  # a label a mark doubles the file
        .encode(
            x=x,
            y=y,
            color=alt.Color("implementation:N", scale=colour(list(points["implementation"]))),
            shape=alt.Shape("variant:N", scale=shape(list(points["variant"]))),
        )
    )
    return drawn


def grid(
    lines: Frame, points: Frame, layers: Callable[[Frame], list[alt.Chart]], x: alt.X, y: alt.Y
) -> alt.ConcatChart:
    """A panel a cell, two in a row: the oracle's lines, on them the rows' marks."""
    panels = [
        alt.layer(*layers(part), dots(points[points["panel"] == name], x, y)).properties(
            width=WIDTH, height=HEIGHT, title=str(name)
        )
        for name, part in lines.groupby("panel", sort=False)
    ]
    return alt.concat(*panels, columns=2)


def figure(
    machine: int,
    rows: Sequence[Judged],
    diagnostic: str,
    title: str,
    told: str,
    caption: str,
    chart: ChartType,
    stem: str = "",
) -> Figure:
    """The figure, with how far the rows are from the oracle below it."""
    shown = [row for row in rows if row.diagnostic == diagnostic]
    seed = int(shown[0]["seed"])
    asked = f" (seed {seed})" if seed else ""
    return Figure(
        name=f"machine-{machine}-diagnostics-{stem or diagnostic}" + (f"-seed-{seed}" if seed else ""),
        kind="diagnostics",
        machine=machine,
        title=title + asked,
        alt=f"{title}{asked}. {told}",
        caption=caption + apart(shown),
        chart=chart,
    )


def apart(rows: Sequence[Judged]) -> str:
    """How many rows are the oracle's equals, and by how much they differ at most, dtype by dtype."""
    texts = []
    for dtype in sorted({row["dtype"] for row in rows}):
        of_dtype = [row for row in rows if row["dtype"] == dtype]
        equal = sum(row.status == "equal" for row in of_dtype)
        largest = max(row.difference for row in of_dtype)
        rows_of = f"{dtype}: {equal} of {len(of_dtype)} rows are the oracle's equals"
        texts.append(f"{rows_of}, largest relative difference {largest:.1e}")
    return "; ".join(texts) + "."


def panel(cell: str, case: dict[str, Any]) -> str:
    """The cell, and what its case says beside the scale."""
    more = case["case"].partition(", ")[2]
    return f"{cell}, {more}" if more else cell


def span(values_: Iterable[float], room: float = 1.0) -> alt.Scale:
    """From the first to the last, with room for what is written behind it."""
    known = list(values_)
    return alt.Scale(domain=[min(known), max(known) * room], nice=False, zero=False)


def short(value: float) -> float:
    """No more digits than a figure can show; fewer than two processors differ in."""
    return float(f"{value:.{DIGITS}g}")
