"""The oracle proven: every hand-written gradient against its complex-step derivative.

Runs with `nox -s parity-numpy-cpu`: NumPy's float64 rows are the oracle beside
itself, so this is what they rest on.
"""

from __future__ import annotations

from typing import Any

import pytest

from suites.parity.complex_step import TOLERANCE, errors
from suites.parity.fixtures import make
from suites.selection import Question


def test_oracle(proof: Question, record_property: Any) -> None:
    found = errors(make(proof.task, proof.row.seed))
    worst = max(found, key=found.__getitem__)
    held = found[worst] <= TOLERANCE
    relation, sign = ("<=", "ok") if held else (">", "x ")
    measured = f"error {found[worst]:.1e} {relation} {TOLERANCE:.0e}"
    text = f"complex step, {len(found)} gradients: {measured}  {sign}  {worst}"
    record_property("passed" if held else "failed", text)
    if not held:
        pytest.fail(
            f"{proof.task.name} {proof.row.cell}: the oracle's gradient is wrong: {text}", pytrace=False
        )
