"""Dots with intervals: throughput with its floor ratio, the overview, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import altair as alt
import pandas as pd

from reports import frames
from reports.figures.figure import (
    LABELS,
    MID,
    Figure,
    Kind,
    Setting,
    axis,
    colour,
    drawn,
    layer,
    points,
    shape,
    text,
    value,
)
from reports.machines import WORKS, Machine
from reports.tables import MIB

WHO = ("row", "implementation", "variant", "id")
TIMED = (
    *WHO,
    *("ms", "ms_low", "ms_high", "over_gemm_floor", "over_gemm_floor_low", "over_gemm_floor_high"),
    *("tokens_per_s", "leading", "path"),
)
STEP = 19  # pixels a row
LEFT, RIGHT = 330, 230  # pixels
CAPTION = (
    "Points with 95 % intervals, fastest on top. Filled: the fastest and every row not separable from it; "
    "hollow: slower, or not paired. Right: time over that of the matrix products alone (GEMM floor), dashed "
    "at 1."
)


def throughput(machine: Machine, work: str) -> Iterator[Figure]:
    """For each task: time with its interval, and beside it the ratio to the GEMM floor."""
    frame = frames.throughput(machine)
    if "step_s" not in frame:
        return
    frame = drawn(frame[(frame["work"] == work) & frame["step_s"].notna()])
    for end in ("", "_low", "_high"):
        frame[f"ms{end}"] = 1e3 * frame[f"step{end}_s"]
    alike = frame["separable_from_fastest"].map({False: True}).eq(True)
    frame["leading"] = alike | ~frame.duplicated("comparison")
    kind = Kind(work, WORKS[work], _panel, _ends("ms", "ms", "fastest", "slowest"), CAPTION)
    yield from kind.figures(machine, frame, ["comparison"])


def overview(machine: Machine) -> Iterator[Figure]:
    """Every row's ratio to the floor in training, a line a question."""
    frame = frames.throughput(machine)
    if "over_gemm_floor" not in frame:
        return
    frame = drawn(frame[(frame["work"] == "train") & frame["over_gemm_floor"].notna()])
    if frame.empty:
        return
    frame["asked"] = _asked(frame)
    shown = points(frame, *WHO, "asked", "question", "over_gemm_floor", "path")
    dots = layer(
        shown,
        {"type": "point", "filled": True, "size": 75, "opacity": 0.9},
        x=value(
            "over_gemm_floor",
            title="training step, times the GEMM floor",
            scale=axis(frame["over_gemm_floor"]),
        ),
        y=text("asked", title=None, sort=list(dict.fromkeys(frame["asked"])), axis=LABELS),
        tooltip=[text("row"), text("question"), value("over_gemm_floor"), text("path"), text("id")],
        **_marks(frame),
    )
    yield Figure(
        name=f"machine-{machine.number}-overview",
        kind="overview",
        machine=machine.number,
        title="How far from the GEMM floor: a training step of every timed row",
        alt=f"Dot plot: {frame['asked'].nunique()} questions, {len(frame)} rows. " + _nearest(frame),
        caption="Time of a training step over that of only its matrix products, measured in the same "
        "process: 1 is the limit. Intervals are in the figures below.",
        chart=alt.LayerChart(layer=[_one(), dots], width=LEFT + RIGHT, height={"step": 24}),
    )


def memory(machine: Machine) -> Iterator[Figure]:
    """For each task: the peak of training over the baseline."""
    frame = frames.memory(machine)
    if "peak_over_baseline_bytes" not in frame:
        return
    frame = drawn(frame[frame["peak_over_baseline_bytes"].notna()])
    frame["mib"] = frame["peak_over_baseline_bytes"] / MIB
    kind = Kind(
        "memory",
        "Memory of training",
        _stems,
        _ends("mib", "MiB", "least", "most"),
        "Peak of the process over its baseline after import, one run a row, least on top.",
    )
    yield from kind.figures(machine, frame.sort_values(["mib", "row"]), ["question", "seed", "threads"])


def _panel(part: pd.DataFrame, whole: pd.DataFrame) -> alt.HConcatChart | alt.LayerChart:
    """One comparison: the time, and the ratio to the floor where one was measured."""
    title = part["question"].iloc[0]
    shown, marks = points(part, *TIMED), _marks(whole, legend=None)
    left = _dots(part, shown, marks, value("ms", title=f"ms per {part['step_is_a'].iloc[0]}"), {**LABELS})
    if not part["over_gemm_floor"].notna().any():
        return alt.LayerChart(layer=left, width=LEFT, height={"step": STEP}, title=title)
    right = [_one(), *_dots(part, shown, marks, value("over_gemm_floor", title="times the GEMM floor"), None)]
    panels = [
        alt.LayerChart(layer=layers, width=width, height={"step": STEP})
        for layers, width in ((left, LEFT), (right, RIGHT))
    ]
    return alt.HConcatChart(hconcat=panels, spacing=14, title=title)


