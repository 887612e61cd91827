"""The gate, as the timing asks for it: what proves a row, and how an implementation is put through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results.record import Record
from suites.bench.environments import Environment
from suites.selection import Question

FAILED = "parity failed"
SETTINGS = ("-c", "pyproject.toml")  # ours: pytest would take those of a project around an --impl folder

# what may differ between a parity row (tiny) and the timed row (any size) it stands for
PROVEN_BY = ("implementation", "variant", "task", "cell", "dtype", "device", "data")


def prove(environment: Environment, arguments: list[str], records: Path) -> int:
    """Run the gate for an implementation in its environment, output shown; pytest's exit code."""
    own = ["-p", "no:cacheprovider", "--no-header", "--full", "--records", str(records)]
    return environment.stream("-m", "pytest", *SETTINGS, "suites/parity", *own, *arguments)


def proves(record: Record, question: Question, origin: dict[str, Any]) -> bool:
    """Whether a parity record speaks of this row, as its source, versions and hardware are now."""
    row, have = question.row.record(), record["provenance"]
    same = all(record["row"][name] == row[name] for name in PROVEN_BY)
    return same and all(
        have[name] == origin[name] for name in ("source", "lock", "versions", "hardware_hash")
    )
