"""One row in training: the curve is what it says, evaluation changes nothing, what diverges is told."""

from __future__ import annotations

import dataclasses
from io import StringIO
from itertools import islice
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from suites import implementations, selection, spec, tasks, weights
from suites.interface import Implementation
from suites.selection import Question
from suites.spec import Schedule
from suites.train.metrics import evaluate, valid
from suites.train.progress import Lines
from suites.train.run import Diverged, Trainer, beside


def question(task: str) -> Question:
    chosen = {"impl": "numpy", "variant": "scratch", "task": task, "cell": spec.cells(task)[-1]}
    (found,) = selection.questions(chosen.get, size="tiny", dtypes=("float32",))
    return found


def built(asked: Question) -> Implementation:
    impl = implementations.builder(asked.folder, asked.row.variant)(asked.task, "float32", "cpu")
    impl.load(weights.initial(asked.task, asked.row.seed))
    return impl


def trainer(asked: Question, impl: Any, out: StringIO | None = None) -> Trainer:
    shown = Lines(Console(file=out or StringIO(), width=200), asked.task.schedule.steps)
    return Trainer(asked, impl, shown)


@pytest.mark.parametrize("name", ["adding", "char_lm"])
def test_the_curve_is_that_of_a_plain_loop(name: str) -> None:
    asked = question(name)
    run = trainer(asked, built(asked))
    run.train()
    plain, held_out = built(asked), list(tasks.held_out(asked.task, 0))
    losses = [float(plain.step(plain.place(batch))) for batch in islice(tasks.batches(asked.task, 0), 60)]
    assert [point["step"] for point in run.curve] == [0, 20, 40, 60]
    assert run.curve[0]["loss"] is None
    means = [sum(losses[at : at + 20]) / 20 for at in (0, 20, 40)]
    assert [point["loss"] for point in run.curve[1:]] == means
    assert run.final == evaluate(plain, asked.task, "float32", held_out, tasks.facts(asked.task).unit)
    assert run.curve[-1]["held_out"] == run.final[tasks.facts(asked.task).unit]
    assert [point["seconds"] for point in run.curve] == sorted(point["seconds"] for point in run.curve)
    for w, expected in zip(run.impl.dump().values(), plain.dump().values(), strict=True):
        assert (w == expected).all()  # looking at held-out data has moved nothing


def test_the_body_tells_optimum_and_baseline() -> None:
    asked = question("adding")
    run = trainer(asked, built(asked))
    run.train()
    body = run.body({"threads": "1"})
    assert (body["metric"], body["optimum"], body["predictions"]) == ("squared error", 0.0, 4 * 5)
    assert beside(body) == "optimum 0, baseline 0.1667 (squared error)"
    assert beside(body | {"optimum": None}).startswith("optimum unknown")


@pytest.mark.parametrize("name", spec.names())
def test_every_task_can_be_trained(name: str) -> None:
    asked = question(name)
    asked = dataclasses.replace(asked, task=dataclasses.replace(asked.task, schedule=Schedule(2, 1, 2)))
    out = StringIO()
    run = trainer(asked, built(asked), out)
    run.train()
    body = run.body({})
    unit = tasks.facts(asked.task).unit
    assert body["metric"] == unit == next(iter(body["final"]))
    assert [point["step"] for point in body["curve"]] == [0, 1, 2]
    assert body["curve"][-1]["held_out"] == body["final"][unit]
    counted = [valid(asked.task.model, batch) for batch in tasks.held_out(asked.task, 0)]
    assert body["predictions"] == sum(int(which.sum()) for which in counted)
    if not asked.task.model.ragged:
        assert body["predictions"] == sum(which.size for which in counted)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    for line, point in zip(lines, body["curve"], strict=True):  # the task's own metric, and no other
        assert line.endswith(f"  held-out {unit} {point['held_out']:.4g}")


class Spoiled:
    """NumPy's implementation, with a loss or with logits that are no numbers from some step on."""

    def __init__(self, impl: Implementation, loss_at: int = 10**6, logits_at: int = 10**6) -> None:
        self.impl, self.loss_at, self.logits_at, self.count = impl, loss_at, logits_at, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.impl, name)

    def step(self, placed: Any) -> Any:
        self.count += 1
        loss = self.impl.step(placed)
        return loss if self.count < self.loss_at else np.float32("nan")

    def forward(self, batch: Any, carry: Any) -> Any:
        answer = self.impl.forward(batch, carry)
        return answer if self.count < self.logits_at else answer | {"logits": answer["logits"] * np.inf}


def test_a_loss_that_is_no_number_names_its_step() -> None:
    asked = question("char_lm")
    run = trainer(asked, Spoiled(built(asked), loss_at=27))
    with pytest.raises(Diverged, match="the training loss is nan at step 27"):
        run.train()
    assert [point["step"] for point in run.curve] == [0, 20]
    assert run.body({})["final"] == {}


def test_a_metric_that_is_no_number_names_its_step() -> None:
    asked = question("adding")
    run = trainer(asked, Spoiled(built(asked), logits_at=40))
    with pytest.raises(Diverged, match=r"held-out squared error (inf|nan) after step 40"):
        run.train()
    assert [point["step"] for point in run.curve] == [0, 20]
