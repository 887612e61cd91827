"""The index of the published reports: what each was measured with, beside what the locks hold now.

A published page rests on its records alone and stays as it is when a lock moves. What ages is the
index, ``reports/published/README.md``: it follows from the records and the locks, so whoever moves a lock
writes it anew, and sees which reports the new versions leave behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.markdown import escape, table
from results import locks, store
from results.locks import Locks
from results.record import Record

INTRODUCTION = """\
# Published reports

Each rests on the records of its name in `results/published`, and on nothing else. The last column holds the \
versions that the records were measured with against those that `locks/` holds now: a report that is *older \
than its lock* says how fast those versions were. `nox -s reproduce -- ID` measures any of its numbers \
again, with the versions of now.
"""
CURRENT = "as locked now"
NONE = "There is none yet: `nox -s report -- --publish NAME` writes one."


def index(root: Path, page: str = "{}/README.md") -> str:
    """The text of the index; ``page`` is where a report of that name lies beside it.

    Raises UserError on a damaged record.
    """
    held = Locks(root)
    lines = []
    for folder in sorted(path for path in (root / "results" / "published").glob("*") if path.is_dir()):
        records, _ = store.read_all(folder, keep_aside=False)
        if records:
            lines.append(_line(folder.name, page.format(folder.name), records, held))
    return INTRODUCTION + "\n" + (table(lines) if lines else NONE) + "\n"


def _line(name: str, page: str, records: Sequence[Record], held: Locks) -> dict[str, str]:
    return {
        "report": f"[{escape(name)}]({page})",
        "machine": _each(_machine(record) for record in records),
        "newest record": records[-1]["created"][:10],
        "records": str(len(records)),
        "measured with": _each(_versions(record) for record in records),
        "beside the locks": _each(_moved(record, held) for record in records) or CURRENT,
    }


def _each(texts: Iterable[str]) -> str:
    """Each text once, sorted, without those that say nothing."""
    return "<br>".join(sorted({escape(text) for text in texts if text}))


def _moved(record: Record, held: Locks) -> str:
    """Which versions have moved; a lock that changed in what the row does not use says nothing here."""
    versions = held.age(record).versions
    return f"{locks.environment(record)}: older than its lock: {versions}" if versions else ""


def _machine(record: Record) -> str:
    hardware = record["provenance"]["hardware"]
    gpu = "" if hardware["gpu"] == "none" else f", {hardware['gpu']}"
    return f"{hardware['cpu']}, {hardware['cores']} cores{gpu}"


def _versions(record: Record) -> str:
    """What the implementation's framework was, and Python."""
    versions = record["provenance"]["versions"]
    held = (f"{name} {text}" for name, text in sorted(versions.items()) if text != locks.ABSENT)
    return f"{record['row']['implementation']}: {', '.join(held)}"
