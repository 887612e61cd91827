"""Prove, then time: ``python -m suites.bench`` (``nox -s compare``, ``nox -s bench-<impl>-<device>``).

With ``--python NAME=EXECUTABLE`` once for each implementation, all are compared;
with ``--impl`` alone, that one is measured in this interpreter. What is proven is what is
timed: by default two tasks with the LSTM, which take a quarter of an hour on two cores;
``--full`` takes every task and cell, ``--task`` and ``--cell`` select.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from results.errors import UserError
from suites import implementations, recording, selection, spec
from suites.bench import gpu, passthrough
from suites.bench.campaign import Campaign
from suites.bench.environments import Environment, interpreters
from suites.bench.proof import prove
from suites.selection import Question

SIZE = "small"
TASKS = ("adding", "char_lm")  # the default of a comparison on a laptop; --full takes them all
CELLS = ("lstm",)  # likewise, where a task has it
HELP = {  # in place of what selection says
    "--task": f"task by name, or the path of a TOML file; {', '.join(TASKS)} by default, or who has --data",
    "--cell": f"rnn, lstm, gru, gru_reset_before; {', '.join(CELLS)} by default",
}
EPILOG = (
    "What is proven is what is timed. The default tasks and cells take a quarter of an hour on two cores; "
    "--full takes them all. Every --benchmark-* option of pytest-benchmark is handed on to the sample groups "
    "(suites/bench/passthrough.py)."
)
PASSES = 3, 10  # at least, at most; two leave an interval so wide that little is separable
BLOCKS = 5, 42
GROUPS, TURNS = 60, 190  # rows x passes, rows x blocks of a pass, that are aimed at
TIMEOUT_S = 600
GATE_SIZE = "tiny"
SIZED = ("size", "length", "batch", "hidden")  # options that the gate leaves aside: a proof has its own size
UNABLE = 2  # the exit code of a user's mistake, and of what cannot run here
BUSY = 3  # of what could, were nobody else at work on the GPU
INTERRUPTED = 130  # the shell's exit code for an interrupt


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 0 only where every row asked for was proven or deviates as stated, and timed."""
    return told(lambda: measure(parse(arguments)))


def told(run: Callable[[], int]) -> int:
    """Run; the exit code. A user's mistake and an interrupt are told without a traceback."""
    try:
        return run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BUSY if isinstance(error, gpu.Busy) else UNABLE
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What was finished is kept; the same command goes on from there.", file=sys.stderr
        )
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist, with the nearest that does."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.bench", description=__doc__.splitlines()[0], epilog=EPILOG
    )
    add = parser.add_argument
    selection.add_options(lambda flag, **kept: add(flag, **kept | {"help": HELP.get(flag, kept["help"])}))
    add(
        "--python",
        action="append",
        default=[],
        metavar="NAME=EXECUTABLE",
        help="where an implementation runs",
    )
    add("--records", type=Path, default=recording.ROOT / "results" / "records", help="folder of records")
    between = "{} to {} by default, more of fewer rows".format
    add("--passes", type=positive, help=f"passes over all rows; {between(*PASSES)}")
    blocks = "blocks of a group, in turn with those it is compared with"
    add("--blocks", type=positive, help=f"{blocks}; {between(*BLOCKS)}")
    add("--threads", type=positive, default=recording.usable_cores(), help="threads that a row may use")
    add("--timeout", type=positive, default=TIMEOUT_S, help="seconds that a group may work")
    add("--full", action="store_true", help="every task and cell that no option selects from")
    passthrough.add_options(parser)
    add("--parity-only", action="store_true", help="prove, but do not time")
    return parsed(parser, arguments)


