"""From records to curves: the newest of each row, judged anew from its numbers, with the gate's word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.rows import PROVEN_AS
from results.record import Record, canonical, decoded
from results.store import age

Floats = npt.NDArray[np.float64]

CURVES = {  # of each diagnostic, in the order of a page
    "distance": {"gradient norm"},
    "clipping": {"before", "after"},
    "states": {"PC 1", "PC 2", "explained"},
}
CELLS = ("rnn", "lstm", "gru")  # likewise; others after them
OF_NUMBERS = ("source", "lock", "versions", "hardware_hash")  # what a proof and a row must have in common


@dataclass(frozen=True)
class Point:
    """A point of a row's curve beside the oracle's."""

    difference: float  # relative; NaN where the value is none
    tolerance: float  # NaN where nothing can be told
    ratio: float  # of the two: above 1 is too much
    rule: str
    where: str  # "scale 1.5, gradient norm at distance 40"


@dataclass(frozen=True)
class Judged:
    """One row of a diagnostic beside the oracle."""

    record: Record
    gate: str  # "passed", "not run", ...
    status: str  # "equal", "differs", "void", "not judged", or its record's where there are no curves
    difference: float = 0.0  # the largest of all judged points, relative
    worst: Point | None = None  # nearest to its tolerance, or farthest past it
    judged: int = 0
    points: int = 0

    def __getitem__(self, name: str) -> str:
        """A field of the row."""
        return str(self.record["row"][name])

    @property
    def diagnostic(self) -> str:
        """Which one it is of."""
        return str(self.record["body"]["diagnostic"])

    @property
    def name(self) -> str:
        """The row in words."""
        return f"{self['implementation']} {self['variant']}"

    @property
    def cases(self) -> list[dict[str, Any]]:
        """What it was asked and what it answered; nothing where it could not."""
        found: list[dict[str, Any]] = self.record["body"].get("cases", [])
        return found


def judged(records: Iterable[Record]) -> list[Judged]:
    """Each row of each diagnostic, in a fixed order."""
    every = sorted(records, key=age)
    newest = {canonical(record["row"]): record for record in every if record["kind"] == "diagnostics"}
    proofs = [record for record in every if record["kind"] == "parity"]
    odd = other_questions(list(newest.values()))
    found = [judge(record, gate(record, proofs), record["id"] in odd) for record in newest.values()]
    return sorted(found, key=place_of)


def place_of(row: Judged) -> tuple[int, int, str]:
    """Where a row stands in every table and figure."""
    cell = CELLS.index(row["cell"]) if row["cell"] in CELLS else len(CELLS)
    return [*CURVES].index(row.diagnostic), cell, canonical(row.record["row"])


def gate(record: Record, proofs: Sequence[Record]) -> str:
    """What the newest climb of this row came to: of those at hand, else the one that its record tells of."""
    for proof in reversed(proofs):
        same = all(proof["row"][name] == record["row"][name] for name in PROVEN_AS)
        if same and all(proof["provenance"][name] == record["provenance"][name] for name in OF_NUMBERS):
            return str(proof["status"])
    return str(record["body"]["gate"]["status"])


def other_questions(records: Sequence[Record]) -> set[str]:
    """Ids of the records whose weights or data are not those of most; of all where no majority agrees."""
    asked: dict[tuple[str, ...], dict[str, str]] = {}
    for record in records:
        row = record["row"]
        for case in record["body"].get("cases", []):
            key = (record["body"]["diagnostic"], row["cell"], str(row["seed"]), case["case"])
            asked.setdefault(key, {})[record["id"]] = case["digest"]
    odd: set[str] = set()
    for digests in asked.values():
        first, *others = Counter(digests.values()).most_common()
        agreed = first[0] if not others or first[1] > others[0][1] else None
        odd |= {name for name, digest in digests.items() if digest != agreed}
    return odd


def judge(record: Record, gate: str, odd: bool) -> Judged:
    """The row beside the oracle's curves that its record holds."""
    if record["status"] != "ok":
        return Judged(record, gate, record["status"])
    known = CURVES[record["body"]["diagnostic"]]
    if odd or not all(fits(case, known) for case in record["body"]["cases"]):
        return Judged(record, gate, "void")
    found = [beside(case, curve) for case in record["body"]["cases"] for curve in case["curves"]]
    points = [point for curve in found for point in curve]
    told = [point for point in points if not np.isnan(point.tolerance)]
    if not told:
        return Judged(record, gate, "not judged", points=len(points))
    worst = max(told, key=lambda point: np.inf if np.isnan(point.ratio) else point.ratio)
    largest = max(told, key=lambda point: np.inf if np.isnan(point.difference) else point.difference)
    status = "equal" if worst.ratio <= 1 else "differs"
    return Judged(record, gate, status, largest.difference, worst, len(told), len(points))


