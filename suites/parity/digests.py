"""Level 0's frozen digests: what data and weights of a spec and a seed must be, to the bit.

``python -m suites.parity.digests`` writes ``digests.json`` anew for every task, cell
and embedded data source at the gate's default size; a change there is a change of
the benchmark itself.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from suites import spec
from suites.parity.comparator import Finding
from suites.parity.fixtures import Fixture, make
from suites.spec import fingerprint

FILE = Path(__file__).with_suffix(".json")
SIZE = "tiny"


def key(fixture: Fixture) -> str:
    """Names a fixture in ``digests.json``: the spec as asked (its clip is the fixture's) and the seed."""
    task = fixture.task
    shape = f"B{task.batch}/T{task.length}/H{task.model.hidden}"
    return f"{task.name}/{task.model.cell}/{task.size}/{task.data.name}/{shape}/seed{fixture.seed}"


@lru_cache(maxsize=1)
def frozen() -> dict[str, str]:
    """The digests that are frozen."""
    held: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return held


def check(fixture: Fixture) -> Finding:
    """The fixture's digest against the frozen one, where there is one."""
    digest, name = fixture.digest(), key(fixture)
    expected = frozen().get(name)
    if expected is None:
        origin = "no frozen digest for this spec and seed; the report compares it across implementations"
        return Finding("data and weights", "SHA-256", 0.0, 0.0, origin)
    if digest == expected:
        return Finding("data and weights", "SHA-256", 0.0, 0.0, f"{FILE.name}: {name}")
    return Finding(
        "data and weights", "SHA-256", np.inf, 0.0, f"{FILE.name}: {name}", "digest differs", expected, digest
    )


def main() -> None:
    """Write ``digests.json``."""
    found = {}
    for name in spec.names():
        for cell in spec.cells(name):
            task = spec.load(name, cell=cell, size=SIZE)
            fixture = make(task, 0)
            found[key(fixture)] = fixture.digest()
            print(f"{key(fixture)}  {found[key(fixture)]}  spec {fingerprint(task)[:12]}")
    FILE.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
