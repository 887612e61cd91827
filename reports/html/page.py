"""One self-contained HTML file: it asks no network, and the same records give the same bytes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from reports.figures import Figure, charts
from reports.html import bundles
from reports.html.cells import choices
from reports.html.facts import QUIET, Facts, gather
from reports.html.sections import Section, sections
from reports.html.theme import themed
from reports.html.which import MARKS, SYMBOLS
from reports.rows import Row
from results.store import Damaged

TEMPLATES = Path(__file__).parent / "templates"


def render(
    rows: Sequence[Row],
    damaged: Sequence[Damaged] = (),
    name: str = "",
    left_out: int = 0,
    figures: Mapping[str, Figure] | None = None,
) -> str:
    """The page of these rows; ``left_out`` counts older records. Figures are drawn where none are given."""
    facts = gather(rows)
    drawn = charts(rows) if figures is None else figures
    parts = sections(facts, damaged, name, left_out, drawn)
    datatables, styles = bundles.tables()
    script = _text("page.js")
    vega = bundles.vega() if drawn else ""
    scripts = [text for text in (vega, datatables, script) if text]
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            name=name,
            title=f"Unrolled {name}".strip(),
            policy=policy(scripts),
            styles=styles + _text("style.css"),
            machines=[_machine(facts, number) for number in range(len(facts.machines))],
            sections=parts,
            choices=_choices(parts),
            charts={figure.name: bundles.island(themed(figure.spec)) for figure in drawn.values()},
            vega=vega,
            datatables=datatables,
            script=script,
        )
    )


def policy(scripts: Sequence[str]) -> str:
    """Nothing may be fetched, from anywhere; of scripts only these run, and none may evaluate text."""
    allowed = " ".join(bundles.digest(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _machine(facts: Facts, at: int) -> dict[str, Any]:
    """Its name, and whether it was quiet while its rows were timed."""
    machine = facts.machines[at]
    timed = [row for row in machine.rows if any(record["status"] == "ok" for record in row.bench)]
    words = [facts.quiet(row) for row in timed]
    word = max(words, key=QUIET.index, default="")
    if not word:
        return {
            "number": machine.number,
            "name": machine.name,
            "mark": "skipped",
            "verdict": "○ nothing was timed",
        }
    said = {
        "quiet": "quiet while timed",
        "not quiet": f"not quiet while timed: {facts.reasons(machine)}; not publishable",
        "not watched": "not watched while timed: whether it was quiet is unknown",
    }[word]
    part = "" if len(set(words)) == 1 else f"{words.count(word)} of {len(words)} rows: "
    verdict = f"{SYMBOLS[word]} {part}{said}"
    return {"number": machine.number, "name": machine.name, "mark": MARKS[word], "verdict": verdict}


def _choices(parts: Sequence[Section]) -> dict[str, list[str]]:
    """The filters, that of machines only where there are several."""
    found = choices([table for part in parts for table in part.tables])
    return {name: values for name, values in found.items() if name != "machine" or len(values) > 1}


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
