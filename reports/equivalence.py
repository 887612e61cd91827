"""Level 6, quality equivalence: trained over the same seeds, is a row as good as the reference?

The reference is the oracle's own training, NumPy's scratch loop; where it was not trained, the first row
by name. Paired by seed, d = metric(row) - metric(reference) after the last step goes to the tests of
``tost.py``, with the margin that the spec states: it is in the record's fingerprint, so it was stated
before the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.markdown import NOTHING, escape
from reports.quality import metric
from reports.rows import Row, version
from reports.tables import WHO, asked, who
from reports.tost import LEAST, paired
from results.record import Record
from results.store import age

REFERENCE = ("numpy", "scratch")
TINY_P = 1e-4
MOST = 1e300  # that a margin can be: suites/tasks/task.schema.json


@dataclass(frozen=True)
class Series:
    """One row, trained over seeds."""

    row: Row  # of its newest seed
    record: Record  # likewise
    values: dict[int, float]  # by seed: the held-out metric after the last step
    failed: list[int]  # seeds whose training has no result: diverged, crashed, not proven
    older: list[int]  # seeds of another source, lock or versions than the newest

    @property
    def name(self) -> str:
        """Who it is, in words."""
        return " ".join(self.row[part] for part in WHO)


def equivalence(rows: Sequence[Row]) -> pd.DataFrame:
    """A line for each row but the reference, of every spec and dtype that several rows were trained at."""
    return pd.DataFrame(_line(series, reference) for series, reference in compared(rows))


def compared(rows: Sequence[Row]) -> list[tuple[Series, Series]]:
    """Each row but the reference, beside the reference."""
    found = []
    for members in groups(rows):
        reference = next(
            (m for m in members if (m.row["implementation"], m.row["variant"]) == REFERENCE), None
        )
        reference = reference or members[0]
        found += [(member, reference) for member in members if member is not reference]
    return found


def differences(series: Series, reference: Series) -> list[float]:
    """Of the held-out metric, seed by seed."""
    both = sorted(series.values.keys() & reference.values.keys())
    return [series.values[seed] - reference.values[seed] for seed in both]


def groups(rows: Sequence[Row]) -> list[list[Series]]:
    """What was trained at one spec and dtype, by name; no group of one."""
    same: dict[tuple[str, str], dict[tuple[str, ...], list[tuple[Row, Record]]]] = {}
    for row in rows:
        for record in row.training:
            question = same.setdefault((record["fingerprint"], row["dtype"]), defaultdict(list))
            question[tuple(row[part] for part in WHO)].append((row, record))
    return [
        [_series(found) for _, found in sorted(question.items())]
        for question in same.values()
        if len(question) > 1
    ]


def _series(trained: Sequence[tuple[Row, Record]]) -> Series:
    row, newest = max(trained, key=lambda pair: age(pair[1]))
    values, failed, older = {}, [], []
    for of_seed, record in trained:
        seed = int(of_seed["seed"])
        if version(record) != version(newest):
            older.append(seed)
        elif of_seed.verdict or record["status"] != "ok":
            failed.append(seed)
        else:
            values[seed] = float(record["body"]["curve"][-1]["held_out"])
    return Series(row, newest, values, failed, older)


def _line(series: Series, reference: Series) -> dict[str, str]:
    both = sorted(series.values.keys() & reference.values.keys())
    ours, theirs = ([side.values[seed] for seed in both] for side in (series, reference))
    return {
        **asked(series.row),
        **who(series.row),
        "reference": escape(reference.name),
        "seeds": f"{len(both)} ({_spans(both)})" if both else "0",
        "metric": _metric(series, reference),
        "mean": _mean(ours),
        "of the reference": _mean(theirs),
        **_cells(differences(series, reference), series, reference),
    }


def _cells(differences: Sequence[float], series: Series, reference: Series) -> dict[str, str]:
    """The difference, the margin, p and the verdict, as far as there are any."""
    margin = stated_margin(series.record)
    notes = _notes(series, reference)
    shown = {"difference [90 %]": NOTHING, "margin": f"{margin:.4g}" if margin else NOTHING, "p": NOTHING}
    if len(differences) < LEAST:
        return {**shown, "verdict": "; ".join([f"too few seeds ({len(differences)})", *notes])}
    test = paired(differences)
    shown["difference [90 %]"] = f"{test.mean:.3g} [{test.low:.3g}, {test.high:.3g}]"
    if margin is None:
        return {**shown, "verdict": "; ".join(["no margin stated", *notes])}
    shown["p"] = _p(test.p(margin))
    verdict = test.verdict(margin)
    if verdict == "equivalent":
        lost = series.failed or reference.failed
        verdict = "not shown" if lost else f"equivalent within {margin:.4g}"
    return {**shown, "verdict": "; ".join([verdict, *notes])}


def _notes(series: Series, reference: Series) -> list[str]:
    """Every seed that is not in the pairs, and why."""
    notes = []
    for side, other, whose in ((series, reference, ""), (reference, series, " of the reference")):
        if side.failed:
            notes.append(f"no result{whose}: seed {_spans(side.failed)}")
        if side.older:
            notes.append(f"of another source, lock or versions{whose}: seed {_spans(side.older)}")
        absent = set(other.values) - set(side.values) - set(side.failed) - set(side.older)
        if absent:
            notes.append(f"not trained{whose}: seed {_spans(absent)}")
    return notes


def _spans(seeds: Iterable[int]) -> str:
    """``0-7, 9``"""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][-1] + 1:
            spans[-1][1:] = [seed]
        else:
            spans.append([seed])
    return ", ".join("-".join(map(str, span)) for span in spans)


def stated_margin(record: Record) -> float | None:
    """What the spec states; None where it states none."""
    margin = record["spec"].get("margin")
    stated = isinstance(margin, int | float) and 0 < margin <= MOST
    return float(margin) if stated else None


def _metric(*sides: Series) -> str:
    """The task's own; of trainings that came to nothing it is not known."""
    bodies: list[dict[str, Any]] = [side.record["body"] for side in sides if "metric" in side.record["body"]]
    return metric(bodies[0]) if bodies else NOTHING


def _mean(values: Sequence[float]) -> str:
    return f"{sum(value / len(values) for value in values):.4g}" if values else NOTHING


def _p(p: float) -> str:
    return f"< {TINY_P:g}" if p < TINY_P else f"{p:.2g}"
