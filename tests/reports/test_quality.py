"""Training to quality: the metric beside optimum and baseline, and curves side by side."""

from __future__ import annotations

from typing import Any

import pytest

from reports import quality
from reports.report import render
from reports.rows import select
from results.record import Record


def lines(records: list[Record]) -> list[dict[str, str]]:
    return quality.trained(select(records)[0]).to_dict("records")


def apart(records: list[Record]) -> list[dict[str, str]]:
    return quality.curves(select(records)[0]).to_dict("records")


def test_a_line_tells_metric_optimum_and_baseline(make: Any) -> None:
    (line,) = lines([make.parity(), make.training()])
    assert line["held out"] == "squared error 0.00125, another 4"  # that of the optimum first
    assert line["metric"] == "squared error, lower is better"
    assert (line["optimum"], line["short of it"], line["baseline"]) == ("0", "-", "0.1667")
    assert (line["steps"], line["seconds"], line["proven at"]) == ("200", "3", "-")


@pytest.mark.parametrize(
    ("metric", "reached", "optimum", "better", "short"),
    [
        ("squared error", 1.25e-3, 1e-3, "lower", "25 %"),
        ("nats", 1.25, 1.0, "lower", "25 %"),
        ("nats", 0.99, 1.0, "lower", "-1 %"),  # by chance
        ("accuracy", 0.75, 1.0, "higher", "25 %"),
        ("accuracy", 0.8, 0.8, "higher", "0 %"),
        ("exact match", 0.5, 1.0, "higher", "50 %"),
        ("exact match", 1.0, 1.0, "higher", "0 %"),
    ],
)
def test_how_far_short_of_the_optimum(
    make: Any, metric: str, reached: float, optimum: float, better: str, short: str
) -> None:
    """Of some metrics more is better: a row below their optimum is the worse one."""
    training = make.training(metric=metric, held_out=(0.2, 0.3, reached), optimum=optimum)
    (line,) = lines([make.parity(), training])
    assert line["metric"] == f"{metric}, {better} is better"
    assert line["held out"].startswith(f"{metric} {reached:.4g}")
    assert line["short of it"] == short


def test_an_unknown_optimum_is_said_to_be(make: Any) -> None:
    (line,) = lines([make.parity(), make.training(optimum=None)])
    assert (line["optimum"], line["short of it"]) == ("unknown", "-")


def test_of_an_unknown_metric_nobody_knows_what_is_better_and_its_name_is_text(make: Any) -> None:
    name = "<b>BLEU</b>|4_gram"
    records = []
    for implementation in ("torch", "jax"):
        of_it = {"implementation": implementation}
        records += [make.parity(**of_it), make.training(metric=name, optimum=0.5, **of_it)]
    shown = "&lt;b&gt;BLEU&lt;/b&gt;\\|4\\_gram"
    for line in lines(records):
        assert line["metric"] == shown
        assert line["held out"].startswith(f"{shown} 0.00125, another 4")
        assert line["short of it"] == "-"
    assert [line["metric"] for line in apart(records)] == [shown]
    assert "<b>" not in render(records)


def test_each_task_has_its_unit(make: Any) -> None:
    units = {"adding": "squared error", "sentiment": "accuracy", "seq2seq": "exact match", "char_lm": "nats"}
    records = [make.parity(task=task) for task in units]
    records += [make.training(task=task, metric=unit, optimum=1.0) for task, unit in units.items()]
    found = {line["task"].replace("\\", ""): line["metric"].split(",")[0] for line in lines(records)}
    assert found == units


def test_a_row_without_a_gate_has_no_number(make: Any) -> None:
    (line,) = lines([make.training()])
    assert line["held out"] == "untrained: parity missing"
    assert "baseline" not in line
    (line,) = lines([make.parity("failed"), make.training()])
    assert line["held out"] == "untrained: parity failed"


def test_the_gate_at_another_size_is_named(make: Any) -> None:
    (line,) = lines([make.parity(size="tiny", length=11), make.training()])
    assert line["proven at"] == "tiny, T = 11"


def test_a_failure_has_its_reason(make: Any) -> None:
    record = make.record("training", "error", "training diverged: nan | at 3", {})
    (line,) = lines([make.parity(), record])
    assert line["held out"] == r"error: training diverged: nan \| at 3"


def two(make: Any, **other: Any) -> list[Record]:
    names = ("torch", "jax")
    proofs = [make.parity(implementation=name, **what) for name, what in zip(names, ({}, other), strict=True)]
    what = {"held_out": (0.2, 0.012, 1.25e-3), "loss": (0.1, 0.004)} | other
    return [*proofs, make.training(), make.training(implementation="jax", **what)]


def test_the_largest_difference_and_its_step(make: Any) -> None:
    (line,) = apart(two(make))
    assert line["rows"] == "jax native cpu; torch native cpu"
    assert (line["points"], line["metric"]) == ("3", "squared error, lower is better")
    assert line["held out"] == "0.002 (18 %) at step 100"  # of the mean, 0.011
    assert line["training loss"] == "0.001 (22 %) at step 200"  # 0.004 against 0.005


def test_equal_curves_are_said_to_be(make: Any) -> None:
    both = [make.training(), make.training(implementation="jax")]
    (line,) = apart([make.parity(), make.parity(implementation="jax"), *both])
    assert line["held out"] == line["training loss"] == "none"


def test_only_steps_that_all_have_are_compared(make: Any) -> None:
    records = two(make)
    records[-1]["body"]["curve"][1]["step"] = 50
    (line,) = apart(records)
    assert line["points"] == "2"
    assert line["held out"] == "none"


def test_curves_of_other_questions_are_not_compared(make: Any) -> None:
    assert apart(two(make, seed=1)) == []
    assert apart(two(make, length=60)) == []
    assert apart(two(make, dtype="float64")) == []
    assert apart([make.parity(), make.training()]) == []


def test_an_unproven_row_is_not_compared(make: Any) -> None:
    assert apart([make.parity(), make.training(), make.training(implementation="jax")]) == []


def test_the_page_has_the_section_only_where_something_was_trained(make: Any) -> None:
    page = render(two(make))
    assert "### Training to quality" in page
    assert "### Learning curves side by side" in page
    assert "### Training to quality" not in render(make.row())
    assert "### Training:" not in page  # a training is no timing
