"""Charts that are legible on light and on dark paper."""

from __future__ import annotations

import json
import re
from typing import Any

INK = "currentColor"  # the text colour of the page, which the SVG of a chart inherits
COLOURS: dict[str, dict[str, Any]] = {
    "axis": {
        "domainColor": INK,
        "domainOpacity": 0.4,
        "gridColor": INK,
        "gridOpacity": 0.13,
        "labelColor": INK,
        "tickColor": INK,
        "tickOpacity": 0.4,
        "titleColor": INK,
        "titleFontWeight": "normal",
    },
    "header": {"labelColor": INK, "titleColor": INK},
    "legend": {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal"},
    "text": {"color": INK},
    "title": {"anchor": "start", "color": INK, "fontSize": 12, "subtitleColor": INK},
    "view": {"stroke": None},
}
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif'


def themed(spec: dict[str, Any]) -> dict[str, Any]:
    """The Vega-Lite spec without paper of its own, its texts and lines in the ink of the page."""
    given = spec.get("config", {})
    parts = {part: {**given.get(part, {}), **colours} for part, colours in COLOURS.items()}
    return {**lean(spec), "config": {**given, **parts, "background": None, "font": FONT}}


def lean(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without the columns of its data that nothing in it names."""
    rest = {key: value for key, value in spec.items() if key != "datasets"}
    named = set(re.findall(r"\w+", json.dumps(rest)))
    datasets = {
        name: [{key: value for key, value in line.items() if key in named} for line in lines]
        for name, lines in spec.get("datasets", {}).items()
    }
    return {**rest, "datasets": datasets}
