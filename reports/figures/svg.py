"""SVG from a figure: an opaque light card for light and dark pages, the same bytes every time."""

from __future__ import annotations

import xml.sax.saxutils as xml
from typing import Any

import vl_convert

from reports.figures.figure import Figure

# The converter brings this font along, so that text is as wide on every machine; viewers without it have
# one of the same widths in its place.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
INK, QUIET, GRID = "#1f2328", "#57606a", "#e4e7eb"
CARD = {
    "background": "#ffffff",
    "padding": 14,
    "font": FONT,
    "view": {"stroke": None},
    "title": {"color": INK, "fontSize": 12, "fontWeight": "bold", "anchor": "start", "offset": 8},
    "axis": {
        "labelColor": INK,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": GRID,
        "domainColor": "#8c959f",
        "tickColor": "#8c959f",
    },
    "legend": {"labelColor": INK, "titleColor": QUIET, "titleFontWeight": "normal", "labelFontSize": 11},
}


def svg(figure: Figure) -> bytes:
    """The file: with its title, and what it shows for who cannot see it."""
    drawn: str = vl_convert.vegalite_to_svg(carded(figure), allowed_base_urls=[])
    head, rest = drawn.split(">", 1)
    label = xml.quoteattr(figure.alt)
    title = xml.escape(figure.title)
    return f'{head} role="img" aria-label={label}><title>{title}</title>{rest}\n'.encode()


def carded(figure: Figure) -> dict[str, Any]:
    """The figure with a title of its own, on a card."""
    title = {"text": figure.title, "fontSize": 15, "offset": 16}
    return {**figure.spec, "title": title, "config": CARD}
