"""Lines: cumulative time against steps, scaling curves, learning curves."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import altair as alt
import pandas as pd

from reports import frames
from reports.figures.figure import (
    MID,
    Figure,
    Kind,
    Setting,
    axis,
    colour,
    dash,
    drawn,
    layer,
    points,
    shape,
    text,
    value,
)
from reports.machines import Machine
from reports.tables import MIB

WIDTH, HEIGHT = 520, 220  # pixels of a panel
PER_DECADE = 8  # points of a drawn line
LEAST_DECADES, MOST_DECADES = 3, 7  # of steps


def break_even(machine: Machine) -> Iterator[Figure]:
    """For each task: seconds since the start of the process against steps taken."""
    frame = frames.starts(machine)
    if frame.empty:
        return
    frame = drawn(frame[frame.groupby("comparison")["id"].transform("size") > 1])
    kind = Kind(
        "break-even",
        "After how many steps a compile pays",
        _cumulative,
        _started,
        "Build and first step, then the steps after it: where two lines cross, the row that started later "
        "has caught up. Import is not in it.",
    )
    yield from kind.figures(machine, frame, ["comparison"])


def scaling(machine: Machine, kind: str) -> Iterator[Figure]:
    """Time of a step, or memory, along T, B and H, on two logarithmic axes."""
    frame = frames.curves(machine)
    of_time = kind == "scaling-time"
    source, field = ("step_s", "ms") if of_time else ("peak_bytes", "mib")
    if source not in frame:
        return
    frame = drawn(frame[frame[source] > 0])
    if of_time:
        for end in ("", "_low", "_high"):
            frame[f"ms{end}"] = 1e3 * frame[f"step{end}_s"]
    else:
        frame["mib"] = frame["peak_bytes"] / MIB
    made = Kind(
        kind,
        "Scaling: time of a training step" if of_time else "Scaling: memory of training",
        functools.partial(_curve, field=field, unit="ms per step" if of_time else "MiB over the baseline"),
        functools.partial(_grown, field=field),
        "Both axes logarithmic: proportional is a straight line of slope 1. "
        + ("Bars: 95 % intervals." if of_time else "One run a point."),
    )
    yield from made.figures(machine, frame, ["curve"])


def learning(machine: Machine) -> Iterator[Figure]:
    """For each task: the held-out metric against steps, between optimum and baseline."""
    frame = frames.learning(machine)
    if frame.empty:
        return
    frame = drawn(frame[frame["held_out"].notna()])
    frame["series"] = frame["row"] + ", seed " + frame["seed"]
    kind = Kind(
        "quality",
        "Training to quality",
        _learning,
        _learned,
        "Held-out data after so many training steps, a line a row and seed. Dashed: the optimum, where it is "
        "known and a logarithmic axis can hold it; dotted: the baseline.",
    )
    yield from kind.figures(machine, frame, ["question"])


def _cumulative(part: pd.DataFrame, whole: pd.DataFrame) -> alt.LayerChart:
    """start + (n - 1) step, over as many decades as show every crossing."""
    last = _decades(part)
    steps = sorted({round(10 ** (at / PER_DECADE)) for at in range(last * PER_DECADE + 1)})
    times = pd.DataFrame(
        {
            "row": row["row"],
            "implementation": row["implementation"],
            "variant": row["variant"],
            "steps": n,
            "seconds": float(f"{row['start_s'] + (n - 1) * row['step_s']:.6g}"),
        }
        for _, row in part.iterrows()
        for n in steps
    )
    line = layer(
        points(times, "row", "implementation", "variant", "steps", "seconds"),
        {"type": "line", "strokeWidth": 2},
        x=value(
            "steps",
            title="training steps taken",
            scale={"type": "log"},
            axis={"values": _powers(times["steps"]), "format": ","},
        ),
        y=value(
            "seconds",
            title="seconds",
            scale={"type": "log", "nice": False, "padding": 6},
            axis={"values": _powers(times["seconds"]), "format": "~r"},
        ),
        detail=text("row"),
        tooltip=[text("row"), value("steps"), value("seconds")],
        **_lines(whole),
    )
    return _diagram([line], part)


def _decades(part: pd.DataFrame) -> int:
    """Of steps to draw: past the last of the crossings, within reason."""
    rows = part.sort_values("start_s")[["start_s", "step_s"]].to_numpy()
    crossings = [
        (late[0] - early[0]) / (early[1] - late[1])
        for at, late in enumerate(rows)
        for early in rows[:at]
        if early[1] > late[1]
    ]
    last = max((math.log10(n) for n in crossings if n > 1), default=0.0)
    return min(max(math.ceil(last + 0.3), LEAST_DECADES), MOST_DECADES)


def _powers(values: pd.Series[float]) -> list[float]:
    """Of ten, from the least value to the greatest: the lines of a grid that is no hatching."""
    first, last = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    return [float(f"1e{power}") for power in range(first, last + 1)]


def _curve(part: pd.DataFrame, whole: pd.DataFrame, field: str, unit: str) -> alt.LayerChart:
    """One diagram of a family."""
    ends = [name for name in (f"{field}_low", f"{field}_high") if name in part]
    shown = points(part, "row", "implementation", "variant", "id", "value", field, *ends)
    y = value(field, title=unit, scale={"type": "log", "nice": False, "padding": 10})
    looks = _lines(whole)
    common = {
        "x": value(
            "value",
            title=part["axis"].iloc[0],
            scale={"type": "log", "nice": False, "padding": 14},
            axis={"values": sorted(set(part["value"])), "labelOverlap": True},
        ),
        "detail": text("row"),
        "tooltip": [text("row"), value("value"), value(field), text("id")],
        "color": looks["color"],
    }
    shapes = text("variant", scale=shape(list(whole["variant"])))
    marks = [
        layer(shown, {"type": "line", "strokeWidth": 2}, y=y, strokeDash=looks["strokeDash"], **common),
        layer(
            shown, {"type": "point", "filled": True, "size": 50, "opacity": 1}, y=y, shape=shapes, **common
        ),
    ]
    if ends:
        y, y2 = {**y, "field": ends[0]}, {"field": ends[1]}
        marks.append(layer(shown, {"type": "rule", "opacity": 0.75}, y=y, y2=y2, **common))
    return _diagram(marks, part)


def _learning(part: pd.DataFrame, whole: pd.DataFrame) -> alt.LayerChart:
    """One spec, every row and seed."""
    metric, optimum, baseline = (part[name].iloc[0] for name in ("metric", "optimum", "baseline"))
    scale = axis(part["held_out"])
    lines = layer(
        points(part, "row", "series", "implementation", "variant", "seed", "step", "held_out", "id"),
        {"type": "line", "strokeWidth": 1.4, "opacity": 0.6},
        x=value("step", title="training steps"),
        y=value("held_out", title=f"{metric}, held out", scale=scale),
        detail=text("series"),
        tooltip=[text("row"), text("seed"), value("step"), value("held_out"), text("id")],
        **_lines(whole),
    )
    rules = [
        layer(
            None,
            {"type": "rule", "color": MID, "strokeDash": dashes},
            y={"datum": float(bound), "type": "quantitative"},
        )
        for bound, dashes in ((baseline, [2, 3]), (optimum, [7, 4]))
        if pd.notna(bound) and (bound > 0 or scale.get("type") != "log")
    ]
    return _diagram([*rules, lines], part)


def _diagram(layers: list[alt.Chart], part: pd.DataFrame) -> alt.LayerChart:
    return alt.LayerChart(layer=layers, width=WIDTH, height=HEIGHT, title=part["question"].iloc[0])


def _lines(whole: pd.DataFrame) -> dict[str, Setting]:
    """Colour says the framework, the dashes the variant."""
    return {
        "color": text("implementation", scale=colour(list(whole["implementation"]))),
        "strokeDash": text("variant", scale=dash(list(whole["variant"]))),
    }


def _started(part: pd.DataFrame) -> str:
    """Who starts soonest, and whose step is the shortest."""
    fastest = part.sort_values(["step_s", "row"])["row"].iloc[0]
    return (
        f"{part['question'].iloc[0]}: {part['row'].iloc[0]} starts soonest, {fastest} has the fastest step."
    )


def _grown(part: pd.DataFrame, field: str) -> str:
    """The ends of the diagram."""
    lines = part.sort_values("value").groupby("row")[field]
    texts = [f"{name} {line.iloc[0]:.3g} to {line.iloc[-1]:.3g}" for name, line in lines]
    ends = f"{part['axis'].iloc[0]} from {part['value'].min()} to {part['value'].max()}"
    return f"{part['question'].iloc[0]}: {ends}, {', '.join(texts)}."


def _learned(part: pd.DataFrame) -> str:
    """Where each row ended."""
    last = part.sort_values("step").groupby("series")["held_out"].last()
    texts = [f"{name} {value:.3g}" for name, value in last.items()]
    optimum = part["optimum"].iloc[0]
    known = "unknown" if pd.isna(optimum) else f"{optimum:.3g}"
    metric = part["metric"].iloc[0]
    return f"{part['question'].iloc[0]}: {metric} at the end {', '.join(texts)}; optimum {known}."
