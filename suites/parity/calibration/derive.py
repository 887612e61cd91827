"""The constants of ``tolerances.toml`` from calibration records alone.

The rule, one for all: a constant is the smallest of the series 1, 1.5, 2, 3, 4, 5, 6, 7, 8 x 10^k that is at
least ``calibration.<dtype>`` times the largest honest statistic of all comparisons.

Why the largest, and no quantile: one comparison above its tolerance among millions is a
false alarm, so the tail is what counts. Why a multiple: the seeds are exchangeable, so one more
seed passes the largest of n with a chance of 1 / (n + 1) at most, whatever the distribution;
the factor is for the frameworks' next releases and other processors. That a constant is not
too wide is proven elsewhere: ``suites/parity/mutants``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from results.record import Record
from results.store import age
from suites.parity.calibration.errors import CONSTANTS
from suites.parity.calibration.measure import KIND, failures
from suites.parity.tolerances import CALIBRATION_MARGINS, constant

SERIES = (1, 1.5, 2, 3, 4, 5, 6, 7, 8)
LOOSE = 5  # times what is derived, that a constant may be at most


@dataclass(frozen=True)
class Derived:
    """What the records say of one constant."""

    name: str
    stated: float  # in tolerances.toml
    comparisons: int
    rows: int
    quantile: float  # 0.999 of the statistic, to the power of two above
    largest: float
    whose: str  # the row and the comparison of the largest
    derived: float  # 0 where no comparison erred

    @property
    def problem(self) -> str:
        """Why the stated constant cannot stay; empty where it can."""
        if self.derived == 0:
            return "rests on no error that was measured"
        if self.stated < self.derived:
            return "below what the records support"
        if self.stated > LOOSE * self.derived:
            return f"more than {LOOSE} times what the records support"
        return ""


def counting(records: list[Record]) -> list[Record]:
    """Of calibration records the newest of each row and its seeds."""
    newest: dict[str, Record] = {}
    for record in sorted((record for record in records if record["kind"] == KIND), key=age):
        asked = [entry["seed"] for entry in record["body"]["seeds"]], record["body"]["top"]
        newest[f"{record['row']} {asked}"] = record
    return list(newest.values())


def derive(records: list[Record]) -> list[Derived]:
    """Every constant, from the records of rows that are not stated to deviate."""
    sound = [record for record in records if record["status"] != "deviates"]
    return [_derived(name, list(_distributions(sound, name))) for name in CONSTANTS]


def supported(name: str, largest: float) -> float:
    """The rule: the smallest of the series that is at least the margin times this; 0 of 0."""
    return _ceiling(CALIBRATION_MARGINS[name.split(".")[0]] * largest) if largest > 0 else 0.0


def per_seed(records: list[Record]) -> dict[int, float]:
    """Per seed the largest error / tolerance of all rows: what one further run of the gate would meet."""
    largest: dict[int, float] = {}
    for record in records:
        for entry in record["body"]["seeds"] if record["status"] != "deviates" else []:
            largest[entry["seed"]] = max(entry.get("ratio", 0.0), largest.get(entry["seed"], 0.0))
    return dict(sorted(largest.items()))


def alarms(records: list[Record]) -> list[tuple[Record, dict[str, Any]]]:
    """Every false alarm: the row, and the seed's entry."""
    return [(r, entry) for r in records if r["status"] == "failed" for entry in failures(r["body"])]


def kappas(records: list[Record]) -> tuple[float, str]:
    """The largest condition number of all, and whose it is."""
    found = [
        (value, f"{record['row']['task']} {record['row']['cell']}, {name}")
        for record in records
        for name, value in record["body"].get("kappa", {}).items()
    ]
    return max(found, default=(0.0, "none measured"))


def refusals(records: list[Record]) -> dict[str, str]:
    """Every fixture that was refused, and why."""
    return {
        f"{record['row']['task']} {record['row']['cell']}, seed {entry['seed']}": entry["text"]
        for record in records
        for entry in record["body"]["seeds"]
        if entry["status"] == "refused"
    }


def _distributions(records: list[Record], name: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    for record in records:
        for level in record["body"]["levels"]:
            if _constant(level) == name:
                yield record, level


def _constant(level: dict[str, Any]) -> str:
    """What decides a level's comparisons: of older records factor, where a trajectory has its own since."""
    name: str = level["constant"]
    return name.replace(".factor", ".trajectory") if level["level"] == 5 else name


def _derived(name: str, found: list[tuple[Record, dict[str, Any]]]) -> Derived:
    histogram: Counter[str] = Counter()
    for _, level in found:
        histogram.update(level["histogram"])
    worst = max(found, key=lambda pair: pair[1]["statistic"][-1], default=None)
    largest = worst[1]["statistic"][-1] if worst else 0.0
    return Derived(
        name,
        constant(name),
        comparisons=sum(histogram.values()),
        rows=len({record["id"] for record, _ in found}),
        quantile=_quantile(histogram, 0.999),
        largest=largest,
        whose=_whose(*worst) if worst else "",
        derived=supported(name, largest),
    )


def _whose(record: Record, level: dict[str, Any]) -> str:
    row, worst = record["row"], level["worst"]
    about = f"{row['implementation']} {row['variant']}, {row['task']} {row['cell']}"
    return f"{about}, level {level['level']}: {worst['tensor']}, {worst['where']}, seed {worst['seed']}"


def _quantile(histogram: Counter[str], share: float) -> float:
    """The power of two below which at least this share lies; 0 where all of it is zero."""
    below, wanted = histogram["zero"], share * sum(histogram.values())
    if below >= wanted:
        return 0.0
    exponents = np.array(sorted(int(k) for k in histogram if k != "zero"))
    counts = below + np.cumsum([histogram[str(k)] for k in exponents])
    return float(2.0 ** exponents[int(np.argmax(counts >= wanted))])


def _ceiling(value: float) -> float:
    """The smallest of the series that is at least the value; a rounding above one counts as it."""
    decade = math.floor(math.log10(value))
    candidates = [float(f"{digit}e{k}") for k in (decade, decade + 1) for digit in SERIES]
    return next(candidate for candidate in candidates if candidate >= value * (1 - 1e-9))
