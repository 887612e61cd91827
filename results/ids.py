"""A short stable name for every number of a report, and the way back from it to the records.

An id is a hash of what makes the number what it is (row, spec, source, lock, versions,
hardware, threads), then what was measured: ``3f09c2ab71-train``. It comes from content
alone, so it stays the same in every report, in any order of the rows, on any machine.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

from results.errors import UserError, unknown
from results.record import Record, canonical
from results.store import age

KINDS = {  # what a number tells: the kind of the records that hold it
    "train": "bench",
    "infer": "bench",
    "decode": "bench",
    "memory": "memory",
    "parity": "parity",
    "quality": "training",
}
TIMED = tuple(what for what, kind in KINDS.items() if kind == "bench")
DIGITS = 10  # 40 bits: among a million rows, two share them with a chance of 1 in 2


def of(record: Record, what: str) -> str:
    """The id of what the record says of ``what``, a key of KINDS. Raises ValueError for another kind."""
    if KINDS.get(what) != record["kind"]:
        raise ValueError(f"a record of kind {record['kind']!r} has no number of {what!r}")
    origin = record["provenance"]
    parts = [
        record["row"],
        record["fingerprint"],
        origin["source"],
        origin["lock"],
        origin["versions"],
        origin["hardware_hash"],
        threads(record) if record["kind"] in ("bench", "memory") else "any",
    ]
    return f"{hashlib.sha256(canonical(parts).encode()).hexdigest()[:DIGITS]}-{what}"


def threads(record: Record) -> str:
    """The threads that were read back: the number the setting begins with, or "unknown"."""
    found = re.match(r"\d+", str(record["body"].get("settings", {}).get("threads", "")))
    return found.group() if found else "unknown"


def of_all(record: Record) -> list[str]:
    """The ids of all that the record holds; of one without samples, of all it was to hold."""
    blocks = {block["what"] for block in record["body"].get("blocks", [])}
    whats = [what for what, kind in KINDS.items() if kind == record["kind"]]
    return [of(record, what) for what in whats if not blocks or what in blocks]


def resolve(records: Iterable[Record], text: str) -> tuple[str, list[Record]]:
    """The one id that the text is or begins, and its records, oldest first.

    Raises UserError for a text that begins no id (the nearest is named), or several (all are).
    """
    held: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        for known in of_all(record):
            held[known][record["id"]] = record
    chosen = [text] if text in held else sorted(known for known in held if text and known.startswith(text))
    if not chosen:
        raise _unknown(text, held)
    if len(chosen) > 1:
        lines = "\n".join(f"  {known}  {in_words(_newest(held[known]))}" for known in chosen)
        raise UserError(f"{text!r} begins {len(chosen)} ids; name one of them:\n{lines}")
    return chosen[0], sorted(held[chosen[0]].values(), key=age)


def find(records: Iterable[Record], text: str) -> list[Record]:
    """The records of the one id that the text is or begins, oldest first. Raises UserError, as `resolve`."""
    return resolve(records, text)[1]


def in_words(record: Record) -> str:
    """``torch native, adding lstm float32 (generated, small, T = 50, seed 0, cpu)``."""
    row = record["row"]
    about = f"{row['data']}, {row['size']}, T = {row['length']}, seed {row['seed']}, {row['device']}"
    return f"{row['implementation']} {row['variant']}, {row['task']} {row['cell']} {row['dtype']} ({about})"


def _newest(records: dict[str, Record]) -> Record:
    return max(records.values(), key=age)


def _unknown(text: str, held: Iterable[str]) -> UserError:
    """Many ids are known: only the nearest is worth naming."""
    names = list(held)
    hint = str(unknown("id", text, names)).partition(" Known:")[0]
    return UserError(
        f"{hint} {len(names)} ids are known here. An id stands in a report beside its number; its records "
        "are looked for in results/records and results/published (--records DIR: in that folder)."
    )