def beside(case: dict[str, Any], curve: dict[str, Any]) -> list[Point]:
    """Each point of a curve beside the oracle's; of one that is judged whole, one."""
    found, allowed = errors(curve), tolerances(curve)
    shares = relative(found, allowed)
    return [
        Point(float(found[k]), float(allowed[k]), float(shares[k]), case["rule"], place(case, curve, k))
        for k in range(len(found))
    ]


def fits(case: dict[str, Any], known: set[str]) -> bool:
    """Whether every curve is there, with a value, a reference and, unless it is judged whole, a tolerance a
    point."""
    n = len(case["at"])
    if "explained" in known and "label" not in case["labels"]:
        return False
    return {curve["curve"] for curve in case["curves"]} == known and all(
        len(curve["values"]) == len(curve["reference"]) == (2 if curve["curve"] == "explained" else n)
        and len(curve["tolerance"]) in (1, len(curve["values"]))
        and all(len(label) == n for label in case["labels"].values())
        for curve in case["curves"]
    )


def curve_of(case: dict[str, Any], name: str) -> dict[str, Any]:
    """The curve of that name."""
    found: dict[str, Any] = next(curve for curve in case["curves"] if curve["curve"] == name)
    return found


def errors(curve: dict[str, Any]) -> Floats:
    """The relative difference from the oracle at each point; of a curve that is judged whole [1].

    Of a whole the larger of ||a - b||_2 / ||b||_2 and max|a - b| / max|b|, as the gate's comparator has it.
    Where the oracle is zero a row that is not is infinitely far.
    """
    got, want = values(curve), np.array(curve["reference"], float)
    apart = np.abs(got - want)
    if len(curve["tolerance"]) == len(got):
        return relative(apart, np.abs(want))
    sizes = np.array([np.linalg.norm(want), np.abs(want).max()])
    return np.atleast_1d(relative(np.array([np.linalg.norm(apart), apart.max()]), sizes).max())


def relative(apart: Floats, size: Floats) -> Floats:
    """apart / size, 0 / 0 being 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(apart == 0, 0.0, apart / size)
    return found


def values(curve: dict[str, Any]) -> Floats:
    """The row's own."""
    return np.array([decoded(value) for value in curve["values"]], float)


def tolerances(curve: dict[str, Any]) -> Floats:
    """Of each point, or of the whole [1]; NaN where nothing can be told."""
    return np.array(curve["tolerance"], float)


def place(case: dict[str, Any], curve: dict[str, Any], at: int) -> str:
    """Which point, in words."""
    whole = len(curve["tolerance"]) == 1
    return f"{case['case']}, {curve['curve']}" + ("" if whole else f" at {case['at_name']} {case['at'][at]}")


def references(rows: Sequence[Judged], diagnostic: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By cell and seed the cases as the oracle answers them, from the first row that can be shown: NumPy's
    where it is there, for the oracle is NumPy's."""
    shown = [row for row in rows if row.diagnostic == diagnostic and row.status in ("equal", "differs")]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(
        shown, key=lambda row: (place_of(row)[:2], int(row["seed"]), row["implementation"] != "numpy")
    ):
        cases = found.setdefault((row["cell"], row["seed"]), [])
        cases += [case for case in row.cases if case["case"] not in [known["case"] for known in cases]]
    return found
