"""A whole visit to a machine with a GPU, in minutes: ``python -m suites.bench.visit`` (``nox -s gpu-visit``).

The time on such a machine may be short, and end without warning. So the visit is a row of stops, the most
valuable first; each proves its rows, times them, measures their memory, and writes every record as it comes.
What is over time is interrupted as a user would do it: what was finished stays, and the same command goes on
from there. ``--device cpu`` rehearses it where there is no GPU.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from results.errors import UserError
from suites import recording
from suites.bench import __main__ as bench
from suites.bench.environments import interpreters

MINUTES = 10
LEAST_S = 30.0  # in less no row is proven and timed: a framework's import and a first step take that long
END_S = 15.0  # that an interrupted stop may take to write the record it is at
UNABLE = "cannot run"  # here, so nothing else is asked of that framework
CAME_TO = {0: "done", bench.UNABLE: UNABLE, bench.BUSY: "busy"}  # by the exit code of suites.bench
FRAMEWORKS = ("torch", "jax", "tensorflow")  # what users type most comes first
ONE_PASS = ("--passes", "1", "--blocks", "3")
TWO_PASSES = ("--passes", "2", "--blocks", "3")  # the fewest that an interval can be had from

# Question by question: who is asked, and what; in strict float32, where no other precision is named.
QUESTIONS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("torch",), ("--task", "char_lm", "--cell", "lstm", "--size", "M", *TWO_PASSES)),
    (("jax", "tensorflow"), ("--task", "char_lm", "--cell", "lstm", "--size", "M", *ONE_PASS)),
    # FlashRNN's shape (arXiv 2412.07752)
    (
        ("torch",),
        (
            *("--task", "char_lm", "--cell", "lstm", "--variant", "native"),
            *("--batch", "16", "--length", "1024", "--hidden", "768", *ONE_PASS),
        ),
    ),
    # The same with less exact products: beside the strict rows, never compared with them
    (FRAMEWORKS, ("--task", "char_lm", "--cell", "lstm", "--size", "M", "--dtype", "tf32", *ONE_PASS)),
    (FRAMEWORKS, ("--task", "char_lm", "--cell", "lstm", "--size", "M", "--dtype", "bf16", *ONE_PASS)),
    (("torch",), ("--task", "char_lm", "--cell", "gru", "--size", "M", *ONE_PASS)),
    (FRAMEWORKS, ("--task", "adding", "--cell", "lstm", "--size", "M", *ONE_PASS)),
    # Braun's layer (arXiv 1806.01818) and one of DeepBench's
    *(
        (("torch", "jax"), ("--task", "adding", "--cell", "lstm", "--size", size, *ONE_PASS))
        for size in ("braun", "deepbench")
    ),
    # cuDNN's kernels change with H: at its edges, and just above
    *(
        (("torch",), ("--task", "char_lm", "--cell", "lstm", "--size", "M", "--hidden", str(H), *ONE_PASS))
        for H in (128, 192, 320, 384)
    ),
    *(
        (
            ("torch",),
            (
                *("--task", "char_lm", "--cell", "lstm", "--size", "M", "--hidden", str(H)),
                *("--variant", "native", *ONE_PASS),
            ),
        )
        for H in (136, 200, 264, 392)
    ),
)


@dataclass(frozen=True)
class Stop:
    """One framework asked one question."""

    impl: str
    python: str
    asked: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.impl}: {' '.join(self.asked)}"

    def command(self, options: argparse.Namespace) -> list[str]:
        """What runs."""
        here = ["--impl", self.impl, "--device", options.device]
        here += [] if "--dtype" in self.asked else ["--dtype", "float32"]
        return [self.python, "-m", "suites.bench", *here, *self.asked, "--records", str(options.records)]


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 0 only where every stop was made and every row of it proven and timed."""
    return bench.told(lambda: go(parse(arguments)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist, with the nearest that does."""
    parser = argparse.ArgumentParser(prog="python -m suites.bench.visit", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", default="gpu", choices=["gpu", "cpu"], help="gpu by default; cpu is a rehearsal")
    add("--minutes", type=bench.positive, default=MINUTES, help=f"for all; {MINUTES} by default")
    add(
        "--python",
        action="append",
        default=[],
        metavar="NAME=EXECUTABLE",
        help="where a framework runs; this interpreter by default, for those that it holds",
    )
    add("--records", type=Path, default=recording.ROOT / "results" / "records", help="folder of records")
    return bench.parsed(parser, arguments)


def go(options: argparse.Namespace) -> int:
    """Make the stops while there is time; the exit code. Raises UserError where nobody can be asked."""
    until = time.monotonic() + 60 * options.minutes - END_S
    came_to: dict[Stop, str] = {}
    for stop in stops(options):
        unable = any(came_to[other] == UNABLE for other in came_to if other.impl == stop.impl)
        come = UNABLE if unable else made(stop.command(options), str(stop), lambda: until - time.monotonic())
        came_to[stop] = come
    for stop, come in came_to.items():
        print(f"{come:<12} {stop}")
    print(f"Records are in {options.records}; the same command goes on with what is not done.")
    return 0 if set(came_to.values()) == {"done"} else 1


def stops(options: argparse.Namespace) -> Iterator[Stop]:
    """In order, of the frameworks that there are. Raises UserError where there is none."""
    pythons = interpreters(options.python) or dict.fromkeys(FRAMEWORKS, sys.executable)
    able = {impl: python for impl, python in pythons.items() if impl in FRAMEWORKS and holds(impl, python)}
    if not able:
        raise UserError(
            f"expected {', '.join(FRAMEWORKS)}, or one of them, in "
            f"{', '.join(sorted(set(pythons.values())))}; got none. "
            "Name where they are: --python torch=EXECUTABLE"
        )
    for impls, asked in QUESTIONS:
        for impl in impls:
            if impl in able:
                yield Stop(impl, able[impl], asked)


def holds(impl: str, python: str) -> bool:
    """Whether the interpreter has the framework: found, not imported, which takes seconds."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({impl!r}) is None)"
    return subprocess.run([python, "-c", look], check=False).returncode == 0


def made(command: list[str], about: str, left: Callable[[], float]) -> str:
    """Run one stop within the seconds that are left: "done", "failed", UNABLE, "cut off" or "not begun"."""
    if left() < LEAST_S:
        return "not begun"
    print(f"\n== {about}  ({left() / 60:.1f} minutes left)", flush=True)
    process = subprocess.Popen(command, cwd=recording.ROOT)
    try:
        return CAME_TO.get(process.wait(left()), "failed")
    except subprocess.TimeoutExpired:
        return "cut off"
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it where it still runs, as a user would; kill what does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
