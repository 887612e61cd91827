"""Measure the row of a published number again: ``python -m suites.reproduce ID --new DIR``.

The first half of ``nox -s reproduce -- ID``; the second, ``python -m reports.reproduced``, judges. The gate
comes first: a row that is not proven here and now is not timed. Then as many passes and blocks as the
records had, through the commands that every measurement uses, into the folder DIR. Exit code 0 where there
is something to judge; 2 on a mistake, or where nothing came out; 130 where it was interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import commands, ids, locks, lookup, store
from results.errors import UserError
from results.lookup import Found
from results.record import Record
from suites import recording, selection
from suites.bench.__main__ import INTERRUPTED, parsed, positive
from suites.bench.environments import Environment
from suites.selection import Question

LEAST = 2  # passes: one says nothing of how passes differ
MEMORY_RUNS = 3  # likewise of memory, of which a campaign measures each row once


def main(arguments: list[str] | None = None) -> int:
    """Measure; the exit code."""
    try:
        options = parse(arguments)
        found = lookup.look_up(options)
        if options.environment:
            print(locks.environment(found.newest))
            return 0
        return reproduce(options, found)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted: the same command measures anew.", file=sys.stderr)
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist."""
    parser = argparse.ArgumentParser(prog="python -m suites.reproduce", description=__doc__.splitlines()[0])
    lookup.add_options(parser)
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--new", type=Path, metavar="DIR", help="folder for the new records (nox: a fresh one)"
    )
    where.add_argument("--environment", action="store_true", help="only print which environment it runs in")
    add("--impl", metavar="PATH", help="folder of an implementation that is not of this project")
    add("--task", metavar="FILE", help="TOML file of a task that is not of this project")
    add("--passes", type=positive, help=f"in place of the records' own, {LEAST} at least")
    add("--blocks", type=positive, help="likewise")
    options = parsed(parser, arguments)
    options.new = options.new and options.new.resolve()
    options.impl = options.impl and str(Path(options.impl).resolve())
    options.task = options.task and str(Path(options.task).resolve())
    return options


def reproduce(options: argparse.Namespace, found: Found) -> int:
    """Say what is measured and what has changed since, then measure it."""
    record = found.newest
    question = asked(options, record)
    print(f"{found.id}: {ids.in_words(record)}", flush=True)
    print(f"  the record beside the lock: {locks.Locks(recording.ROOT).age(record)}", flush=True)
    for line in gained(record, question):
        print(f"  {line}", flush=True)
    threads = ids.threads(record)
    environment = Environment(
        options.impl or question.folder.name,
        sys.executable,
        question.row.device,
        int(threads) if threads.isdecimal() else recording.usable_cores(),
    )
    code = {"parity": prove, "memory": weigh, "training": train}.get(record["kind"], time)(
        options, found, environment
    )
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    left = [new for new in store.read_all(options.new)[0] if new["kind"] == record["kind"]]
    if not left:
        raise UserError(f"{found.id}: expected a new record of kind {record['kind']}, got none: see above.")
    return 0


def asked(options: argparse.Namespace, record: Record) -> Question:
    """The row as this checkout asks it. Raises UserError where it cannot, or asks something else."""
    row = record["row"]
    words = selected(options, record)
    chosen = {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2], strict=True)}
    try:
        (question,) = selection.questions(
            (chosen | {"impl": options.impl or row["implementation"], "device": row["device"]}).get,
            size=record["spec"]["size"],
            dtypes=(row["dtype"],),
        )
    except UserError as error:
        raise UserError(
            f"{ids.in_words(record)}: this checkout cannot ask that: {error} What is not of this project is "
            "named by --impl PATH, --task FILE; an older row may need the checkout of its time: "
            f"git checkout {record['provenance']['commit']}"
        ) from None
    if question.folder.name != row["implementation"]:
        raise UserError(
            f"--impl {options.impl}: expected a folder of the name {row['implementation']}, which the record "
            f"is of, got {question.folder.name}."
        )
    differs = changed(record["spec"], asdict(question.task))
    if differs:
        raise UserError(
            f"{ids.in_words(record)}: the question is another now: {'; '.join(differs)}. Measure it "
            "with the checkout of its time: "
            f"git checkout {record['provenance']['commit']}"
        )
    return question


