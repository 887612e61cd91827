"""The command that measures a row again, from the record alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from results import ids, locks
from results.record import Record

SESSIONS = {"bench": "bench", "memory": "bench", "parity": "parity", "training": "train"}


def selection(record: Record) -> list[str]:
    """The options that select just this row, implementation and device left to the caller."""
    row, spec = record["row"], record["spec"]
    values = {
        "--variant": row["variant"],
        "--task": row["task"],
        "--cell": row["cell"],
        "--dtype": row["dtype"],
        "--size": spec["size"],
        "--data": row["data"],
        "--length": row["length"],
        "--batch": spec["batch"],
        "--hidden": spec["model"].get("hidden"),
        "--seed": row["seed"],
    }
    return [part for flag, value in values.items() if value is not None for part in (flag, str(value))]


def budget(records: Sequence[Record]) -> tuple[int, int]:
    """Passes and blocks that the records of a timing had, as far as they tell."""
    bodies = [record["body"] for record in records if record["body"].get("blocks")]
    passes = max((body["pass"] + 1 for body in bodies), default=1)
    return passes, max((block["block"] + 1 for body in bodies[-1:] for block in body["blocks"]), default=1)


def session(records: Sequence[Record]) -> str:
    """The nox command that measures the row of these records as the last of them was."""
    record = records[-1]
    row = record["row"]
    environment = locks.environment(record).removesuffix("-gpu")
    words = ["nox", "-s", f"{SESSIONS[record['kind']]}-{environment}-{row['device']}", "--"]
    words += [] if row["implementation"] == environment else ["--impl", f"path/to/{row['implementation']}"]
    words += selection(record)
    if record["kind"] == "bench":
        passes, blocks = budget(records)
        words += ["--passes", str(passes), "--blocks", str(blocks)]
    if record["kind"] != "parity" and ids.threads(record) != "unknown":
        words += ["--threads", ids.threads(record)]
    return shlex.join(words)
