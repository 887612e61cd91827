"""Prove one row, then train it to quality: ``python -m suites.train`` (``nox -s train-<impl>-<device>``).

It trains to the steps that the spec states for the size, looks at held-out data on
the way, and writes one record with the whole curve. With ``--seeds`` it does so for each
seed, one after the other, in a process of its own; what is trained already stays.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from results import store
from results.errors import UserError
from suites import implementations, recording, selection, spec
from suites.bench.__main__ import INTERRUPTED, parsed, positive, proof
from suites.bench.campaign import Campaign, clock, row_options
from suites.bench.environments import Environment, tail
from suites.selection import Question
from suites.train import series
from suites.train.run import DIVERGED

SIZE = "small"
DTYPE = "float32"
VARIANT = "native"  # where the folder has it: the framework's own layer is what its users train


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 0 only where the row was proven and trained to its end."""
    try:
        return train(parse(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nInterrupted: nothing of this training is kept, and no record of it was written; other seeds' "
            "stay. The same command starts it again; a finished proof is not repeated.",
            file=sys.stderr,
        )
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist, with the nearest that does."""
    parser = argparse.ArgumentParser(prog="python -m suites.train", description=__doc__.splitlines()[0])
    selection.add_options(parser.add_argument)
    add = parser.add_argument
    add("--seeds", metavar="0-7", help="several, 0-7 or 0,2,5-9: those that are not trained yet, one by one")
    add("--records", type=Path, default=recording.ROOT / "results" / "records", help="folder of records")
    add("--threads", type=positive, default=recording.usable_cores(), help="threads that the row may use")
    options = parsed(parser, arguments)
    options.records = options.records.resolve()  # the children run in the project's folder
    return options


def chosen(options: argparse.Namespace) -> Question:
    """The one row that the options select, defaults filled in. Raises UserError."""
    asked = dict(vars(options))
    pairs = selection.tasks_and_cells(asked.get)
    tasks = list(dict.fromkeys(name for name, _ in pairs))
    if len(tasks) > 1:
        raise UserError(f"--task: expected one task to train, got {', '.join(tasks)}.")
    asked["task"] = tasks[0]
    asked["cell"] = options.cell or pairs[0][1]
    if options.variant is None and options.impl:
        held = implementations.find(options.impl).variants
        asked["variant"] = VARIANT if VARIANT in held else held[0]
    size = spec.trained_size(tasks[0], options.data, SIZE)
    questions = selection.questions(asked.get, size=size, dtypes=(DTYPE,))
    if len(questions) != 1:
        rows = "; ".join(str(question.row) for question in questions)
        raise UserError(f"expected options that select one row to train, got {len(questions)}: {rows}.")
    return questions[0]


def at_seeds(options: argparse.Namespace) -> list[Question]:
    """The chosen row, at each of the seeds. Raises UserError."""
    if options.seeds is None:
        return [chosen(options)]
    if options.seed is not None:
        raise UserError(f"--seed {options.seed} --seeds {options.seeds}: expected one of the two, got both.")
    numbers = series.seeds(options.seeds)
    return series.of_seeds(chosen(options), numbers)


def train(options: argparse.Namespace) -> int:
    """Prove the row, train it at each seed in a fresh process; the exit code."""
    questions = at_seeds(options)
    first = questions[0]
    selection.check_data([first])
    environment = Environment(options.impl, sys.executable, first.row.device, options.threads)
    print(f"To train: {in_words(first, options.seeds)}", flush=True)
    described = environment.describe()
    if "origin" not in described:
        raise UserError(f"{first.folder.name} cannot run here: {described['reason']}")
    origin = described["origin"]
    reason = refused(options, first, environment, origin)
    ended = {}
    if options.seeds:
        ended = series.outcomes(questions, store.read_all(options.records)[0], origin)
    left = [question for question in questions if question.row.seed not in ended]
    if reason:
        for question in left:
            recording.write(options.records, "training", question, "untimed", reason, {}, origin)
        print(f"untrained  {first.row}: {reason}", flush=True)
        return 1
    failed = [seed for seed, record in ended.items() if record["status"] != "ok"]
    if ended:
        print(f"{len(ended)} of {len(questions)} seeds are trained already and stay as they are.", flush=True)
    failed += one_by_one(options, left, environment, origin)
    if failed:
        print(f"failed: seed {', '.join(map(str, sorted(failed)))}", flush=True)
    return 1 if failed else 0


def in_words(question: Question, seeds: str | None) -> str:
    """What is asked, and, of several seeds, by which difference they will be judged."""
    text = f"{question.row}, {question.task.schedule.steps} steps"
    if seeds is None:
        return text
    margin = "no margin" if question.task.margin is None else f"a margin of {question.task.margin:g}"
    return f"{text}; seeds {seeds}, with {margin} of equivalence stated"


def one_by_one(
    options: argparse.Namespace, left: list[Question], environment: Environment, origin: dict[str, Any]
) -> list[int]:
    """Train each; of several, a line before each. The seeds that came to nothing."""
    began, failed = time.monotonic(), []
    for n, question in enumerate(left):
        if options.seeds:
            spent = time.monotonic() - began
            ahead = f", about {clock(spent / n * (len(left) - n))} left" if n else ""
            print(f"[{n + 1}/{len(left)}  {clock(spent)}{ahead}]  seed {question.row.seed}", flush=True)
        if not trained(options, question, environment, origin):
            failed.append(question.row.seed)
    return failed


def trained(
    options: argparse.Namespace, question: Question, environment: Environment, origin: dict[str, Any]
) -> bool:
    """Train one row in a fresh process; whether it came to its end. Its record is there, whatever comes."""
    own = ["--records", str(options.records), "--threads", str(options.threads)]
    code, complaint = launch(environment, *own, *row_options(question))
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code not in (0, DIVERGED):  # a training that diverged has left its record itself
        reason = f"exit code {code} ({question.row}):\n{tail(complaint)}"
        recording.write(options.records, "training", question, "error", reason, {}, origin)
        print(f"error  {reason}", flush=True)
    return code == 0


def refused(
    options: argparse.Namespace, question: Question, environment: Environment, origin: dict[str, Any]
) -> str:
    """Why the row may not be trained, by the rule of the timings; nothing where it is proven here and now."""
    row = question.row
    name = question.folder.name
    campaign = Campaign(options.records, {name: environment}, {name: origin}, [question], 1, 1, 0)
    alone = {
        "variant": row.variant,
        "task": question.asked,
        "cell": row.cell,
        "dtype": row.dtype,
        "data": row.data,
        "seed": str(row.seed),
    }
    proof(argparse.Namespace(**(vars(options) | alone)), campaign, name)
    return campaign.verdict(question, campaign.known())


def launch(environment: Environment, *arguments: str) -> tuple[int, str]:
    """Train in a child, its output going where ours goes; the exit code and what it complained of."""
    done = subprocess.run(
        environment.command("-m", "suites.train.run", *arguments),
        cwd=recording.ROOT,
        env=environment.variables(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode not in (0, INTERRUPTED):
        print(done.stderr, end="", file=sys.stderr, flush=True)
    return done.returncode, done.stderr


if __name__ == "__main__":
    sys.exit(main())
