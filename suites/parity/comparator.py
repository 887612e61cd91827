"""The one comparator of the project: named tensors against the oracle's.

Error of a tensor: the larger of ||a - b||_2 / ||b||_2 and max|a - b| / max|b|.
NaN, a wrong shape, a wrong dtype and a missing or surplus name all fail; where the
oracle is exactly zero (padding, an absent token) the answer must be too. Of tokens the
error is the share of wrong ones, and none may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from suites.interface import Array, Arrays
from suites.parity.tolerances import Rule, Tolerance

ABOVE, LEAKED = "error above tolerance", "not exactly zero where the oracle is"
NUMERIC = (ABOVE, LEAKED)  # the failures that a number shows; the others are of form


@dataclass(frozen=True)
class Finding:
    """One tensor compared: its error, its tolerance, and what was seen where."""

    tensor: str
    where: str  # "case carried", "step 2", ...
    error: float
    tolerance: float
    origin: str
    problem: str = ""  # why it failed; empty where it passed
    expected: str = ""
    got: str = ""
    at: str = ""  # index of the worst element, and the first time step past the tolerance

    @property
    def failed(self) -> bool:
        """Whether this tensor fails the gate."""
        return bool(self.problem)

    @property
    def ratio(self) -> float:
        """Error over tolerance: above 1 fails."""
        return self.error / self.tolerance if self.tolerance else (0.0 if self.error == 0 else np.inf)


def compare(expected: Arrays, got: Arrays, rule: Rule, dtype: str, where: str) -> list[Finding]:
    """A finding for every tensor of either side, in the order of ``expected``."""
    findings = [
        _tensor(name, value, got.get(name), rule(name), dtype, where) for name, value in expected.items()
    ]
    for name in got:
        if name not in expected:
            findings.append(
                Finding(
                    name,
                    where,
                    np.inf,
                    0.0,
                    "contract",
                    "a name that the contract does not have",
                    "none",
                    name,
                )
            )
    return findings


def compare_tokens(expected: Array, got: Any, counted: Array, origin: str, where: str) -> Finding:
    """A finding for tokens [B, steps], of which those ``counted`` must be the expected ones."""

    def finding(size: float, problem: str, want: object, have: object, place: str = "") -> Finding:
        return Finding("tokens", where + place, size, 0.0, origin, problem, str(want), str(have))

    if not isinstance(got, np.ndarray):
        return finding(np.inf, "not a NumPy array", "numpy.ndarray", type(got).__name__)
    if got.dtype.kind not in "iu":
        return finding(np.inf, "wrong dtype", "integers", got.dtype)
    if got.shape != expected.shape:
        return finding(np.inf, "wrong shape", list(expected.shape), list(got.shape))
    wrong = counted & (got != expected)
    if not wrong.any():
        return finding(0.0, "", "", "")
    step, row = (int(i) for i in np.argwhere(wrong.T)[0])
    share = float(wrong.sum() / counted.sum())
    return finding(share, ABOVE, expected[row, step], got[row, step], f", row {row}, step {step}")


def error(got: Array, expected: Array) -> float:
    """The larger of the relative L2 and the relative maximum error; exact agreement on zero is 0."""
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    difference = a - b
    largest = float(np.abs(difference).max(initial=0.0))
    if largest == 0:
        return 0.0
    scale = float(np.abs(b).max(initial=0.0))
    if scale == 0:
        return float("inf")
    # divided by the largest first, so that no square underflows
    l2 = float(np.linalg.norm(difference / scale) / np.linalg.norm(b / scale))
    return max(l2, largest / scale)


def _tensor(name: str, expected: Array, got: Any, tolerance: Tolerance, dtype: str, where: str) -> Finding:
    def broken(problem: str, want: object, have: object) -> Finding:
        return Finding(name, where, np.inf, tolerance.value, tolerance.origin, problem, str(want), str(have))

    if got is None:
        return broken("missing name", name, "none")
    if not isinstance(got, np.ndarray | np.generic):
        return broken("not a NumPy array", "numpy.ndarray", type(got).__name__)
    kind = "int64" if np.issubdtype(expected.dtype, np.integer) else dtype
    if got.dtype != kind:
        return broken("wrong dtype", kind, got.dtype)
    if got.shape != expected.shape:
        return broken("wrong shape", list(expected.shape), list(got.shape))
    if not np.isfinite(got).all():
        at = np.argwhere(~np.isfinite(got))[0].tolist()
        return broken("not finite", f"a number at {at}", np.asarray(got)[tuple(at)])
    return _numeric(name, expected, np.asarray(got), tolerance, where)


def _numeric(name: str, expected: Array, got: Array, tolerance: Tolerance, where: str) -> Finding:
    size = error(got, expected)
    leaked = (expected == 0) & (got != 0)
    if size > tolerance.value:
        problem = ABOVE
    elif leaked.any():
        problem = LEAKED
    else:
        return Finding(name, where, size, tolerance.value, tolerance.origin)
    difference = np.abs(got.astype(np.float64) - expected)
    if problem == LEAKED:
        difference = np.where(leaked, difference, -1)
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
    at = f"index {[int(i) for i in worst]}"
    if name.startswith("hidden.") or (name == "logits" and expected.ndim == 3):
        at += _first_time(difference, tolerance.value * float(np.abs(expected).max()))
    return Finding(
        name, where, size, tolerance.value, tolerance.origin, problem,
        expected=f"{expected[worst]:.9g}", got=f"{got[worst]:.9g}", at=at,
    )  # fmt: skip


def _first_time(difference: Array, limit: float) -> str:
    """The first time step t of [B, T, ...] at which an element is off by more than ``limit``."""
    off = (difference > limit).any(axis=(0, 2))
    return f", first at t = {int(np.argmax(off))}" if off.any() else ""
