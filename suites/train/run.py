"""One row, trained to the steps of its spec in a process of its own: one record with the whole curve.

Run by ``python -m suites.train``, which proves the row first. Training is no timing:
its seconds hold the making and placing of batches too.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from rich.console import Console

from results.errors import UserError
from suites import implementations, recording, selection, tasks, weights
from suites.bench.__main__ import INTERRUPTED
from suites.interface import Implementation, Unavailable
from suites.selection import Question
from suites.tasks import Facts
from suites.train.metrics import Metrics, evaluate, valid
from suites.train.progress import Bar, Lines, progress

DIVERGED = 3  # exit code: a record says why (1 is Python's own, for a crash)
DIVERGENCE = "training diverged"  # how that record's reason begins
SHOWN_S = 0.25  # losses are fetched, and shown, so often: a fetch waits for the device


class Diverged(Exception):
    """A loss or a metric is no finite number; the text says which and where."""


@dataclass
class Trainer:
    """A row in training, and what is known of it so far."""

    question: Question
    impl: Implementation
    shown: Bar | Lines
    seconds: float = 0.0  # of training alone
    evaluation_seconds: float = 0.0
    predictions: int = 0  # held out and valid, of one evaluation
    curve: list[dict[str, Any]] = field(default_factory=list)
    final: Metrics = field(default_factory=dict)  # after the last step
    pending: list[Any] = field(default_factory=list)  # losses on the device, not yet fetched
    losses: list[float] = field(default_factory=list)  # since the last evaluation

    @cached_property
    def known(self) -> Facts:
        """The primary metric, its optimum and its baseline."""
        return tasks.facts(self.question.task)

    def train(self) -> None:
        """All steps, an evaluation before the first, every so many, and after the last. Raises Diverged."""
        task, row = self.question.task, self.question.row
        held_out = list(tasks.held_out(task, row.seed))
        self.predictions = sum(int(valid(task.model, batch).sum()) for batch in held_out)
        batches = tasks.batches(task, row.seed)
        for step in range(0, task.schedule.steps + 1, task.schedule.every):
            if step:
                self.steps(step - task.schedule.every, islice(batches, task.schedule.every))
            self.evaluate(step, held_out)

    def steps(self, done: int, batches: Any) -> None:
        """Training steps, one a batch; ``done`` came before them."""
        began = shown = time.perf_counter()
        for step, batch in enumerate(batches, done + 1):
            placed = self.impl.place(tasks.cast(batch, self.question.row.kept))
            self.pending.append(self.impl.step(placed))
            if time.perf_counter() - shown > SHOWN_S:
                self.fetch(step)
                shown = time.perf_counter()
        self.fetch(step)
        self.impl.sync()
        self.seconds += time.perf_counter() - began

    def fetch(self, step: int) -> None:
        """Bring the losses up to this step to the host and show the last. Raises Diverged."""
        first = step - len(self.pending) + 1
        values = [float(self.impl.fetch(value)) for value in self.pending]
        self.pending.clear()
        for at, value in enumerate(values, first):
            if not math.isfinite(value):
                raise Diverged(f"the training loss is {value} at step {at}")
        self.losses += values
        if values:
            self.shown.stepped(step, values[-1])

    def evaluate(self, step: int, held_out: list[Any]) -> None:
        """A point of the curve: the mean training loss since the point before, the primary metric."""
        task, dtype, primary = self.question.task, self.question.row.kept, self.known.unit
        began = time.perf_counter()
        found = evaluate(self.impl, task, dtype, held_out, primary)
        self.evaluation_seconds += time.perf_counter() - began
        if not all(map(math.isfinite, found.values())):
            raise Diverged(f"held-out {in_words(found)} after step {step}")
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        self.losses.clear()
        value = found[primary]
        self.curve.append({"step": step, "loss": loss, "held_out": value, "seconds": self.seconds})
        self.shown.evaluated(step, f"held-out {in_words({primary: value})}")
        if step == task.schedule.steps:
            self.final = found

    def body(self, settings: dict[str, str]) -> dict[str, Any]:
        """The record's body, of as much as there is."""
        optimum = self.known.optimum
        return {
            "metric": self.known.unit,
            "optimum": optimum if math.isfinite(optimum) else None,
            "baseline": self.known.baseline,
            "curve": self.curve,
            "final": self.final,
            "predictions": self.predictions,
            "seconds": self.seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "path": self.impl.path(),
            "settings": settings,
        }


def in_words(metrics: Metrics) -> str:
    """``nats 1.284, bits 1.852, perplexity 3.61``."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def beside(body: dict[str, Any]) -> str:
    """What the final metric means: the optimum and the baseline."""
    optimum = "unknown" if body["optimum"] is None else f"{body['optimum']:.4g}"
    return f"optimum {optimum}, baseline {body['baseline']:.4g} ({body['metric']})"


def run(question: Question, threads: int, records: str) -> int:
    """Build, train, write the record; 0 where training ended well."""
    row, task = question.row, question.task
    settings = implementations.device_module(question.folder).configure(row.device, threads)
    impl = implementations.builder(question.folder, row.variant)(task, row.dtype, row.device)
    impl.load(weights.cast(weights.initial(task, row.seed), row.kept))
    status, reason = "ok", ""
    with progress(Console(), task.schedule.steps) as shown:
        trainer = Trainer(question, impl, shown)
        try:
            trainer.train()
        except Diverged as diverged:
            status, reason = "error", f"{DIVERGENCE}: {diverged}"
    body = trainer.body(settings)
    path = recording.write(records, "training", question, status, reason, body)
    if status == "ok":
        steps, spent = task.schedule.steps, f"{trainer.seconds:.0f} s of training"
        print(f"{row}: held-out {in_words(trainer.final)} after {steps} steps, {spent}; {beside(body)}")
    else:
        print(f"{row}: {reason}", file=sys.stderr)
    print(f"The record is {path}; `nox -s report` writes the tables.")
    return 0 if status == "ok" else DIVERGED


def main() -> int:
    """Train the row that the options select."""
    parser = argparse.ArgumentParser(prog="python -m suites.train.run")
    selection.add_options(parser.add_argument)
    parser.add_argument("--records", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    try:
        (question,) = selection.questions(vars(options).get, size="small", dtypes=("float32",))
        return run(question, options.threads, options.records)
    except (UserError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
