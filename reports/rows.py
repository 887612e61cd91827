"""From records to rows: the newest of each, on one hardware, with the gate's verdict."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from results.record import Record, canonical
from results.store import age

TRAJECTORY = 5  # the level at which a row trains
PROVEN_AS = ("implementation", "variant", "task", "cell", "dtype", "device", "data")


@dataclass(frozen=True)
class Row:
    """What the newest records say of one row on one hardware."""

    parity: Record | None
    bench: tuple[Record, ...]
    memory: tuple[Record, ...]
    training: tuple[Record, ...]  # to quality
    quiet: tuple[Record, ...] = ()  # the machine beside its groups
    diagnostics: tuple[Record, ...] = ()
    repeated: tuple[Record, ...] = ()  # earlier climbs under the key of ``parity``: must be equal to the bit
    void: bool = False  # its data or weights are not those of the other implementations
    verdict: str = ""  # why it may not be shown with numbers; empty where it may
    proven_at: str = ""  # which other size the gate was passed at; empty: at its own

    @property
    def records(self) -> tuple[Record, ...]:
        """All of them."""
        return (
            *([self.parity] if self.parity else []),
            *self.repeated,
            *self.bench,
            *self.memory,
            *self.training,
            *self.quiet,
            *self.diagnostics,
        )

    @functools.cached_property
    def memo(self) -> dict[Any, Any]:
        """What was computed of it: tables, figures and pages share what takes long."""
        return {}

    @property
    def any(self) -> Record:
        """One of them: row, spec, source and hardware are the same in each."""
        return self.records[0]

    def __getitem__(self, name: str) -> str:
        """A field of the row: ``row["cell"]``."""
        return str(self.any["row"][name])

    @property
    def hardware(self) -> str:
        """Hash of the machine it ran on."""
        return str(self.any["provenance"]["hardware_hash"])


def select(records: Iterable[Record]) -> tuple[list[Row], int]:
    """The rows, sorted, and how many older records of the same rows were left out."""
    of_row: dict[tuple[str, str], list[Record]] = defaultdict(list)
    total = 0
    for record in records:
        if record["kind"] == "calibration":  # it is what the gate rests on, and of no row
            continue
        of_row[record["provenance"]["hardware_hash"], canonical(record["row"])].append(record)
        total += 1
    rows = [_newest(group) for group in of_row.values()]
    void = void_rows(rows)
    rows = [replace(row, void=_identity(row) in void) for row in rows]
    rows = sorted((_judged(row, rows) for row in rows), key=_identity)
    return rows, total - sum(len(row.records) for row in rows)


def void_rows(rows: Sequence[Row]) -> set[tuple[str, str]]:
    """The rows whose digest of data and weights is not that of most implementations.

    One vote an implementation; where no digest has more votes than every other, all are void.
    """
    cases: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if digest(row):
            cases[row.any["fingerprint"], row["seed"]].append(row)
    void: set[tuple[str, str]] = set()
    for members in cases.values():
        votes = Counter(found for _, found in {(row["implementation"], digest(row)) for row in members})
        first, *others = votes.most_common()
        agreed = first[0] if not others or first[1] > others[0][1] else None
        void |= {_identity(row) for row in members if digest(row) != agreed}
    return void


def digest(row: Row) -> str:
    """Of data and weights, from level 0; empty where the gate did not get there."""
    return str(row.parity["body"].get("digest", "")) if row.parity else ""


def threads(record: Record) -> str:
    """The threads that were read back: the number the setting begins with, or "unknown"."""
    found = re.match(r"\d+", str(record["body"].get("settings", {}).get("threads", "")))
    return found.group() if found else "unknown"


def _newest(group: list[Record]) -> Row:
    """Only records of the newest spec, source, lock and versions; of repetitions the last."""
    group = sorted(group, key=age)
    kept: list[Record] = []
    for record in group:
        if version(record) == version(group[-1]):
            kept = [older for older in kept if not _superseded(older, record)] + [record]
    parity = [record for record in kept if record["kind"] == "parity"]
    return Row(
        parity=parity[-1] if parity else None,
        repeated=tuple(record for record in group if parity and _repeats(record, parity[-1])),
        bench=tuple(record for record in kept if record["kind"] == "bench"),
        memory=tuple(record for record in kept if record["kind"] == "memory"),
        training=tuple(record for record in kept if record["kind"] == "training"),
        quiet=tuple(record for record in kept if record["kind"] == "quiet"),
        diagnostics=tuple(record for record in kept if record["kind"] == "diagnostics"),
    )


def trajectory(record: Record) -> dict[str, Any] | None:
    """Level 5 of a climb, where it says how the training went."""
    levels: list[dict[str, Any]] = record["body"].get("levels", [])
    return next((level for level in levels if level["level"] == TRAJECTORY and "repeat" in level), None)


def _repeats(older: Record, record: Record) -> bool:
    """Whether an older climb trained the same under the same key: its losses must then be equal."""
    if older is record or older["kind"] != "parity" or trajectory(older) is None:
        return False
    return bool(older["key"] == record["key"] and version(older) == version(record))


def _superseded(older: Record, record: Record) -> bool:
    """Whether the later record repeats the older one. Another number of threads is no repetition, but of
    a training, whose result it is not; a failure, which may have come before the threads were set, is one
    whatever its threads."""
    if older["kind"] != record["kind"] or older["body"].get("pass") != record["body"].get("pass"):
        return False
    if record["kind"] == "quiet":  # another moment
        return False
    if record["kind"] in ("training", "diagnostics"):
        return True
    return threads(older) == threads(record) or older["status"] != "ok" or record["status"] != "ok"


def version(record: Record) -> tuple[str, str, str, str]:
    origin = record["provenance"]
    # A lock binds only an environment made from it; the versions are what was there.
    return record["fingerprint"], origin["source"], origin["lock"], canonical(origin["versions"])


def _identity(row: Row) -> tuple[str, str]:
    return row.hardware, canonical(row.any["row"])


def _judged(row: Row, rows: Sequence[Row]) -> Row:
    """The row with the gate's verdict: from its own parity, or from the same code at another size."""
    if row.parity is not None:
        return replace(row, verdict=_verdict(row))
    same = [other for other in rows if other.parity is not None and _same_code(row, other)]
    refused = [text for text in map(_verdict, same) if text]
    if not same or refused:
        return replace(row, verdict=refused[0] if refused else "parity missing")
    places = sorted({f"{other['size']}, T = {other['length']}" for other in same})
    return replace(row, proven_at="; ".join(places))


def _same_code(row: Row, other: Row) -> bool:
    """One implementation, source, lock and versions on one machine, at another size or seed."""
    return (
        row.hardware == other.hardware
        and all(row[name] == other[name] for name in PROVEN_AS)
        and version(row.any)[1:] == version(other.any)[1:]
    )


def _verdict(row: Row) -> str:
    if row.void:
        return "void, data or weights differ"
    status = row.parity["status"] if row.parity else "missing"
    return "" if status == "passed" else f"parity {status}"
