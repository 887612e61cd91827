"""From what a row did to a record in the store: identity, provenance, cache key."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from results import provenance, record, store
from suites import implementations
from suites.implementations import Folder
from suites.selection import Question
from suites.spec import fingerprint

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
STAMP = "unrolled-stamp.txt"  # noxfile.py leaves it in an environment that it has made
NOT_USED = "not used"


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lock_of(folder: Folder, device: str) -> Path:
    """The lock of the environment that the implementation belongs to (a foreign one has none)."""
    return LOCKS / f"{folder.name}{'-gpu' if device == 'gpu' else ''}.txt"


@lru_cache(maxsize=8)
def origin(folder: Folder, device: str) -> dict[str, Any]:
    """Where numbers of this implementation come from, collected once a process."""
    packages, lock = tuple(implementations.device_module(folder).PACKAGES), lock_of(folder, device)
    found = provenance.collect(folder.path, lock, packages, {})
    return found if found["lock"] == "none" or made_from(lock) else found | {"lock": NOT_USED}


def made_from(lock: Path) -> bool:
    """Whether this interpreter is of the environment that nox has made from the lock."""
    prefix = Path(sys.prefix)
    return prefix.name == lock.stem and (prefix / STAMP).is_file()


def key(kind: str, question: Question, origin: dict[str, Any], **more: Any) -> str:
    """The cache key: what was asked, of which source, under which lock, on which hardware."""
    parts = {
        "kind": kind,
        "row": question.row.record(),
        "spec": fingerprint(question.task),
        "source": origin["source"],
        "lock": origin["lock"],
        "hardware": origin["hardware_hash"],
        "versions": origin["versions"],
        **more,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write(
    folder: str | Path,
    kind: str,
    question: Question,
    status: str,
    reason: str,
    body: dict[str, Any],
    origin_: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """One whole record of a row in the store.

    ``origin_`` is where the numbers come from, this process where None; ``more``
    enters the cache key (a pass, say).
    """
    where = origin_ or origin(question.folder, question.row.device)
    sealed = record.new(
        kind=kind,
        row=question.row.record(),
        status=status,
        reason=reason,
        spec=asdict(question.task),
        fingerprint=fingerprint(question.task),
        key=key(kind, question, where, **more),
        provenance=where,
        body=body,
    )
    return store.write(Path(folder), sealed)
