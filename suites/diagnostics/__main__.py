"""Ask an implementation for its diagnostics: ``python -m suites.diagnostics`` (``nox -s diagnose``).

One record for each diagnostic, cell, variant and dtype, with the oracle's curves beside the row's own and how
far these may be off; `nox -s report` judges and draws them. No row is put to the gate here: the record
says whether it has passed it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results import store
from results.errors import UserError
from suites import implementations, recording, selection, spec
from suites.bench.__main__ import INTERRUPTED, parsed, positive
from suites.diagnostics.clipping import CLIPPING
from suites.diagnostics.distance import DISTANCE, SCALES
from suites.diagnostics.judging import Diagnostic, Reference
from suites.diagnostics.rows import Outcome, answer, asked_in, gate
from suites.diagnostics.states import STATES
from suites.interface import Unavailable
from suites.selection import Question

ALL = {diagnostic.name: diagnostic for diagnostic in (DISTANCE, CLIPPING, STATES)}
CELLS = ("rnn", "lstm", "gru")  # those that every framework has a layer of its own for
LARGEST_SCALE = 4.0  # far beyond it every unit is saturated
SHARED = ("impl", "device", "variant", "dtype", "seed")  # of the options that all commands have


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 0 only where every row asked for gave its curves, and these are the oracle's."""
    try:
        return diagnose(parse(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Records that were written stay; the same command begins anew.", file=sys.stderr)
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist, with the nearest that does."""
    parser = argparse.ArgumentParser(prog="python -m suites.diagnostics", description=__doc__.splitlines()[0])
    add = parser.add_argument
    for name in SHARED:
        add(f"--{name}", default=None, help=selection.OPTIONS[f"--{name}"])
    add("--diagnostic", help=f"{', '.join(ALL)}; all by default")
    add("--cell", help=f"{', '.join(CELLS)}; by default all, for the states lstm")
    add("--scale", help="of the recurrent weights, for the distance: 0.5,1.0,1.5 by default")
    add("--records", type=Path, default=recording.ROOT / "results" / "records", help="folder of records")
    add("--threads", type=positive, default=recording.usable_cores(), help="threads that a row may use")
    return parsed(parser, arguments)


def diagnose(options: argparse.Namespace) -> int:
    """Every row: its curves, a record, a line; the exit code."""
    scales, asked = scales_of(options.scale), list(chosen(options))
    first = asked[0][1][0]
    try:
        settings = implementations.device_module(first.folder).configure(first.row.device, options.threads)
    except Unavailable as reason:
        raise UserError(f"{first.folder.name} cannot run here: {reason}") from None
    origin = recording.origin(first.folder, first.row.device)
    records, _ = store.read_all(options.records)
    equal, unproven = True, set[str]()
    for diagnostic, questions in asked:
        row = questions[0].row
        references = [Reference(diagnostic, case) for case in diagnostic.cases(row.cell, row.seed, scales)]
        for question in questions:
            outcome = answer(diagnostic, question, references)
            proof = gate(question, records, origin)
            body = {"diagnostic": diagnostic.name, "gate": proof, "settings": settings, **outcome.body}
            recording.write(
                options.records, "diagnostics", question, outcome.status, outcome.reason, body, scales=scales
            )
            print(f"{diagnostic.name:<9} {question.row}\n    {line(outcome, proof)}", flush=True)
            equal &= outcome.equal
            unproven |= {proof["reason"]} if proof["status"] == "not run" else set()
    print(*(f"gate not run: {reason}" for reason in sorted(unproven)), sep="\n")
    print(f"Records are in {options.records}; `nox -s report` draws them.")
    return 0 if equal else 1


def chosen(options: argparse.Namespace) -> Iterator[tuple[Diagnostic, list[Question]]]:
    """Each diagnostic and cell, with its rows. Raises UserError for every name that does not exist."""
    shared: dict[str, Any] = {name: getattr(options, name) for name in SHARED}
    cells = several("cell", options.cell, CELLS)
    for name in several("diagnostic", options.diagnostic, tuple(ALL)):
        diagnostic = ALL[name]
        for cell in cells if options.cell else diagnostic.cells:
            one = shared | {"task": diagnostic.task, "cell": cell}
            found = selection.questions(one.get, size="tiny", dtypes=spec.DTYPES, valid=spec.DTYPES)
            yield diagnostic, [asked_in(diagnostic, question) for question in found]


def several(what: str, text: str | None, valid: tuple[str, ...]) -> list[str]:
    """The names in an option with commas, each once; all where it is not given. Raises UserError."""
    if text is None:
        return list(valid)
    return list(dict.fromkeys(selection.one_of(what, name, valid) for name in text.split(",")))


def scales_of(text: str | None) -> list[float]:
    """The scales of the recurrent weights, in rising order, each once. Raises UserError."""
    if text is None:
        return SCALES
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 < scale <= LARGEST_SCALE for scale in found):
        raise UserError(
            f"--scale: expected numbers above 0 and up to {LARGEST_SCALE:g}, as in 0.5,1.0,1.5, got {text!r}."
        )
    return found


def line(outcome: Outcome, proof: dict[str, str]) -> str:
    """What a reader is told of a row."""
    if outcome.status != "ok":
        return f"{outcome.status}: {outcome.reason.rstrip()}"
    nearest = max(outcome.seen, key=lambda seen: (not seen.ratio <= 1, seen.ratio))
    largest = max(seen.difference for seen in outcome.seen)
    judged, points = (sum(getattr(seen, name) for seen in outcome.seen) for name in ("judged", "points"))
    verdict = "equal to the oracle's" if outcome.equal else "NOT equal to the oracle's"
    return (
        f"{verdict}: largest relative difference {largest:.1e}, {nearest.ratio:.2g} of a tolerance at most, "
        f"{judged} of {points} points judged; gate {proof['status']}"
    )


if __name__ == "__main__":
    sys.exit(main())
