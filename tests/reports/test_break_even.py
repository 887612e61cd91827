"""After how many steps a compile pays: planted, and where no number may stand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from reports import break_even, measured
from reports.report import render
from reports.rows import select
from results.record import Record

EAGER, COMPILED = "torch", "jax"


def row(
    make: Any, name: str, start: float, step: float, passes: int = 5, wobble: float = 0.02, **what: Any
) -> list[Record]:
    """A proven row whose start-up varies a little from pass to pass."""
    timed = [make.bench(number, step, implementation=name, **what) for number in range(passes)]
    for number, record in enumerate(timed):
        record["body"]["phases"]["build_s"] = 0.25 * start
        record["body"]["phases"]["first_step_s"] = 0.75 * start * (1 + wobble * (number % 3 - 1))
    return [make.parity(implementation=name), make.quiet(implementation=name), *timed]


def lines(records: list[Record]) -> dict[str, dict[str, str]]:
    (group,) = measured.groups(select(records)[0])
    frame = break_even.table_of(measured.timings(group, "train")).fillna("")
    return {line["implementation"]: line for line in frame.to_dict("records")}


def verdict(records: list[Record]) -> str:
    """What stands at the row that starts later, against the other."""
    found = list(lines(records).values())[-1]
    (cell,) = [text for name, text in found.items() if name.startswith("against")]
    return cell


def test_a_planted_break_even_is_found(make: Any) -> None:
    """(1.0 s - 0.1 s) / (3 ms - 2 ms) = 900 steps."""
    records = [*row(make, EAGER, 0.1, 3e-3), *row(make, COMPILED, 1.0, 2e-3)]
    found = lines(records)
    assert list(found) == [EAGER, COMPILED]  # the one that starts sooner first
    value, low, high = (int(text.replace(",", "")) for text in re.findall(r"[\d,]+", verdict(records)))
    assert low < 900 < high
    assert low <= value <= high
    assert abs(value - 900) < 60
    assert found[EAGER]["against torch native"] == ""
    assert "### After how many steps a compile pays" in render(records)


def test_steps_that_are_not_separable_give_no_number(make: Any) -> None:
    cell = verdict([*row(make, EAGER, 0.1, 2e-3), *row(make, COMPILED, 1.0, 2e-3)])
    assert cell == "not separable"


def test_slower_in_both_is_never(make: Any) -> None:
    cell = verdict([*row(make, EAGER, 0.1, 2e-3), *row(make, COMPILED, 1.0, 3e-3)])
    assert cell == "never"


def test_starts_that_are_not_separable_bound_the_steps(make: Any) -> None:
    records = [*row(make, EAGER, 1.0, 3e-3, wobble=0.3), *row(make, COMPILED, 1.02, 2e-3, wobble=0.3)]
    cell = verdict(records)
    (most,) = re.fullmatch(r"at most ([\d,]+)", cell).groups()  # type: ignore[union-attr]
    assert int(most.replace(",", "")) > 20


@pytest.mark.parametrize("passes", [1])
def test_one_start_has_no_interval(make: Any, passes: int) -> None:
    records = [*row(make, EAGER, 0.1, 3e-3), *row(make, COMPILED, 1.0, 2e-3, passes=passes)]
    assert verdict(records) == "one pass: no interval"


def test_rows_of_different_campaigns_are_not_paired(make: Any) -> None:
    records = [*row(make, EAGER, 0.1, 3e-3), *row(make, COMPILED, 1.0, 2e-3, campaign="another")]
    records.append(make.quiet(implementation=COMPILED, campaign="another"))
    assert verdict(records) == "not paired"


def test_every_pair_is_held_against_each_other_once(make: Any) -> None:
    records = [
        *row(make, "numpy", 0.01, 9e-3),
        *row(make, EAGER, 0.1, 3e-3),
        *row(make, COMPILED, 1.0, 2e-3),
    ]
    cells = [
        text for line in lines(records).values() for name, text in line.items() if name.startswith("against")
    ]
    assert sum(cell != "" for cell in cells) == 3
    assert "to" in lines(records)[COMPILED]["against numpy native"]


def test_nothing_stands_there_where_nobody_watched_the_machine(make: Any) -> None:
    records = [
        record
        for record in [*row(make, EAGER, 0.1, 3e-3), *row(make, COMPILED, 1.0, 2e-3)]
        if record["kind"] != "quiet"
    ]
    assert lines(records) == {}
    assert "against" not in render(records)


def test_one_row_is_held_against_none(make: Any) -> None:
    assert lines(row(make, EAGER, 0.1, 3e-3)) == {}


def test_a_row_that_failed_its_proof_has_no_start(make: Any) -> None:
    records = [
        *row(make, EAGER, 0.1, 3e-3),
        *row(make, COMPILED, 1.0, 2e-3),
        *row(make, "numpy", 0.01, 9e-3),
        make.parity("failed", implementation="numpy"),
    ]
    assert set(lines(records)) == {EAGER, COMPILED}


def test_names_are_text(make: Any) -> None:
    records = [*row(make, "<b>|x", 0.1, 3e-3), *row(make, COMPILED, 1.0, 2e-3)]
    part = render(records).split("### After how many steps")[1]
    assert r"against &lt;b&gt;\|x native" in part
    assert "<b>" not in part
