"""Time and memory against T, B and H: ``python -m suites.bench.curves`` (``nox -s curves``).

A cross of rows around one centre: along an axis one of T, B, H takes each of its points, the
other two stay at the centre. They are proven, timed and resumed as any comparison is, in one
campaign, so that the report finds them (``reports/scaling.py``). By default one task and cell,
one pass: ten points of seven rows take about nine minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from results.errors import UserError, unknown
from suites import recording, selection
from suites.bench import __main__ as bench
from suites.bench.environments import Environment
from suites.selection import Question

AXES = {"T": "length", "B": "batch", "H": "hidden"}  # letter, and the option that sets it
POINTS = {"T": "25,50,100,200,400", "B": "1,8,32,128", "H": "64,128,256"}
CENTRE = "T=50,B=32,H=64"
BLOCKS = 2  # where one pass is all there is, more of them would only look more certain
TASK, CELL = "adding", "lstm"


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is that of ``python -m suites.bench``."""
    return bench.told(lambda: measure(parse(arguments)))


def measure(options: argparse.Namespace) -> int:
    """Prove and time every row at every point; the exit code."""
    environments, questions = rows(options, grid(options))
    return bench.prove_and_time(options, environments, questions, {})


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist, with the nearest that does."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.bench.curves", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    help_of = {flag: text for flag, text in selection.OPTIONS.items() if flag[2:] not in AXES.values()}
    for flag, text in (help_of | {"--task": f"{TASK} by default", "--cell": f"{CELL} by default"}).items():
        add(flag, default={"--task": TASK, "--cell": CELL}.get(flag), help=text)
    for letter, name in AXES.items():
        add(f"--{name}", default=POINTS[letter], help=f"points of {letter}; {POINTS[letter]} by default")
    add("--axis", default=",".join(AXES), help="along which of T, B, H; all by default")
    add("--centre", default=CENTRE, help=f"where the others stay; {CENTRE} by default, or any of the three")
    add("--python", action="append", default=[], metavar="NAME=EXECUTABLE", help="as for a comparison")
    add("--records", type=Path, default=recording.ROOT / "results" / "records", help="folder of records")
    add("--passes", type=bench.positive, default=1, help="passes over all rows; 1 by default")
    add(
        "--blocks",
        type=bench.positive,
        default=BLOCKS,
        help="blocks of a group, in turn with those of its point",
    )
    add("--threads", type=bench.positive, default=recording.usable_cores(), help="threads of a row")
    add("--timeout", type=bench.positive, default=bench.TIMEOUT_S, help="seconds that a group may work")
    options = bench.parsed(parser, arguments)
    options.parity_only = False
    return options


def grid(options: argparse.Namespace) -> list[dict[str, str]]:
    """The points, each once, as the options of its row. Raises UserError."""
    centre = centre_of(options.centre)
    found: list[dict[str, str]] = []
    for letter in axes(options.axis):
        for value in points(letter, getattr(options, AXES[letter])):
            at = centre | {letter: value}
            found.append({name: str(at[axis]) for axis, name in AXES.items()})
    return list({tuple(point.values()): point for point in found}.values())


def axes(text: str) -> list[str]:
    """The letters, each once. Raises UserError."""
    for letter in text.split(","):
        if letter not in AXES:
            raise unknown("axis", letter, list(AXES))
    return list(dict.fromkeys(text.split(",")))


def points(letter: str, text: str) -> list[int]:
    """The values along an axis, rising. Raises UserError for fewer than two."""
    found = {whole(f"--{AXES[letter]} {text}", value) for value in text.split(",")}
    if len(found) < 2:
        raise UserError(f"--{AXES[letter]} {text}: a curve expects at least two points, got {len(found)}.")
    return sorted(found)


def centre_of(text: str) -> dict[str, int]:
    """T, B, H of the centre; what is not named is the default's. Raises UserError."""
    found: dict[str, int] = {}
    for pair in [*CENTRE.split(","), *text.split(",")]:
        letter, sign, value = pair.partition("=")
        if not sign or letter not in AXES:
            raise UserError(f"--centre {text}: expected numbers for T, B, H, as {CENTRE}, got {pair!r}.")
        found[letter] = whole(f"--centre {text}", value)
    return found


def whole(where: str, text: str) -> int:
    """A whole number; how large it may be is the spec's to say. Raises UserError."""
    if not text.isdecimal():
        raise UserError(f"{where}: expected whole numbers, got {text!r}.")
    return int(text)


def rows(
    options: argparse.Namespace, found: list[dict[str, str]]
) -> tuple[dict[str, Environment], list[Question]]:
    """The environments, and every selected row at every point. Raises UserError."""
    questions: list[Question] = []
    for point in found:
        chosen: dict[str, Any] = vars(options) | point
        environments, more = bench.rows(argparse.Namespace(**chosen))
        questions += more
    return environments, questions


if __name__ == "__main__":
    sys.exit(main())
