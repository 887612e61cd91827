"""Prove that the gate sees: ``python -m suites.parity.mutants --impl numpy`` (``nox -s mutants``).

Every mutation of ``<impl>.toml`` is applied to a copy of the implementation, which
must then fail the gate as the file states. The sound copy climbs first: a mutation
that dies on a row which fails without it proves nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from results.errors import UserError, unknown
from suites import implementations, recording
from suites.bench.__main__ import INTERRUPTED
from suites.interface import Unavailable
from suites.parity.mutants.mutation import (
    HERE,
    Mutation,
    Verdict,
    check_sound,
    mutated,
    names,
    read,
    try_out,
)

COLUMNS = "{:>9}  {:<58} {:>9} {:>6}  {:<30} {:<36} {:<19} {}"
CHUNK = 4
HEADER = ("", "mutation", "predicted", "killed", "tensor", "where", "error / tolerance", "verdict")


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 0 only where the sound rows pass and every mutation dies as stated."""
    parser = argparse.ArgumentParser(prog="python -m suites.parity.mutants", description=__doc__)
    parser.add_argument("--impl", required=True, help=f"implementation to change: {', '.join(names())}")
    parser.add_argument("--only", metavar="NAME", help="one mutation, by its name")
    options = parser.parse_args(arguments)
    try:
        mutations = chosen(options.impl, options.only)
        return campaign(options.impl, mutations, min(recording.usable_cores(), len(mutations)))
    except (UserError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


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


def campaign(impl: str, mutations: list[Mutation], processes: int = 1) -> int:
    """Print the table as it grows; 1 where a mutation does not die as stated, else 0."""
    for mutation in mutations:  # all of them, before the first climbs
        mutated(mutation, implementations.find(impl).path)
    rows = list(dict.fromkeys(mutation.row for mutation in mutations))
    implementations.builder(implementations.find(impl), rows[0][0])  # a missing package, told by its own name
    about = f"{len(mutations)} mutations of {impl}"
    print(f"{about}; without them {len(rows)} rows must pass, which climb first", flush=True)
    wrong = []
    with shared_out(processes) as each:
        list(each(partial(check_sound, impl), rows))
        print(COLUMNS.format(*HEADER), flush=True)
        verdicts = each(partial(try_out, impl), mutations)
        for count, (mutation, verdict) in enumerate(zip(mutations, verdicts, strict=True), start=1):
            print(line(f"{count}/{len(mutations)}", mutation, verdict), flush=True)
            if verdict.problem:
                wrong.append(mutation.name)
    print(f"{len(mutations) - len(wrong)} of {len(mutations)} died as stated, on {len(rows)} sound rows.")
    if wrong:
        print("Not as stated: " + "; ".join(wrong))
    return 1 if wrong else 0


@contextmanager
def shared_out(processes: int) -> Iterator[Callable[..., Any]]:
    """``map``, or one like it that so many processes share: each climbs with one thread."""
    if processes == 1:
        yield map
        return
    fresh = multiprocessing.get_context("spawn")  # a framework's threads do not outlive a fork
    pool = ProcessPoolExecutor(processes, fresh, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        # few at a time, for they take from milliseconds to seconds; some, for they ask the oracle the same
        yield partial(pool.map, chunksize=CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)


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
