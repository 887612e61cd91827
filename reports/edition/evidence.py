"""What the records say of the functions of an entry: how well they are proven, how fast they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.edition.contents import Entry, Proof
from reports.machines import machines
from reports.measured import Group, Timing
from reports.rows import Row
from reports.statistics import cut, decimals, in_words
from reports.tables import first_failed, ratio
from results import ids
from results.record import Record, decoded

NAMED = 3  # rows that fall off the ladder and are named


@dataclass(frozen=True)
class Number:
    """A line of evidence."""

    label: str
    text: str
    verdict: str  # "passed", "failed", "deviates", or "" for a timing
    detail: str
    record: Record
    what: str  # the kind of number, for its id

    @property
    def id(self) -> str:
        """Names the number in every report, and to ``nox -s reproduce``."""
        return ids.of(self.record, self.what)

    @property
    def file(self) -> str:
        """The record's file among published ones."""
        return f"{self.record['kind']}-{self.record['id']}.json"

    @property
    def source(self) -> str:
        """Hash of the code that it is of."""
        return str(self.record["provenance"]["source"])


class Evidence:
    """The rows of a report, asked for one framework and one entry at a time."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.machines = machines(rows)
        self.found: dict[str, list[tuple[Group, Timing]]] = {}  # by kind of work: resampling takes its time

    def proofs(self, framework: str, proof: Proof) -> list[Number]:
        """A line for each dtype: of the row nearest to its tolerance, or past it."""
        asked = [row for row in self.rows if row["implementation"] == framework and _asked(row, proof)]
        dtypes = sorted({row["dtype"] for row in asked}, reverse=True)
        found = [_proof(dtype, [row for row in asked if row["dtype"] == dtype], proof) for dtype in dtypes]
        return [number for number in found if number is not None]

    def speeds(self, framework: str, entry: Entry) -> list[Number]:
        """A line for each question in which the functions were timed."""
        if entry.times is None:
            return []
        if entry.times not in self.found:
            self.found[entry.times] = [
                (group, timing)
                for machine in self.machines
                for group, timed in machine.timed(entry.times)
                for timing in timed
            ]
        return [
            self._speed(group, timing, entry)
            for group, timing in self.found[entry.times]
            if timing.row["implementation"] == framework and _asked(timing.row, entry.proof)
        ]

    def sources(self, framework: str) -> set[str]:
        """Hashes of the framework's code in these records."""
        rows = [row for row in self.rows if row["implementation"] == framework]
        return {str(row.any["provenance"]["source"]) for row in rows}

    def _speed(self, group: Group, timing: Timing, entry: Entry) -> Number:
        row, record = timing.row, timing.records[0]
        tokens = record["body"]["tokens_per_decode" if entry.times == "decode" else "tokens_per_step"]
        step, floor = timing.step, timing.over_floor()
        rates = [tokens / step.value, tokens / step.high, tokens / step.low]
        places = decimals(*rates)
        value, low, high = (cut(rate, places) for rate in rates)
        cell = [] if entry.proof.cell else [row["cell"]]
        machine = [row.any["provenance"]["hardware"]["cpu"]] if len(self.machines) > 1 else []
        label = " ".join([row["task"], *cell, row["size"]])
        where = [row["dtype"], row["device"], f"{group.threads} threads", *machine]
        ratio_text = f"; {in_words(floor)} times the GEMM floor" if floor else ""
        return Number(
            label=f"{label} ({', '.join(where)})",
            text=f"{value} tokens/s",
            verdict="",
            detail=f"{low} to {high}{ratio_text}",
            record=record,
            what=entry.times or "",
        )


def _asked(row: Row, proof: Proof) -> bool:
    """Whether the row runs the functions that the proof is of."""
    spec: Mapping[str, Any] = row.any["spec"]
    return (
        row["variant"] == proof.variant
        and proof.cell in (None, row["cell"])
        and all(str(spec["model"].get(name)) == value for name, value in proof.model.items())
        and proof.optimiser in (None, spec.get("training", {}).get("optimiser"))
    )


def _proof(dtype: str, rows: Sequence[Row], proof: Proof) -> Number | None:
    """Of these rows at the proof's level, or at all; None where none got there."""
    climbed = [(row, row.parity) for row in rows if row.parity is not None]
    lost = [(row, record) for row, record in climbed if _lost(row, record, proof)]
    passed = [
        (level, record)
        for row, record in climbed
        if not any(row is other for other, _ in lost)
        for level in _levels(record, proof)
    ]
    if lost:
        return _fallen(dtype, lost, len(climbed))
    if not passed:
        return None
    level, record = max(passed, key=lambda found: (ratio(found[0]), found[1]["row"]["task"]))
    count = len({record["id"] for _, record in passed})
    return Number(
        label=dtype,
        text=f"proven in {count} row{'s' if count > 1 else ''}",
        verdict="passed",
        detail=_nearest(level, record, proof),
        record=record,
        what="parity",
    )


def _levels(record: Record, proof: Proof) -> list[Mapping[str, Any]]:
    levels: list[Mapping[str, Any]] = record["body"]["levels"]
    return [level for level in levels if proof.level in (None, level["level"])]


def _lost(row: Row, record: Record, proof: Proof) -> bool:
    """Whether the row is no proof, though it was put to the gate: void, or fallen at or before the level."""
    if row.void:
        return True
    if record["status"] not in ("failed", "deviates"):
        return False
    fell = first_failed(record)
    return proof.level is None or fell is None or bool(fell["level"] <= proof.level)


def _fallen(dtype: str, lost: Sequence[tuple[Row, Record]], of: int) -> Number:
    """Failed rows before those that deviate, as a reader should see them."""
    failed = [(row, record) for row, record in lost if row.void or record["status"] == "failed"]
    shown = failed or lost
    names = [_fall(row, record) for row, record in shown[:NAMED]]
    more = [f"and {len(shown) - NAMED} more"] if len(shown) > NAMED else []
    verdict = "failed" if failed else "deviates"
    return Number(
        label=dtype,
        text=f"{verdict} in {len(shown)} of {of} row{'s' if of > 1 else ''}",
        verdict=verdict,
        detail="; ".join([*names, *more]),
        record=shown[0][1],
        what="parity",
    )


def _fall(row: Row, record: Record) -> str:
    where = f"{row['task']} {row['cell']}"
    if row.void:
        return f"{where}: void, data or weights differ"
    if record["status"] == "deviates":
        return f"{where}: {record['body'].get('deviation', {}).get('id', record['reason'])}"
    level = first_failed(record)
    return (
        f"{where}: {record['reason']}"
        if level is None
        else f"{where}: level {level['level']}, {level['tensor']}"
    )


def _nearest(level: Mapping[str, Any], record: Record, proof: Proof) -> str:
    """Of the level nearest to its tolerance: how near, and where."""
    row = record["row"]
    if level["error"] is None:
        return f"{level['status']} ({row['task']} {row['cell']})"
    error = decoded(level["error"])
    where = [f"level {level['level']}, {level['name']}", row["task"], *([] if proof.cell else [row["cell"]])]
    if error == 0:
        return "no difference"
    share = f"{ratio(level):.2g} of its tolerance"
    return f"at most {share} ({', '.join(where)}: {error:.1e} of {level['tolerance']:.1e})"
