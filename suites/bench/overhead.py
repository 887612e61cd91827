"""What the harness costs: a row's step as it is measured, over the same step in a bare loop.

With ``--bare`` the loop is that of the folder's ``bare.py``, which shares nothing with the row: what the
row's own code adds to the framework's layer is in the ratio too.

``python -m suites.bench.overhead --impl torch --task adding --cell lstm`` runs one row in a process
of its own, as a sample group is run; both loops are in it, in turn, round by round
(``suites/bench/test_overhead.py``). The exit code is 0 where the interval of the ratio lies within
the bar, 1 where it does not, 2 on a mistake.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from results.errors import UserError
from suites import implementations, recording, selection, tasks, weights
from suites.bench import __main__ as bench
from suites.bench.campaign import PYTEST, row_options
from suites.bench.environments import Environment
from suites.bench.group import BATCHES, Group, Void, only, work

BAR = 0.01
BARE_BAR = 0.02
BARE_DTYPES = "float32", "tf32"
SAME = 1e-4  # of the largest number: one row's logits and those of a loop by hand, both in float32
PAIRS = 1000  # rounds of each: of 250 the interval was as wide as the bar on two shared cores
OUTSIDE = 0.025  # of the interval's 5 %, on each side


def main(arguments: list[str] | None = None) -> int:
    """Run both loops in a child; the exit code."""
    try:
        options = parse(arguments)
        chosen = vars(options)
        question = only(selection.questions(chosen.get, size=bench.SIZE, dtypes=("float32",)))
        valid = [what for what in work(question.task) if not (options.bare and what == "decode")]
        if options.bare:
            implementations.bare(question.folder)
            if question.row.dtype not in BARE_DTYPES:
                raise UserError(
                    f"--bare: expected --dtype {' or '.join(BARE_DTYPES)}, got {question.row.dtype}: "
                    "a loop by hand keeps float32"
                )
        wanted = selection.one_of("work", options.work, valid) if options.work else ""
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    environment = Environment(options.impl, sys.executable, question.row.device, options.threads)
    own = ["--blocks", str(options.pairs), "--threads", str(options.threads), "-k", wanted]
    own += ["--bare"] if options.bare else []
    module = [
        "-m",
        "pytest",
        "-q",
        "--no-header",
        *PYTEST,
        "--benchmark-quiet",
        "suites/bench/test_overhead.py",
    ]
    return environment.stream(*module, *own, *row_options(question), timed=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for an unknown one."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.bench.overhead", description=__doc__.splitlines()[0]
    )
    selection.add_options(parser.add_argument)
    parser.add_argument("--work", help="train, infer or decode; each that the task has by default")
    parser.add_argument(
        "--bare", action="store_true", help="against the loop by hand of the folder's bare.py (torch)"
    )
    parser.add_argument("--pairs", type=bench.positive, default=PAIRS, help="rounds of each")
    parser.add_argument(
        "--threads", type=bench.positive, default=recording.usable_cores(), help="as for a group"
    )
    return bench.parsed(parser, arguments)


def as_measured(group: Group, what: str, benchmark: Any) -> float:
    """Seconds a step of one round, measured as a sample group does."""
    return group.target(what).measured(benchmark, rounds=1)[0]


@dataclass(frozen=True)
class Loop:
    """What the bare loop calls, by work, and the batches it gives to it."""

    calls: dict[str, Callable[[Any], Any]]
    placed: list[Any]


def by_hand(group: Group) -> Loop:
    """The loop of the folder's ``bare.py``, which answers as the row does.

    Raises Unavailable where it was not written for the task, and Void where its first logits or its first
    loss are others: it would be another model.
    """
    question, task = group.question, group.question.task
    params = weights.cast(weights.initial(task, question.row.seed), "float32")
    hand = implementations.bare(question.folder).build(task, question.row.device, params)
    batches = [
        tasks.cast(batch, "float32") for batch in islice(tasks.batches(task, question.row.seed), BATCHES)
    ]
    loop = Loop({"train": hand.step, "infer": hand.infer}, [hand.place(batch) for batch in batches])
    row = implementations.builder(question.folder, question.row.variant)(
        task, question.row.dtype, question.row.device
    )
    row.load(params)
    for what, call in {"infer": row.infer, "train": row.step}.items():
        expected = row.fetch(call(row.place(batches[0])))
        got = row.fetch(loop.calls[what](loop.placed[0]))
        if expected.shape != got.shape or abs(got - expected).max() > SAME * abs(expected).max():
            raise Void(f"{what}: expected the answer of the row, {expected}, got {got} from bare.py")
    return loop


def bare(group: Group, what: str, loop: Loop | None = None) -> float:
    """Seconds a step of as many, measured as one writes it by hand."""
    loop = loop or Loop(group.calls, group.placed)
    call, sync, n, placed = loop.calls[what], group.impl.sync, group.iterations[what], cycle(loop.placed)
    began = time.perf_counter()
    for _ in range(n):
        call(next(placed))
    sync()
    return (time.perf_counter() - began) / n


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median with its 95 % interval between two order statistics: one burst of load moves neither.

    Exact for any distribution (Conover 1999, Practical Nonparametric Statistics, section 3.2). Of fewer
    than six ratios there is none: from 0 to infinity.
    """
    ordered, n = sorted(ratios), len(ratios)
    below, k = 1 / 2**n, 0  # of the ratios, k - 1 or fewer below the median: how likely
    while below <= OUTSIDE:
        k += 1
        below += math.comb(n, k) / 2**n
    low, high = (ordered[k - 1], ordered[n - k]) if k else (0.0, math.inf)
    return statistics.median(ordered), low, high


if __name__ == "__main__":
    sys.exit(main())