def _dots(
    part: pd.DataFrame,
    shown: alt.InlineData,
    marks: dict[str, Setting],
    x: Setting,
    names: Setting | None,
) -> list[alt.Chart]:
    """Value and interval of each row, on a line of its own; ``names`` is the axis that tells them."""
    low, high = (f"{x['field']}_{end}" for end in ("low", "high"))
    x = {**x, "scale": axis([*part[low], *part[high]])}
    common = {
        "y": text("row", sort=list(part["row"]), title=None, axis=names),
        "tooltip": [
            text("row"),
            *(value(name) for name in ("ms", "ms_low", "ms_high", "tokens_per_s", "over_gemm_floor")),
            text("path"),
            text("id"),
        ],
    }
    filled = {"type": "ordinal", "domain": [False, True], "range": [0.0, 1.0]}
    return [
        layer(
            shown,
            {"type": "rule", "strokeWidth": 2, "opacity": 0.75},
            x={**x, "field": low},
            x2={"field": high},
            color=marks["color"],
            **common,
        ),
        layer(
            shown,
            {"type": "point", "size": 70, "strokeWidth": 1.8, "opacity": 1},
            x=x,
            fill=marks["color"],
            fillOpacity={**text("leading", scale=filled, legend=None), "type": "ordinal"},
            **marks,
            **common,
        ),
    ]


def _stems(part: pd.DataFrame, whole: pd.DataFrame) -> alt.LayerChart:
    """Bytes from zero on, a line a row."""
    marks = _marks(whole, legend=None)
    common = {
        "y": text("row", sort=list(part["row"]), title=None, axis=LABELS),
        "x": value("mib", title="MiB over the baseline", scale={"zero": True}),
        "tooltip": [text("row"), value("mib"), text("id")],
    }
    shown = points(part, *WHO, "mib")
    stems = layer(
        shown,
        {"type": "rule", "strokeWidth": 2, "opacity": 0.5},
        x2={"datum": 0},
        color=marks["color"],
        **common,
    )
    heads = layer(shown, {"type": "point", "filled": True, "size": 75, "opacity": 1}, **marks, **common)
    return alt.LayerChart(
        layer=[stems, heads], width=LEFT + RIGHT, height={"step": STEP}, title=part["question"].iloc[0]
    )


def _marks(frame: pd.DataFrame, **more: None) -> dict[str, Setting]:
    """Colour says the framework, shape the variant."""
    return {
        "color": text("implementation", scale=colour(list(frame["implementation"])), **more),
        "shape": text("variant", scale=shape(list(frame["variant"])), **more),
    }


def _one() -> alt.Chart:
    """The limit."""
    dashed = {"type": "rule", "color": MID, "strokeDash": [3, 3]}
    return layer(None, dashed, x={"datum": 1, "type": "quantitative"})


def _asked(frame: pd.DataFrame) -> pd.Series[str]:
    """Task and cell, and what else tells the questions of one task and cell apart."""
    more = ["size", "length", "data", "seed", "dtype", "device", "threads"]
    of_cell = frame.groupby(["task", "cell"])
    told = ["task", "cell", *(name for name in more if (of_cell[name].nunique() > 1).any())]
    return frame[told].agg(", ".join, axis=1)


def _ends(field: str, unit: str, first: str, last: str) -> Callable[[pd.DataFrame], str]:
    """A panel in words: its first and its last row."""

    def told(part: pd.DataFrame) -> str:
        ends = ((name, part.iloc[at]) for name, at in ((first, 0), (last, -1)))
        texts = [f"{name} {row['row']} with {row[field]:.3g} {unit}" for name, row in ends]
        return f"{part['question'].iloc[0]}: {', '.join(texts)}, of {len(part)} rows."

    return told


def _nearest(frame: pd.DataFrame) -> str:
    """Which row comes nearest to the floor, and which stays farthest from it."""
    ordered = frame.sort_values(["over_gemm_floor", "row"])
    return "Nearest {}, farthest {}.".format(
        *(
            f"{row['row']} ({row['asked']}) at {row['over_gemm_floor']:.3g} times the floor"
            for row in (ordered.iloc[0], ordered.iloc[-1])
        )
    )
