"""What a figure is, and how all of them look: one palette, one font, the same bytes every time."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from reports.machines import Machine

# M. Okabe and K. Ito, "Color Universal Design" (2008): told apart with any colour vision. Yellow and black
# are left out, for they vanish on a light or a dark page.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = {"numpy": BLUE, "torch": VERMILLION, "jax": GREEN, "tensorflow": PURPLE}
OTHERS = ("#E69F00", "#56B4E9", "#7F7F7F")
SHAPES = {"scratch": "circle", "native": "square", "tuned": "triangle-up", "remat": "triangle-down"}
ANOTHER_SHAPE = "diamond"
DASHES = {"scratch": [1, 0], "native": [6, 3], "tuned": [2, 2], "remat": [6, 2, 2, 2]}
ANOTHER_DASH = [8, 3, 2, 3]
Setting = dict[str, Any]  # of a mark, a channel, a scale or an axis, as Vega-Lite has it
MID = "#808080"  # of rules: seen on a light and on a dark page
FEW_DECADES = 10.0  # a wider span is drawn on a logarithmic axis
DIGITS = 6  # more than a figure can show; fewer than two processors differ in
MOST_PANELS = 8  # of one figure
# Of rows by name; a long one is cut.
LABELS: Setting = {"labelLimit": 220, "ticks": False, "domain": False, "grid": True, "labelPadding": 6}


@dataclass(frozen=True)
class Figure:
    """One figure of one machine. All texts are plain: whoever shows them escapes them."""

    name: str  # file stem and key: small letters, digits and "-" alone
    kind: str  # that of the section of the page that it belongs to, or "overview"
    machine: int  # counted from 1, as on the page
    title: str
    alt: str  # what it shows, for who cannot see it
    caption: str
    chart: ChartType  # without colours of a page: ``svg`` and the HTML page add theirs

    @functools.cached_property
    def spec(self) -> dict[str, Any]:
        """Vega-Lite, the same every time. The tests hold it against the schema, which takes long."""
        found: dict[str, Any] = self.chart.to_dict(validate=False)
        return found


def slug(text: str) -> str:
    """Small letters, digits and "-" alone: a name in a record never reaches the file system."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "x"


def distinct(texts: Iterable[str]) -> dict[str, str]:
    """A slug for each text, with a number where two would be the same."""
    found: dict[str, str] = {}
    for text in sorted(set(texts)):
        stem, number = slug(text), 1
        while (name := stem if number == 1 else f"{stem}-{number}") in found.values():
            number += 1
        found[text] = name
    return found


def colour(names: Sequence[str]) -> Setting:
    """The framework's colour: the same in every figure."""
    strangers = sorted(set(names) - set(COLOURS))
    palette = COLOURS | {name: OTHERS[at % len(OTHERS)] for at, name in enumerate(strangers)}
    domain = sorted(set(names))
    return {"domain": domain, "range": [palette[name] for name in domain]}


def shape(names: Sequence[str]) -> Setting:
    """The variant's shape."""
    domain = sorted(set(names))
    return {"domain": domain, "range": [SHAPES.get(name, ANOTHER_SHAPE) for name in domain]}


def dash(names: Sequence[str]) -> Setting:
    """The variant's line."""
    domain = sorted(set(names))
    return {"domain": domain, "range": [DASHES.get(name, ANOTHER_DASH) for name in domain]}


def axis(values: Iterable[float]) -> Setting:
    """Logarithmic where the values span more than a decade, else from zero."""
    known = [float(found) for found in values if not math.isnan(found)]
    if known and min(known) > 0 and max(known) / min(known) >= FEW_DECADES:
        return {"type": "log", "nice": False, "padding": 12}
    return {"zero": True, "nice": True}


def text(name: str, **more: Any) -> Setting:
    """A channel of names."""
    return {"field": name, "type": "nominal", **more}


def value(name: str, **more: Any) -> Setting:
    """A channel of numbers."""
    return {"field": name, "type": "quantitative", **more}


def points(frame: pd.DataFrame, *fields: str) -> alt.InlineData:
    """What a chart holds of the frame: these columns, and null for a gap."""
    held = frame[list(fields)].astype(object)
    lines = held.where(held.notna(), None).to_dict("records")
    return alt.InlineData(values=[{str(name): found for name, found in line.items()} for line in lines])


def layer(data: alt.InlineData | None, mark: Setting, **channels: Any) -> alt.Chart:
    """A mark and its channels, as Vega-Lite has them: Altair copies its own classes four times slower."""
    held = alt.Undefined if data is None else data
    return alt.Chart(held, mark=alt.MarkDef(**mark), encoding=alt.FacetedEncoding(**channels))


def drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as figures take it: a name for each row, and no more digits than can be seen."""
    found = frame.copy()
    for name in found.select_dtypes("float"):
        found[name] = [float(f"{value:.{DIGITS}g}") for value in found[name]]
    found["row"] = found["implementation"] + " " + found["variant"]
    return found


@dataclass(frozen=True)
class Kind:
    """How one kind of figure is made: from the panels of one task, each a part of the frame."""

    kind: str
    title: str
    panel: Callable[[pd.DataFrame, pd.DataFrame], ChartType]  # of a part; all that the figure shows
    told: Callable[[pd.DataFrame], str]  # a panel in words
    caption: str

    def figures(self, machine: Machine, frame: pd.DataFrame, panels: Sequence[str]) -> Iterator[Figure]:
        """By task, so many panels to a figure; ``panels`` are the columns that tell them apart."""
        for task, stem in distinct(frame["task"]).items():
            asked = frame[frame["task"] == task].groupby(list(panels), sort=False)
            found = [part for _, part in asked]
            pages = [found[at : at + MOST_PANELS] for at in range(0, len(found), MOST_PANELS)]
            for number, page in enumerate(pages, 1):
                several = len(pages) > 1
                yield Figure(
                    name=f"machine-{machine.number}-{self.kind}-{stem}" + (f"-{number}" if several else ""),
                    kind=self.kind,
                    machine=machine.number,
                    title=f"{self.title}: {task}" + (f" ({number} of {len(pages)})" if several else ""),
                    alt=f"{self.title}, {task}. " + " ".join(self.told(part) for part in page),
                    caption=self.caption,
                    chart=alt.vconcat(*(self.panel(part, pd.concat(page)) for part in page), spacing=26),
                )
