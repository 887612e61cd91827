"""Level 6 in the report: pairs by seed, nothing dropped unseen, no verdict without ground."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from reports.equivalence import equivalence
from reports.report import render
from reports.rows import select
from results.record import Record

MARGIN = 0.01
# of numpy and torch, by seed
REFERENCE = [0.101, 0.102, 0.104, 0.1, 0.103, 0.101, 0.099, 0.1]
CLOSE = [0.102, 0.101, 0.103, 0.102, 0.102, 0.1, 0.1, 0.101]


def stated(record: Record, margin: object = MARGIN) -> Record:
    """The record with the margin in its spec, and so in its fingerprint."""
    spec = record["spec"] | ({} if margin is None else {"margin": margin})
    text = json.dumps(spec, sort_keys=True)
    return record | {"spec": spec, "fingerprint": hashlib.sha256(text.encode()).hexdigest()}


def trained(
    make: Any, name: str, values: list[float], first: int = 0, margin: object = MARGIN, **what: Any
) -> list[Record]:
    """A proof and a training from each seed."""
    what = {"implementation": name, "variant": "scratch" if name == "numpy" else "native"} | what
    made = [
        make.training(held_out=(0.2, 0.15, value), seed=seed, **what)
        for seed, value in enumerate(values, first)
    ]
    proof = {name: value for name, value in what.items() if name != "metric"}
    return [
        make.parity(**proof | {"size": "tiny", "length": 11}),
        *(stated(record, margin) for record in made),
    ]


def diverged(make: Any, name: str, seed: int) -> Record:
    variant = "scratch" if name == "numpy" else "native"
    reason = "training diverged: the training loss is nan at step 7"
    return stated(
        make.record("training", "error", reason, {}, implementation=name, variant=variant, seed=seed)
    )


def lines(records: list[Record]) -> list[dict[str, str]]:
    return equivalence(select(records)[0]).to_dict("records")


def test_a_line_tells_pairs_interval_margin_and_verdict(make: Any) -> None:
    (line,) = lines(trained(make, "numpy", REFERENCE) + trained(make, "torch", CLOSE))
    assert (line["implementation"], line["variant"], line["device"]) == ("torch", "native", "cpu")
    assert (line["reference"], line["seeds"]) == ("numpy scratch cpu", "8 (0-7)")
    assert line["metric"] == "squared error, lower is better"
    assert (line["mean"], line["of the reference"]) == ("0.1014", "0.1012")
    assert line["difference [90 %]"] == "0.000125 [-0.00071, 0.00096]"
    assert (line["margin"], line["p"]) == ("0.01", "< 0.0001")
    assert line["verdict"] == "equivalent within 0.01"


@pytest.mark.parametrize(
    ("shift", "spread", "verdict"),
    [
        (0.05, 1, "different"),
        (-0.05, 1, "different"),
        (0.01, 1, "not shown"),
        (0.0, 30, "not shown"),  # and no difference either
    ],
)
def test_other_values_other_verdicts(make: Any, shift: float, spread: float, verdict: str) -> None:
    values = [a + shift + spread * (b - a) for a, b in zip(REFERENCE, CLOSE, strict=True)]
    (line,) = lines(trained(make, "numpy", REFERENCE) + trained(make, "torch", values))
    assert line["verdict"] == verdict


def test_runs_that_are_equal_to_the_bit(make: Any) -> None:
    (line,) = lines(trained(make, "numpy", REFERENCE) + trained(make, "jax", REFERENCE))
    assert (line["difference [90 %]"], line["verdict"]) == ("0 [0, 0]", "equivalent within 0.01")


def test_four_seeds_are_too_few_however_close(make: Any) -> None:
    (line,) = lines(trained(make, "numpy", REFERENCE[:4]) + trained(make, "torch", REFERENCE[:4]))
    assert line["verdict"] == "too few seeds (4)"
    assert (line["difference [90 %]"], line["p"]) == ("-", "-")


def test_without_numpy_the_first_by_name_is_the_reference_and_named(make: Any) -> None:
    (line,) = lines(trained(make, "torch", CLOSE) + trained(make, "jax", REFERENCE))
    assert (line["implementation"], line["reference"]) == ("torch", "jax native cpu")


def test_seeds_that_one_side_lacks_are_named(make: Any) -> None:
    records = trained(make, "numpy", REFERENCE[:7]) + trained(make, "torch", CLOSE[1:], first=1)
    (line,) = lines(records)
    assert line["seeds"] == "6 (1-6)"
    assert (
        line["verdict"] == "equivalent within 0.01; not trained: seed 0; not trained of the reference: seed 7"
    )


@pytest.mark.parametrize(("who", "whose"), [("torch", ""), ("numpy", " of the reference")])
def test_a_training_that_diverged_rules_equivalent_out(make: Any, who: str, whose: str) -> None:
    records = trained(make, "numpy", REFERENCE) + trained(make, "torch", CLOSE)
    (line,) = lines([*records, diverged(make, who, 3)])
    assert line["seeds"] == "7 (0-2, 4-7)"
    assert line["verdict"] == f"not shown; no result{whose}: seed 3"
    (line,) = lines([*records, diverged(make, who, 11)])
    assert line["verdict"] == f"not shown; no result{whose}: seed 11"


def test_where_all_diverged_nothing_is_hidden(make: Any) -> None:
    records = trained(make, "numpy", REFERENCE) + [diverged(make, "torch", seed) for seed in range(8)]
    (line,) = lines(records)
    assert line["verdict"] == "too few seeds (0); no result: seed 0-7"
    assert (line["seeds"], line["mean"]) == ("0", "-")
    records = [diverged(make, name, seed) for name in ("numpy", "torch") for seed in range(8)]
    (line,) = lines(records)
    assert line["metric"] == "-"


def test_a_row_that_is_not_proven_has_no_result(make: Any) -> None:
    _, *unproven = trained(make, "torch", CLOSE)
    (line,) = lines(trained(make, "numpy", REFERENCE) + unproven)
    assert line["verdict"] == "too few seeds (0); no result: seed 0-7"


def test_seeds_of_an_older_source_are_no_part_of_the_series(make: Any) -> None:
    older = trained(make, "torch", CLOSE[:2], source="older")
    (line,) = lines(trained(make, "numpy", REFERENCE) + older + trained(make, "torch", CLOSE[2:], first=2))
    assert line["seeds"] == "6 (2-7)"
    assert line["verdict"].endswith("; of another source, lock or versions: seed 0-1")


@pytest.mark.parametrize("margin", [None, "0.01", 0, -0.01, [0.01], 10**400])
def test_without_a_margin_there_is_no_verdict(make: Any, margin: object) -> None:
    records = trained(make, "numpy", REFERENCE, margin=margin) + trained(make, "torch", CLOSE, margin=margin)
    (line,) = lines(records)
    assert (line["margin"], line["p"], line["verdict"]) == ("-", "-", "no margin stated")
    assert line["difference [90 %]"].startswith("0.000125 [")


def test_only_equal_questions_are_paired(make: Any) -> None:
    ours = trained(make, "numpy", REFERENCE)
    assert lines(ours) == []
    assert lines(ours + trained(make, "torch", CLOSE, margin=1.0)) == []  # a margin chosen afterwards
    assert lines(ours + trained(make, "torch", CLOSE, dtype="float64")) == []
    assert lines(ours + trained(make, "torch", CLOSE, length=60)) == []


def test_names_are_text(make: Any) -> None:
    name = "<b>mine</b>|_x_"
    records = trained(make, name, REFERENCE, metric="<i>BLEU|") + trained(
        make, "torch", CLOSE, metric="<i>BLEU|"
    )
    (line,) = lines(records)
    assert line["reference"] == "&lt;b&gt;mine&lt;/b&gt;\\|\\_x\\_ native cpu"
    assert line["metric"] == "&lt;i&gt;BLEU\\|"
    assert "<b>" not in (page := render(records))
    assert "<i>" not in page


def test_the_page_has_the_section_whatever_the_order_of_records(make: Any) -> None:
    records = trained(make, "numpy", REFERENCE) + trained(make, "torch", CLOSE)
    page = render(records)
    assert "### Quality equivalence (level 6)" in page
    assert "| equivalent within 0.01 |" in page
    assert render(records[::-1]) == page
    assert "### Quality equivalence" not in render(make.row())
