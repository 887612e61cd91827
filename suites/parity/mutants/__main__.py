"""Prove that the gate sees: ``python -m suites.parity.mutants --impl numpy`` (``nox -s mutants``).

Every mutation of ``<impl>.toml`` is applied to a copy of the implementation, which
must then fail the gate as the file states. The sound copy climbs first: a mutation
that dies on a row which fails without it proves nothing.
"""

from __future__ import annotations

import argparse
import sys

from results.errors import UserError, unknown
from suites import implementations
from suites.interface import Unavailable
from suites.parity.mutants.mutation import (
    HERE,
    Mutation,
    Verdict,
    climb,
    copied,
    known,
    mutated,
    names,
    read,
    try_out,
)

COLUMNS = "{:>9}  {:<58} {:>9} {:>6}  {:<30} {:<36} {:<19} {}"
HEADER = ("", "mutation", "predicted", "killed", "tensor", "where", "error / tolerance", "verdict")


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 0 only where the sound rows pass and every mutation dies as stated."""
    parser = argparse.ArgumentParser(prog="python -m suites.parity.mutants", description=__doc__)
    parser.add_argument("--impl", required=True, help=f"implementation to change: {', '.join(names())}")
    parser.add_argument("--only", metavar="NAME", help="one mutation, by its name")
    options = parser.parse_args(arguments)
    try:
        return campaign(options.impl, chosen(options.impl, options.only))
    except (UserError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def chosen(impl: str, only: str | None) -> list[Mutation]:
    """The mutations asked for. Raises UserError for a name that does not exist."""
    if impl not in names():
        raise unknown("implementation with mutations", impl, names())
    mutations = read(HERE / f"{impl}.toml")
    if only is None:
        return mutations
    found = [mutation for mutation in mutations if mutation.name == only]
    if not found:
        raise unknown("mutation", only, [mutation.name for mutation in mutations])
    return found


def campaign(impl: str, mutations: list[Mutation]) -> int:
    """Print the table as it grows; 1 where a mutation does not die as stated, else 0."""
    for mutation in mutations:  # all of them, before the first climbs
        mutated(mutation, implementations.find(impl).path)
    print(f"{len(mutations)} mutations of {impl}")
    print(COLUMNS.format(*HEADER))
    sound: set[tuple[str, str, str, str]] = set()
    wrong = []
    for count, mutation in enumerate(mutations, start=1):
        if mutation.row not in sound:
            check_sound(impl, mutation.row)
            sound.add(mutation.row)
        verdict = try_out(impl, mutation)
        print(line(f"{count}/{len(mutations)}", mutation, verdict), flush=True)
        if verdict.problem:
            wrong.append(mutation.name)
    print(f"{len(mutations) - len(wrong)} of {len(mutations)} died as stated, on {len(sound)} sound rows.")
    if wrong:
        print("Not as stated: " + "; ".join(wrong))
    return 1 if wrong else 0


def check_sound(impl: str, row: tuple[str, str, str, str]) -> None:
    """Raise UserError unless the copy without a defect passes on this row."""
    implementations.builder(implementations.find(impl), row[0])  # a missing package, told by its own name
    with copied(impl) as folder:
        last = climb(folder, row)[-1]
    top = 7 if known(*row[1:3]).fixture.task.model.generates else 5
    if last.status == "failed" or last.level != top:
        raise UserError(
            f"{impl} {' '.join(row)}: expected a sound row to mutate, got one that ends at level "
            f"{last.level}, {last.status}. See `nox -s parity-{impl}-cpu`."
        )


def line(count: str, mutation: Mutation, verdict: Verdict) -> str:
    """One row of the table."""
    name = f"{mutation.number or '':>2} {mutation.name}"
    if mutation.variant != "scratch":
        name += f", {mutation.variant}"
    told, killed = verdict.told, "-" if verdict.level is None else str(verdict.level)
    size = f"{told.error:.1e} / {told.tolerance:.1e}" if told else ""
    said = verdict.problem or (f"killed early: {mutation.earlier}" if mutation.earlier else "killed")
    tensor, where = (told.tensor, told.where) if told else ("", "")
    return COLUMNS.format(count, name, mutation.level, killed, tensor, where, size, said)


if __name__ == "__main__":
    sys.exit(main())
