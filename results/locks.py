"""How far a record has aged: the versions it was measured with, and those the lock holds now.

Nothing here reads a clock: a record is older than its lock where the lock has moved on.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from results.record import Record

FRAMEWORKS = ("torch", "jax", "tensorflow")  # by which an implementation of elsewhere is known
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)", re.MULTILINE)
ABSENT = "not installed"  # in a record's versions


@dataclass(frozen=True)
class Age:
    """A record beside the lock of its environment as it is now."""

    environment: str
    lock: str  # same, changed, missing, or none: the record names no lock
    moved: dict[str, tuple[str, str]]  # package: measured with, locked now

    @property
    def versions(self) -> str:
        """``jax 0.10.1 -> 0.10.3, numpy 2.4.5 -> 2.4.6``; empty where none moved."""
        return ", ".join(f"{name} {old} -> {new}" for name, (old, new) in sorted(self.moved.items()))

    def __str__(self) -> str:
        if self.moved:
            return f"older than its lock: {self.versions}"
        return {
            "same": "as locked now",
            "changed": "versions as locked now; the lock has changed in what is not of the row",
            "missing": f"there is no locks/{self.environment}.txt to compare with",
            "none": "measured without a lock; versions as locked now",
        }[self.lock]


class Locks:
    """The locks of one checkout, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def held(self) -> dict[str, tuple[str, dict[str, set[str]]]]:
        """SHA-256 and pinned versions of each lock, by environment; a package may have one a platform."""
        found = {}
        for path in sorted((self.root / "locks").glob("*.txt")):
            content = path.read_bytes()
            pins: dict[str, set[str]] = {}
            for name, version in PIN.findall(content.decode("utf-8", "replace")):
                pins.setdefault(_normal(name), set()).add(version)
            found[path.stem] = hashlib.sha256(content).hexdigest(), pins
        return found

    def age(self, record: Record) -> Age:
        """Of one record. Python itself is in no lock and is left out."""
        name, origin = environment(record), record["provenance"]
        if name not in self.held:
            return Age(name, "missing", {})
        sha, pins = self.held[name]
        moved = {}
        for package, version in origin["versions"].items():
            if package == "python" or version == ABSENT:
                continue
            now = pins.get(_normal(package), set())
            if _public(version) not in map(_public, now):
                moved[package] = version, " or ".join(sorted(now)) or "not in the lock"
        if origin["lock"] in ("none", "not used"):
            return Age(name, "none", moved)
        return Age(
            name, "same" if origin["lock"] == sha else "changed", {} if origin["lock"] == sha else moved
        )


def environment(record: Record) -> str:
    """Where the row runs: the name of a lock and of nox's environment. An implementation of
    elsewhere runs where its framework does, NumPy's where it has none."""
    row, versions = record["row"], record["provenance"]["versions"]
    name = row["implementation"]
    if name not in (*FRAMEWORKS, "numpy"):
        held = [
            known for known in FRAMEWORKS if _is_held(versions, known) or _is_held(versions, f"{known}-cpu")
        ]
        name = held[0] if held else "numpy"
    return f"{name}-gpu" if row["device"] == "gpu" else name


def _is_held(versions: dict[str, str], name: str) -> bool:
    return versions.get(name, ABSENT) != ABSENT


def _normal(name: str) -> str:
    """PEP 503: letters in any case, ``-``, ``_`` and ``.`` alike."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(version: str) -> str:
    """Without the part that tells builds apart: ``2.13.0+cpu`` is the lock's ``2.13.0``."""
    return version.partition("+")[0]