def parsed(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """What the parser reads. Raises UserError for an option that it does not have, with the nearest."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], known, n=1)
        raise UserError(f"unknown option {unknown[0]!r}." + (f" Did you mean {near[0]}?" if near else ""))
    return options


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above zero, got {text!r}")
    return int(text)


def measure(options: argparse.Namespace) -> int:
    """Check the options, prove every implementation, time what is proven."""
    handed_on = passthrough.given(options)
    options = narrowed(options)
    return prove_and_time(options, *rows(options), handed_on)


def prove_and_time(
    options: argparse.Namespace,
    environments: dict[str, Environment],
    questions: list[Question],
    handed_on: passthrough.Given,
) -> int:
    """Prove every implementation that can run here, time these rows of it; the exit code."""
    selection.check_data(questions)
    origins, unable = {}, []
    for name, environment in list(environments.items()):
        print(f"Looking at {name} in {environment.python} ...", flush=True)
        described = environment.describe()
        if "origin" in described:
            origins[name] = described["origin"]
            continue
        unable.append(f"{name}: {described['reason']}")
        print(f"skipped, not passed  {unable[-1]}", flush=True)
    questions = [question for question in questions if question.folder.name in origins]
    if not questions:
        raise UserError("nothing can run here. " + " ".join(unable))
    passes, blocks = budget(len(questions))
    passes, blocks = options.passes or passes, options.blocks or blocks
    print(f"{len(questions)} row(s), {passes} passes of {blocks} blocks (--passes, --blocks)", flush=True)
    spent = (passes, blocks, options.timeout)
    campaign = Campaign(options.records, environments, origins, questions, *spent, handed_on)
    gate = {name: proof(options, campaign, name) for name in origins}
    if not options.parity_only:
        campaign.run()
    return summary(gate, unable, campaign)


def budget(rows: int) -> tuple[int, int]:
    """How many passes and blocks, where it is not said: of fewer rows more, and narrower intervals."""
    passes, blocks = max(PASSES[0], GROUPS // rows), max(BLOCKS[0], TURNS // rows)
    return min(PASSES[1], passes), min(BLOCKS[1], blocks)


def narrowed(options: argparse.Namespace) -> argparse.Namespace:
    """The options with the default tasks and cells where none is selected, and said so; ``--full``: as given.

    Data select tasks too. Of the default cells those that every task has; all, where there are none.
    """
    if options.full:
        return options
    chosen = dict(vars(options))
    if options.task is None and options.data is None:
        chosen["task"] = ",".join(TASKS)
    if options.cell is None:
        tasks = dict.fromkeys(task for task, _ in selection.tasks_and_cells(chosen.get))
        held = [cell for cell in CELLS if all(cell in spec.cells(task) for task in tasks)]
        chosen["cell"] = ",".join(held) or None
    added = [
        f"--{name} {chosen[name]}" for name in ("task", "cell") if chosen[name] != getattr(options, name)
    ]
    if added:
        print(f"The default choice: {' '.join(added)}. --full takes every task and cell.", flush=True)
    return argparse.Namespace(**chosen)


def rows(options: argparse.Namespace) -> tuple[dict[str, Environment], list[Question]]:
    """The environments by implementation, and the rows to time. Raises UserError."""
    pythons = interpreters(options.python)
    if options.impl:
        asked = options.impl.split(",")
        strange = [impl for impl in asked if impl not in pythons]
        if pythons and strange:
            raise UserError(
                f"--impl {strange[0]}: expected one of {', '.join(pythons)}; a folder is "
                f"measured by `nox -s bench-<framework>-<device> -- --impl {strange[0]}`, in its environment."
            )
        pythons = {impl: pythons.get(impl, sys.executable) for impl in asked}
    if not pythons:
        raise UserError(
            "expected --impl NAME, or --python NAME=EXECUTABLE for each implementation, got neither."
        )
    check_variants(options.variant, list(pythons))
    environments, questions = {}, []
    for impl, python in pythons.items():
        chosen = of_one(options, impl)
        if chosen["variant"] == "":
            print(f"{impl}: left out, for it has no variant {options.variant}", flush=True)
            continue
        found = selection.questions(chosen.get, size=SIZE, dtypes=("float32",))
        environments[found[0].folder.name] = Environment(
            impl, python, options.device or "cpu", options.threads
        )
        questions += found
    return environments, questions


def check_variants(asked: str | None, impls: list[str]) -> None:
    """Raise UserError for a variant that none of the implementations has."""
    known = {variant for impl in impls for variant in implementations.find(impl).variants}
    for variant in asked.split(",") if asked else ():
        selection.one_of("variant", variant, sorted(known))


def of_one(options: argparse.Namespace, impl: str) -> dict[str, Any]:
    """The options for one implementation: of the variants asked for, those that it has."""
    held = implementations.find(impl).variants
    asked = options.variant and ",".join(name for name in options.variant.split(",") if name in held)
    return vars(options) | {"impl": impl, "variant": asked}


def proof(options: argparse.Namespace, campaign: Campaign, name: str) -> int:
    """Put one implementation through the gate, unless it is proven as it stands; pytest's exit code."""
    environment, origin = campaign.environments[name], campaign.origins[name]
    asked = of_one(options, environment.impl)
    chosen = {key: value for key, value in asked.items() if key not in SIZED}
    rows = selection.questions(chosen.get, size=GATE_SIZE, dtypes=spec.DTYPES)
    held = {record["key"] for record in campaign.known() if record["status"] in ("passed", "deviates")}
    if all(recording.key("parity", question, origin) in held for question in rows):
        print(
            f"{name}: proven already, {len(rows)} rows: same source, lock, versions and hardware", flush=True
        )
        return 0
    print(f"{name}: {len(rows)} rows to prove", flush=True)
    return prove(environment, gate_options(asked), options.records)


def gate_options(options: Mapping[str, Any]) -> list[str]:
    """What the gate is asked: the same rows at its own size, in both dtypes unless one is chosen."""
    found = []
    for name in ("variant", "task", "cell", "dtype", "data", "seed"):
        if options[name] is not None:
            found += [f"--{name}", options[name]]
    return found


def summary(gate: dict[str, int], unable: list[str], campaign: Campaign) -> int:
    """Say what failed; the exit code."""
    broken = [name for name, code in gate.items() if code != 0]
    for text in unable:
        print(f"skipped: {text}")
    for name in broken:
        print(f"parity failed: {name}, see above; its failing rows are untimed")
    for text in campaign.failed:
        print(f"not measured: {text}")
    for text in campaign.worse:
        print(f"measured, but --benchmark-compare failed: {text}")
    print(f"Records are in {campaign.records}; `nox -s report` writes the tables.")
    return 1 if broken or campaign.failed or campaign.worse or unable else 0


if __name__ == "__main__":
    sys.exit(main())
