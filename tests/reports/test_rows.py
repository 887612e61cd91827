"""Which records a report rests on, and what the gate says of a row."""

from __future__ import annotations

from typing import Any

import pytest

from reports.rows import Row, select
from results.record import Record


def rows(records: list[Record]) -> dict[tuple[str, str], Row]:
    return {(row["implementation"], row["size"]): row for row in select(records)[0]}


@pytest.mark.parametrize("change", [{"source": "two"}, {"lock": "two"}, {"version": "2.0"}])
def test_only_the_newest_source_and_lock_count(make: Any, change: dict[str, str]) -> None:
    old, new = make.row(passes=3), make.row(passes=2, **change)
    found, left_out = select(new + old)
    assert len(found) == 1
    assert sorted(record["id"] for record in found[0].records) == sorted(record["id"] for record in new)
    assert left_out == len(old)


def test_a_parity_of_a_newer_source_takes_the_old_times_along(make: Any) -> None:
    found, left_out = select([*make.row(passes=3), make.parity(source="two")])
    assert found[0].bench == ()
    assert left_out == 5


def test_a_changed_spec_is_another_question(make: Any) -> None:
    old = make.row(passes=1)
    newer = make.row(passes=1)
    for item in newer:
        item["fingerprint"] = "f" * 64
    assert select(old + newer)[1] == len(old)


def test_of_repetitions_the_last(make: Any) -> None:
    first, second = make.bench(0), make.bench(0)
    found, left_out = select([second, first, make.parity()])
    assert found[0].bench == (second,)
    assert left_out == 1


def test_other_threads_are_no_repetition(make: Any) -> None:
    found, left_out = select([make.bench(0, threads="1"), make.bench(0, threads="2 of 8"), make.parity()])
    assert len(found[0].bench) == 2
    assert left_out == 0


def test_of_trainings_the_last_whatever_its_threads(make: Any) -> None:
    first, second = make.training(threads="1"), make.training(threads="2")
    found, left_out = select([second, first, make.parity()])
    assert found[0].training == (second,)
    assert second in found[0].records
    assert left_out == 1


def test_a_failure_gives_way_to_a_later_success_and_back(make: Any) -> None:
    failed = make.record("bench", "timeout", "600 s", {"campaign": "a", "pass": 0})
    good = make.bench(0)
    again = make.record("bench", "error", "out of memory", {"campaign": "b", "pass": 0})
    assert select([failed, good])[0][0].bench == (good,)
    assert select([failed, good, again])[0][0].bench == (again,)


def test_machines_are_apart(make: Any) -> None:
    found, left_out = select(make.row(passes=1) + make.row(passes=1, cpu="Another"))
    assert len(found) == 2
    assert left_out == 0


@pytest.mark.parametrize("status", ["failed", "deviates", "skipped"])
def test_verdict_of_a_row_that_did_not_pass(make: Any, status: str) -> None:
    assert rows([make.parity(status), make.bench()])["torch", "small"].verdict == f"parity {status}"


def test_verdict_without_parity(make: Any) -> None:
    assert rows([make.bench()])["torch", "small"].verdict == "parity missing"


def test_the_gate_at_another_size_proves_the_same_code(make: Any) -> None:
    row = rows([make.parity(size="tiny"), make.bench()])["torch", "small"]
    assert row.verdict == ""
    assert row.proven_at == "tiny, T = 50"


@pytest.mark.parametrize(
    "other",
    [
        {"implementation": "jax"},
        {"variant": "scratch"},
        {"cell": "gru"},
        {"dtype": "float64"},
        {"device": "gpu"},
        {"task": "char_lm"},
        {"data": "other"},
        {"version": "2.0"},
        {"source": "two"},
        {"lock": "two"},
        {"cpu": "Another"},
    ],
)
def test_the_gate_of_other_code_proves_nothing(make: Any, other: dict[str, str]) -> None:
    found, _ = select([make.parity(size="tiny", **other), make.bench()])
    (row,) = (row for row in found if row.bench)
    assert row.verdict == "parity missing"


def test_one_failure_at_another_size_is_enough(make: Any) -> None:
    records = [make.parity(size="tiny"), make.parity("failed", size="paper"), make.bench()]
    assert rows(records)["torch", "small"].verdict == "parity failed"


def test_its_own_parity_comes_first(make: Any) -> None:
    records = [make.parity("failed"), make.parity(size="tiny"), make.bench()]
    assert rows(records)["torch", "small"].verdict == "parity failed"


def test_a_row_of_other_data_is_void(make: Any) -> None:
    records = [make.parity(implementation=name) for name in ("numpy", "jax")]
    records += [make.parity(digest="other"), make.bench()]
    found = rows(records)
    assert found["torch", "small"].verdict == "void, data or weights differ"
    assert found["numpy", "small"].verdict == found["jax", "small"].verdict == ""


def test_variants_of_one_implementation_have_one_vote(make: Any) -> None:
    records = [make.parity(implementation=name) for name in ("numpy", "jax")]
    records += [make.parity(variant=variant, digest="other") for variant in ("native", "scratch", "tuned")]
    found, _ = select(records)
    assert {row["implementation"] for row in found if row.void} == {"torch"}


def test_without_a_majority_all_are_void(make: Any) -> None:
    found, _ = select([make.parity(), make.parity(implementation="jax", digest="other")])
    assert [row.void for row in found] == [True, True]


def test_other_seeds_and_specs_may_differ(make: Any) -> None:
    records = [make.parity(), make.parity(seed=1, digest="b"), make.parity(cell="gru", digest="c")]
    assert not any(row.void for row in select(records)[0])


def test_a_void_row_is_void_at_every_size_it_would_prove(make: Any) -> None:
    records = [make.parity(implementation=name, size="tiny") for name in ("numpy", "jax")]
    records += [make.parity(size="tiny", digest="other"), make.bench()]
    assert rows(records)["torch", "small"].verdict == "void, data or weights differ"
