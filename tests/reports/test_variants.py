"""Variants of one framework over its own layer: a planted ratio, and where none may stand."""

from __future__ import annotations

from typing import Any

from reports import variants
from reports.markdown import NOTHING
from reports.report import render
from reports.rows import select
from results.record import Record

PASSES = 4


def row(make: Any, name: str, variant: str, step: float, **what: Any) -> list[Record]:
    what |= {"implementation": name, "variant": variant}
    return [make.parity(**what), *(make.bench(number, step, **what) for number in range(PASSES))]


def lines(records: list[Record]) -> dict[str, dict[str, str]]:
    frame = variants.table_of(select(records)[0], "train")
    return {line["implementation"]: line for line in frame.to_dict("records")}


def test_a_planted_ratio_is_found(make: Any) -> None:
    records = [
        *row(make, "torch", "native", 4e-3),
        *row(make, "torch", "tuned", 2e-3),
        *row(make, "torch", "scratch", 8e-3),
        *row(make, "numpy", "scratch", 4e-3),
        *row(make, "numpy", "tuned", 3e-3),
    ]
    found = lines(records)
    assert list(found["torch"])[2:] == ["scratch", "native", "tuned"]
    assert found["torch"]["native"] == found["numpy"]["scratch"] == "1 (reference)"
    assert found["numpy"]["native"] == NOTHING
    for name, variant, planted in (
        ("torch", "tuned", 0.5),
        ("torch", "scratch", 2.0),
        ("numpy", "tuned", 0.75),
    ):
        assert abs(float(found[name][variant].split()[0]) / planted - 1) < 0.1
    assert "### Variants of one framework" in render(records)


def test_equal_variants_are_not_separable(make: Any) -> None:
    records = [*row(make, "jax", "native", 4e-3), *row(make, "jax", "tuned", 4e-3)]
    assert lines(records)["jax"]["tuned"].startswith("not separable")


def test_another_question_and_a_variant_alone_are_not_paired(make: Any) -> None:
    records = [
        *row(make, "jax", "native", 4e-3),
        *row(make, "jax", "tuned", 2e-3, task="char_lm"),
        *row(make, "torch", "tuned", 2e-3),
    ]
    assert variants.table_of(select(records)[0], "train").empty
    assert "### Variants of one framework" not in render(records)


def test_without_either_tuned_is_the_reference(make: Any) -> None:
    records = [*row(make, "mine", "tuned", 2e-3), *row(make, "mine", "remat", 3e-3)]
    found = lines(records)["mine"]
    assert found["tuned"] == "1 (reference)"
    assert abs(float(found["remat"].split()[0]) / 1.5 - 1) < 0.1


def test_names_from_records_are_escaped(make: Any) -> None:
    records = [*row(make, "<b>", "native", 4e-3), *row(make, "<b>", "tuned", 2e-3)]
    assert "<b>" not in render(records)
