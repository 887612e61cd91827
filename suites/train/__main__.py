"""Prove one row, then train it to quality: ``python -m suites.train`` (``nox -s train-<impl>-<device>``).

It trains to the steps that the spec states for the size, looks at held-out data on
the way, and writes one record with the whole curve.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from results.errors import UserError
from suites import implementations, recording, selection, spec
from suites.bench.__main__ import INTERRUPTED, parsed, positive, proof
from suites.bench.campaign import Campaign, row_options
from suites.bench.environments import Environment, tail
from suites.selection import Question
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
            "\nInterrupted: nothing of this training is kept, and no record was written. "
            "The same command starts it again; a finished proof is not repeated.",
            file=sys.stderr,
        )
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist, with the nearest that does."""
    parser = argparse.ArgumentParser(prog="python -m suites.train", description=__doc__.splitlines()[0])
    selection.add_options(parser.add_argument)
    add = parser.add_argument
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


def train(options: argparse.Namespace) -> int:
    """Prove the row, train it in a fresh process; the exit code."""
    question = chosen(options)
    selection.check_data([question])
    row, name = question.row, question.folder.name
    environment = Environment(options.impl, sys.executable, row.device, options.threads)
    print(f"To train: {row}, {question.task.schedule.steps} steps", flush=True)
    described = environment.describe()
    if "origin" not in described:
        raise UserError(f"{name} cannot run here: {described['reason']}")
    origin = described["origin"]
    reason = refused(options, question, environment, origin)
    if reason:
        recording.write(options.records, "training", question, "untimed", reason, {}, origin)
        print(f"untrained  {row}: {reason}", flush=True)
        return 1
    own = ["--records", str(options.records), "--threads", str(options.threads)]
    code, complaint = launch(environment, *own, *row_options(question))
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code not in (0, DIVERGED):  # a training that diverged has left its record itself
        reason = f"exit code {code} ({row}):\n{tail(complaint)}"
        recording.write(options.records, "training", question, "error", reason, {}, origin)
        print(f"error  {reason}", flush=True)
    return 0 if code == 0 else 1


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
