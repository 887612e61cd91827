"""The tables of the diagnostics; cells are Markdown, and what comes from records is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.diagnostics.curves import Floats, Judged, curve_of, judged, references
from reports.markdown import NOTHING, brief, escape
from results.record import Record

TEXT = (
    "Each curve is compared with the float64 oracle's, from the same weights over the same batches, under "
    "the constants of the gate; kappa, or the oracle's own float32 error, is measured point by point. A cell "
    "tells the largest relative difference, in brackets its largest share of a tolerance: up to 1 is equal. "
    "*Gate*: what the rows' climbs of the parity ladder came to."
)
SHOWN = (1, 10, 20, 30)  # distances of the table
ROUNDINGS = 2e-6  # relative, of norms to six digits


def tables(records: Iterable[Record]) -> dict[str, pd.DataFrame]:
    """By title, of one machine; a diagnostic without records gives none."""
    rows = judged(records)
    found = {
        "Equal to the oracle": equality(rows),
        "Gradient norm against distance": distances(rows),
        "Gradient norm before and after clipping": clipped(rows),
        "Hidden states on two principal components": states(rows),
        "What differs or is missing": exceptions(rows),
    }
    return {title: frame for title, frame in found.items() if not frame.empty}


def equality(rows: Sequence[Judged]) -> pd.DataFrame:
    """A line an implementation, variant, device and dtype; a column a diagnostic and cell."""
    lines: dict[tuple[str, ...], dict[str, list[str]]] = {}
    more: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
    columns: dict[str, None] = {}
    for row in rows:
        who = tuple(escape(row[name]) for name in ("implementation", "variant", "device", "dtype"))
        column = escape(f"{row.diagnostic}, {row['cell']}")
        columns[column] = None
        lines.setdefault(who, {}).setdefault(column, []).append(verdict(row))
        rules, gates = more.setdefault(who, (set(), set()))
        rules |= {case["rule"] for case in row.cases}
        gates.add(row.gate)
    return pd.DataFrame(
        [
            dict(zip(("implementation", "variant", "device", "dtype"), who, strict=True))
            | {column: "; ".join(cells.get(column, [NOTHING])) for column in columns}
            | {
                name: escape("; ".join(sorted(texts)))
                for name, texts in zip(("tolerance", "gate"), more[who], strict=True)
            }
            for who, cells in sorted(lines.items())
        ]
    )


def verdict(row: Judged) -> str:
    """One cell: the largest difference and its share of a tolerance, or why there is none."""
    if row.worst is None:
        return escape(row.status)
    size = "equal to the bit" if row.difference == 0 else f"{row.difference:.1e} ({row.worst.ratio:.2g})"
    text = size if row.status == "equal" else f"**differs**: {size}"
    return text + ("" if row.judged == row.points else f", {row.judged} of {row.points} points judged")


def exceptions(rows: Sequence[Judged]) -> pd.DataFrame:
    """A line for each row that is not the oracle's equal: where it is farthest, or why it has no curves."""
    return pd.DataFrame(
        [
            {
                "diagnostic": escape(f"{row.diagnostic}, {row['cell']}"),
                "row": escape(f"{row.name} {row['dtype']} {row['device']}"),
                "what": told(row),
            }
            for row in rows
            if row.status != "equal"
        ]
    )


def told(row: Judged) -> str:
    """Why a row is not the oracle's equal."""
    if row.status == "void":
        return "void: its weights or data are not those of most rows, or its curves are not whole"
    if row.worst is None:
        return (
            f"{escape(row.status)}: {brief(row.record['reason'] or 'past what can be told, at every point')}"
        )
    limit = f"its tolerance {row.worst.tolerance:.1e} ({row.worst.rule})"
    return escape(f"{row.worst.where}: {row.worst.ratio:.3g} times {limit}")


def distances(rows: Sequence[Judged]) -> pd.DataFrame:
    """A line a cell and scale: the oracle's gradient norm at some distances, and its factor a step."""
    lines = []
    for (cell, seed), cases in references(rows, "distance").items():
        for case in cases:
            norms = dict(zip(case["at"], curve_of(case, "gradient norm")["reference"], strict=True))
            shown = {f"at {k}": f"{norms[k]:.1e}" if k in norms else NOTHING for k in SHOWN}
            lines.append({**asked(cell, seed, case), **shown, "factor a step": f"{factor(norms):.3f}"})
    return pd.DataFrame(lines)


def factor(norms: dict[int, float]) -> float:
    """What the norm is multiplied by at a step, in the geometric mean: below 1 it vanishes."""
    first, last = min(norms), max(norms)
    if not norms[first] > 0 or first == last:
        return float("nan")
    return float((norms[last] / norms[first]) ** (1 / (last - first)))


def clipped(rows: Sequence[Judged]) -> pd.DataFrame:
    """A line a cell: the oracle's norms over a training, and at how many steps the threshold held."""
    lines = []
    for (cell, seed), cases in references(rows, "clipping").items():
        for case in cases:
            before, after = (np.array(curve_of(case, name)["reference"]) for name in ("before", "after"))
            lines.append(
                {
                    **asked(cell, seed, case),
                    "steps": str(len(before)),
                    "clipped at": str(int(clipped_at(before, after).sum())),
                    "largest before": f"{before.max():.3g}",
                    "largest after": f"{after.max():.3g}",
                    "smallest before": f"{before.min():.3g}",
                }
            )
    return pd.DataFrame(lines)


def clipped_at(before: Floats, after: Floats) -> npt.NDArray[np.bool_]:
    """At which steps the threshold held; after was read off a moment, and is some roundings off."""
    return after < before * (1 - ROUNDINGS)


def states(rows: Sequence[Judged]) -> pd.DataFrame:
    """A line a cell: how much of the variance the two components explain, and of how many states."""
    lines = []
    for (cell, seed), cases in references(rows, "states").items():
        for case in cases:
            first, second = curve_of(case, "explained")["reference"]
            lines.append(
                {
                    **asked(cell, seed, case),
                    "states": str(len(case["at"])),
                    "sentences": str(len(set(case["labels"].get("sentence", [])))),
                    "PC 1 explains": f"{100 * first:.1f} %",
                    "PC 2 explains": f"{100 * second:.1f} %",
                }
            )
    return pd.DataFrame(lines)


def asked(cell: str, seed: str, case: dict[str, Any]) -> dict[str, str]:
    """The first columns."""
    return {"cell": escape(cell), "case": escape(case["case"]), "seed": escape(seed)}