def selected(options: argparse.Namespace, record: Record) -> list[str]:
    """The options of the row, a task's file in place of its name."""
    words = commands.selection(record)
    if options.task:
        words[words.index("--task") + 1] = options.task
    return words


def changed(old: Any, new: Any, at: str = "spec") -> list[str]:
    """What the old spec states otherwise than the new; what it does not state yet is no difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{at}.{key}: {old[key]!r}, now gone" for key in sorted(old.keys() - new.keys())]
        shared = sorted(old.keys() & new.keys())
        return gone + [text for key in shared for text in changed(old[key], new[key], f"{at}.{key}")]
    new = list(new) if isinstance(new, tuple) else new
    return [] if old == new else [f"{at}: {old!r}, now {new!r}"]


def gained(record: Record, question: Question) -> list[str]:
    """What the spec states beyond the record's: an older one could not."""
    names = sorted(_paths(asdict(question.task)) - _paths(record["spec"]))
    return [f"the spec states more since: {', '.join(names)}; the rest is equal"] if names else []


def _paths(spec: Any, at: str = "") -> set[str]:
    if not isinstance(spec, dict):
        return {at}
    return {path for key, value in spec.items() for path in _paths(value, f"{at}.{key}" if at else key)}


def time(options: argparse.Namespace, found: Found, environment: Environment) -> int:
    """Prove, and time in as many passes and blocks as the records had."""
    passes, blocks = commands.budget(found.records)
    budget = [
        "--passes",
        str(max(LEAST, options.passes or passes)),
        "--blocks",
        str(options.blocks or blocks),
    ]
    return bench(options, found, environment, *budget)


def bench(options: argparse.Namespace, found: Found, environment: Environment, *more: str) -> int:
    """The command that ``nox -s bench-<impl>-<device>`` runs."""
    own = ["--records", str(options.new), "--threads", str(environment.threads)]
    return said(environment, "-m", "suites.bench", *own, *more, *selected(options, found.newest))


def weigh(options: argparse.Namespace, found: Found, environment: Environment) -> int:
    """Prove, then the memory pass several times, each a process of its own."""
    code = bench(options, found, environment, "--parity-only")
    proofs = store.read_all(options.new)[0]
    if code != 0 or not all(proof["status"] == "passed" for proof in proofs):
        raise UserError(f"{found.id}: not proven here and now, so its memory is not measured: see above.")
    own = ["--records", str(options.new), "--threads", str(environment.threads), "--campaign", "reproduce"]
    for _ in range(MEMORY_RUNS):
        code = said(environment, "-m", "suites.bench.memory", *own, *selected(options, found.newest))
        if code != 0:
            return code
    return 0


def train(options: argparse.Namespace, found: Found, environment: Environment) -> int:
    """Prove, then train to the steps of the spec."""
    own = ["--records", str(options.new), "--threads", str(environment.threads)]
    return said(environment, "-m", "suites.train", *own, *selected(options, found.newest))


def prove(options: argparse.Namespace, found: Found, environment: Environment) -> int:
    """The gate alone."""
    own = ["-m", "pytest", "-c", "pyproject.toml", "suites/parity", "-p", "no:cacheprovider", "--no-header"]
    return said(environment, *own, "--records", str(options.new), *selected(options, found.newest))


def said(environment: Environment, *arguments: str) -> int:
    """Run the command, shown first; its exit code."""
    command: Sequence[str] = ["python", *environment.command(*arguments)[1:]]
    print(f"$ {shlex.join(command)}", flush=True)
    return environment.stream(*arguments)


if __name__ == "__main__":
    sys.exit(main())
