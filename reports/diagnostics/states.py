"""The figure of the hidden states: a column an implementation, each point the state after a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import pandas as pd

from reports.diagnostics.curves import Judged, curve_of, values
from reports.diagnostics.drawing import Frame, figure, short
from reports.figures.figure import Figure, slug

SIDE = 165  # pixels of a panel
PREFERRED = ("native", "tuned", "scratch")  # of an implementation's variants, the one whose states are drawn
LABELS = {0: "against", 1: "for"}
LABEL_COLOURS = ["#E69F00", "#56B4E9"]
POSITION_COLOURS = [
    "#CC79A7",
    "#8f8f8f",
    "#009E73",
]  # first to last word: each seen on a light and a dark page
CAPTION = (
    "Every implementation reads the same held-out sentences with the same trained weights; each point is the "
    "state after a word, on the principal components of that implementation's own states. Above: the verdict "
    "of the sentence; below: how many words were read. "
)


def states(rows: Sequence[Judged], machine: int) -> Iterator[Figure]:
    """For each cell: a column an implementation, coloured by the verdict above and by the position below."""
    for cell in sorted({row["cell"] for row in rows if row.diagnostic == "states"}):
        shown = preferred([row for row in rows if row.diagnostic == "states" and row["cell"] == cell])
        points = pd.DataFrame(point for name, row in shown.items() for point in scattered(name, row))
        if points.empty:
            continue
        verdict = alt.Color(
            "label:N", title="verdict", scale=alt.Scale(domain=[*LABELS.values()], range=LABEL_COLOURS)
        )
        words = sorted({1, int(points["position"].median()), int(points["position"].max())})
        place = alt.Color(
            "position:Q",
            title="word",
            scale=alt.Scale(range=POSITION_COLOURS),
            # A bar of colours would be a gradient, whose name in the file counts the files of the process.
            legend=alt.Legend(type="symbol", values=words),
        )
        drawn = alt.vconcat(scatter(points, verdict), scatter(points, place)).resolve_scale(
            color="independent"
        )
        title = f"Hidden states of a trained sentiment model: {cell}"
        of_cell = [row for row in rows if row["cell"] == cell]
        told = f"{cell}: {len(points) // len(shown)} states each of {', '.join(shown)}; {share(shown)}."
        yield figure(machine, of_cell, "states", title, told, CAPTION, drawn, f"states-{slug(cell)}")


def scattered(name: str, row: Judged) -> Iterator[dict[str, Any]]:
    """A row's states, with what they are coloured by; what is no number is not drawn."""
    for case in row.cases:
        both = (values(curve_of(case, axis)) for axis in ("PC 1", "PC 2"))
        for at, label, a, b in zip(case["at"], case["labels"]["label"], *both, strict=True):
            if math.isfinite(a) and math.isfinite(b):
                text = LABELS.get(label, str(label))
                yield {"row": name, "position": at, "label": text, "PC 1": short(a), "PC 2": short(b)}


def share(shown: dict[str, Judged]) -> str:
    """What the components explain, in words."""
    first, second = curve_of(next(iter(shown.values())).cases[0], "explained")["reference"]
    return f"two components explain {100 * first:.0f} % and {100 * second:.0f} % of the variance"


def scatter(points: Frame, paint: alt.Color) -> alt.FacetChart:
    """A panel a row."""
    drawn: alt.FacetChart = (
        alt.Chart(points)
        .mark_circle(size=16, opacity=0.75, aria=False)  # a label a mark doubles the file
        .encode(
            x=alt.X("PC 1:Q", scale=alt.Scale(zero=False, padding=6), axis=alt.Axis(tickCount=4)),
            y=alt.Y("PC 2:Q", scale=alt.Scale(zero=False, padding=6), axis=alt.Axis(tickCount=4)),
            color=paint,
        )
        .properties(width=SIDE, height=SIDE)
        .facet(facet=alt.Facet("row:N", title=None, sort=list(dict.fromkeys(points["row"]))), columns=4)
    )
    return drawn


def preferred(rows: Sequence[Judged]) -> dict[str, Judged]:
    """Of each implementation one row, by what it is called in the figure."""

    def rank(row: Judged) -> tuple[str, int, str, str]:
        known = PREFERRED.index(row["variant"]) if row["variant"] in PREFERRED else len(PREFERRED)
        return row["implementation"], known, row["variant"], row["dtype"]

    found: dict[str, Judged] = {}
    for row in sorted(rows, key=rank):
        found.setdefault(row["implementation"], row)
    return {f"{row.name}, {row['dtype']}": row for row in found.values()}
