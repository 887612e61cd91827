"""Where a row's time goes: ``python -m suites.bench.profile`` (``nox -s profile -- --impl jax --size L``).

The row is built and warmed up as a sample group is, in a process with the settings of one; then some
iterations run under the framework's own profiler (``profile`` of its ``device.py``). A profiler costs time of
its own: its shares are of use; how long an iteration takes, the timed rows say. Nothing is recorded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice

from results.errors import UserError
from suites import implementations, recording, selection
from suites.bench import __main__ as bench
from suites.bench import group as groups
from suites.bench.campaign import row_options
from suites.bench.environments import Environment
from suites.bench.group import Group
from suites.interface import Unavailable

ITERATIONS = 20
LINES = 15
COLUMNS = "{:>10}  {:>6}  {}"


def main(arguments: list[str] | None = None) -> int:
    """Profile each kind of work of one row; the exit code."""
    return bench.told(lambda: go(parse(arguments)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.bench.profile", description=__doc__.splitlines()[0]
    )
    selection.add_options(parser.add_argument)
    add = parser.add_argument
    add("--work", help="train, infer, decode; all that the task has by default")
    add("--iterations", type=bench.positive, default=ITERATIONS, help=f"{ITERATIONS} by default")
    add("--lines", type=bench.positive, default=LINES, help=f"of each table; {LINES} by default")
    add("--threads", type=bench.positive, default=recording.usable_cores(), help="as for a group")
    add("--here", action="store_true", help="in this process, with the settings that it has")
    return bench.parsed(parser, arguments)


def go(options: argparse.Namespace) -> int:
    """Here or in a child. Raises UserError for a row or a work that does not exist."""
    chosen = vars(options)
    question = groups.only(selection.questions(chosen.get, size=bench.SIZE, dtypes=("float32",)))
    valid = groups.work(question.task)
    asked = [selection.one_of("work", what, valid) for what in (options.work or ",".join(valid)).split(",")]
    if options.here:
        return profiled(question, asked, options)
    environment = Environment(options.impl, sys.executable, question.row.device, options.threads)
    own = ["--here", "--work", ",".join(asked)]
    for name in ("iterations", "lines", "threads"):
        own += [f"--{name}", str(chosen[name])]
    return environment.stream("-m", "suites.bench.profile", *own, *row_options(question), timed=True)


def profiled(question: selection.Question, asked: list[str], options: argparse.Namespace) -> int:
    """Build the row, print its tables. Raises UserError where it cannot run, or nobody can tell."""
    try:
        profile = getattr(implementations.device_module(question.folder), "profile", None)
        if profile is None:
            name = question.folder.name
            raise UserError(f"{name}: expected a function profile in its device.py, got none.")
        group = groups.build(question, options.threads)
    except Unavailable as reason:
        raise UserError(str(reason)) from None
    print(question.row)
    for what in asked:
        group.warm_up(what)
        print("\n" + "\n".join(table(group, what, profile, options.iterations, options.lines)))
    return 0


def table(
    group: Group, what: str, profile: Callable[[Callable[[], None]], dict[str, float]], n: int, lines: int
) -> list[str]:
    """What took longest in n iterations of this work, in milliseconds of one."""

    def run() -> None:
        for placed in islice(cycle(group.placed), n):
            group.calls[what](placed)
        group.impl.sync()

    began = time.perf_counter()
    seconds = profile(run)
    wall = time.perf_counter() - began
    whole = sum(seconds.values())
    if not whole:
        raise UserError(f"{what}: expected operations that took time, got none of the profiler.")
    found = sorted(seconds.items(), key=lambda pair: -pair[1])[:lines]
    head = f"{what}: {n} iterations, {1e3 * wall / n:.3g} ms each under the profiler"
    told = [
        COLUMNS.format(f"{1e3 * took / n:.4g}", f"{100 * took / whole:.1f} %", name[:90])
        for name, took in found
    ]
    left = whole - sum(took for _, took in found)
    rest = COLUMNS.format(f"{1e3 * left / n:.4g}", f"{100 * left / whole:.1f} %", "all others")
    return [head, COLUMNS.format("ms", "share", "operation"), *told, *([rest] if left > 0 else [])]


if __name__ == "__main__":
    sys.exit(main())
