"""One row of a diagnostic: the implementation asked, its answer judged, kept as a record."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import Any

from results.errors import UserError
from results.record import Record
from suites import implementations
from suites.bench.proof import proves
from suites.diagnostics.judging import Diagnostic, Reference, Seen
from suites.interface import Arrays, Unavailable
from suites.selection import Question

DEPTH = 4  # frames of a crash, the innermost: enough to find it, and none of ours


class Unsound(Exception):
    """What came back are no curves; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of a row: what its record says, and how far it is from the oracle, case by case."""

    status: str  # "ok", "untimed" (it cannot serve), "error"
    reason: str
    body: dict[str, Any]
    seen: tuple[Seen, ...]

    @property
    def equal(self) -> bool:
        """Whether it gave every curve, and none is past its tolerance."""
        return self.status == "ok" and all(seen.ratio <= 1 for seen in self.seen)


def asked_in(diagnostic: Diagnostic, question: Question) -> Question:
    """The row with the diagnostic's own task in place of the one that it was selected by."""
    task = diagnostic.question(question.row.cell)
    row = replace(question.row, size=task.size, length=task.length, data=task.data.name)
    return replace(question, row=row, task=task)


def answer(diagnostic: Diagnostic, question: Question, references: list[Reference]) -> Outcome:
    """The row's curves beside the oracle's, or why there are none. Raises UserError where there is no row."""
    row = question.row
    cases, seen = [], []
    try:
        impl = implementations.builder(question.folder, row.variant)(question.task, row.dtype, row.device)
        for reference in references:
            tensors = diagnostic.ask(impl, reference.case.fixture, row.dtype)
            got = sound(diagnostic.curves(tensors), reference.curves)
            cases.append(reference.record(got, row.dtype))
            seen.append(reference.seen(got, row.dtype))
        path = impl.path()
    except UserError:
        raise
    except Unavailable as reason:
        return Outcome("untimed", str(reason), {}, ())
    except Exception:  # noqa: BLE001  # whatever another's code raises: the record says what
        return Outcome("error", traceback.format_exc(limit=-DEPTH), {}, ())
    return Outcome("ok", "", {"cases": cases, "path": path}, tuple(seen))


def sound(got: Arrays, expected: Arrays) -> Arrays:
    """The curves, if each has the points that it must have. Raises Unsound."""
    for name, want in expected.items():
        if got[name].shape != want.shape:
            raise Unsound(f"{name}: expected an array of shape {want.shape}, got {got[name].shape}")
    return got


def gate(question: Question, records: list[Record], origin: dict[str, Any]) -> dict[str, str]:
    """What the newest climb of this row, as it is now, came to: status and reason."""
    proofs = [found for found in records if found["kind"] == "parity" and proves(found, question, origin)]
    if proofs:
        return {"status": proofs[-1]["status"], "reason": proofs[-1]["reason"]}
    name, device = question.row.implementation, question.row.device
    reason = f"not with this source and these versions on this machine; nox -s parity-{name}-{device} runs it"
    return {"status": "not run", "reason": reason}
