"""Curves: the exponent and the growth that were planted are found; nothing is shown without them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from reports import scaling
from reports.report import render
from reports.rows import select
from results.record import Record

STEPS = (25, 50, 100, 200, 400)
KIB = 1024


def along_t(make: Any, exponent: float = 1.0, per_step: float = 64.0, **what: Any) -> list[Record]:
    """Points along T: a time of T^exponent, KiB a step in memory."""
    records = [make.parity(**what)]
    for T in STEPS:
        asked = {"length": T, "campaign": "curves", "size": "small, B = 32", "batch": 32, **what}
        records.append(make.bench(step=1e-4 * T**exponent, **asked))
        asked.pop("campaign")
        records.append(make.memory(peak_mib=40 + per_step * T / KIB, **asked))
    return records


def only(records: list[Record]) -> scaling.Family:
    (family,) = scaling.families(select(records)[0])
    return family


def numbers(cell: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?[\d.]+", cell)]


@pytest.mark.parametrize("planted", [1.0, 0.5, 0.0])
def test_a_planted_exponent_is_found(make: Any, planted: float) -> None:
    (line,) = scaling.times(only(along_t(make, planted))).to_dict("records")
    value, low, high = numbers(line["exponent"])
    assert low <= value <= high
    assert abs(value - planted) < 0.05
    assert high - low < 0.1
    assert abs(numbers(line["T = 100"])[0] - 0.1 * 100**planted) < 0.05 * 100**planted
    assert line["passes"] == "1"


def test_points_of_different_passes_have_the_widest_interval(make: Any) -> None:
    paired = along_t(make)
    apart = along_t(make)
    for record in apart:
        if record["kind"] == "bench" and record["row"]["length"] == STEPS[-1]:
            record["body"]["pass"] = 7
    widths = []
    for records in (paired, apart):
        _, low, high = numbers(scaling.times(only(records)).to_dict("records")[0]["exponent"])
        widths.append(high - low)
    assert widths[1] > widths[0]


def test_a_single_point_that_was_timed_has_no_exponent(make: Any) -> None:
    records = along_t(make, implementation="jax") + [
        record
        for record in along_t(make, implementation="torch")
        if record["kind"] != "bench" or record["row"]["length"] == 25
    ]
    lines = {line["implementation"]: line for line in scaling.times(only(records)).to_dict("records")}
    assert lines["torch"]["exponent"] == "-"
    assert lines["torch"]["T = 50"] in ("-", "untimed: not measured with so many threads")
    assert numbers(lines["jax"]["exponent"])


def test_a_planted_growth_is_found_beside_what_must_be_kept(make: Any) -> None:
    (line,) = scaling.memories(only(along_t(make, per_step=96.0))).to_dict("records")
    must = 32 * 6 * 64 * 4 / KIB  # B, lstm, H, float32: 48 KiB
    assert line["growth, KiB per step"] == "96.0"
    assert line["must be kept, KiB per step"] == f"{must:.1f}" == "48.0"
    assert line["growth / must be kept"] == "2.0"
    assert line["T = 25"] == f"{40 + 96 * 25 / KIB:.1f}"


def test_a_growth_below_what_memory_comes_in_is_no_number(make: Any) -> None:
    (line,) = scaling.memories(only(along_t(make, per_step=1.0))).to_dict("records")
    assert line["growth, KiB per step"] == "peaks less than 1 MiB apart"
    assert line["growth / must be kept"] == "-"
    assert scaling.growth({50: 2**30}) is None
    assert scaling.growth({50: 2**30, 100: 2**30 - 50 * 2**20}) == -(2**20)


MODEL = {"cell": "lstm", "hidden": 64, "outputs": 10}


@pytest.mark.parametrize(
    ("model", "dtype", "expected"),
    [
        ({"cell": "rnn"}, "float32", 32 * 64 * 4),
        ({}, "float32", 32 * 6 * 64 * 4),
        ({}, "float64", 32 * 6 * 64 * 8),
        ({"cell": "gru"}, "float32", 32 * 5 * 64 * 4),
        ({"cell": "gru_reset_before"}, "float32", 32 * 4 * 64 * 4),
        ({"layers": 2, "bidirectional": True}, "float32", 4 * 32 * 6 * 64 * 4),
        ({"head": "every"}, "float32", 32 * (6 * 64 + 10) * 4),
        ({"head": "every", "wiring": "encoder_decoder"}, "float32", 32 * 6 * 64 * 4),
        ({"head": "final"}, "float32", 32 * 6 * 64 * 4),
    ],
)
def test_what_must_be_kept(model: dict[str, Any], dtype: str, expected: int) -> None:
    assert scaling.kept({"batch": 32, "model": MODEL | model}, dtype) == expected


def test_the_allocator_speaks_for_a_gpu(make: Any) -> None:
    records = along_t(make, device="gpu")
    for record in records:
        if record["kind"] == "memory":
            record["body"]["device_peak"] = {"peak_bytes_in_use": 2**20 * record["row"]["length"]}
    (line,) = scaling.memories(only(records)).to_dict("records")
    assert line["T = 400"] == "400.0"
    assert line["growth, KiB per step"] == "1024.0"


def test_each_axis_has_its_table_and_the_centre_stands_in_all(make: Any) -> None:
    records = [make.parity()]
    for T, B, H in [(50, 32, 64), (100, 32, 64), (50, 1, 64), (50, 32, 128)]:
        size = f"small, B = {B}" + (f", H = {H}" if H != 64 else "")
        at = {"length": T, "batch": B, "model": {"hidden": H}, "size": size}
        records.append(make.bench(step=1e-5 * T * B, campaign="curves", **at))
    families = scaling.families(select(records)[0])
    assert [(family.axis, family.values) for family in families] == [
        ("T", [50, 100]),
        ("B", [1, 32]),
        ("H", [64, 128]),
    ]
    assert "along B at T = 50, H = 64" in families[1].title


def test_points_stand_in_no_other_table(make: Any) -> None:
    alone = make.row(implementation="numpy", variant="scratch")
    page = render([*alone, *along_t(make)])
    for title in ("Training", "Inference"):
        assert len(re.findall(f"^#### {title}: ", page, re.MULTILINE)) == 1
    assert "torch" not in page.split("### Import, build and first step")[1].split("### Memory")[0]
    assert "torch" not in page.split("### Memory of training")[1].split("### Scaling")[0]
    assert "### Scaling: time of a training step" in page
    assert "### Scaling: memory of training" in page


def test_without_curves_the_page_is_as_it_was(make: Any) -> None:
    """Another length in a campaign of its own is a row, no point."""
    records = [*make.row(), make.bench(length=100, campaign="another")]
    assert scaling.points(select(records)[0]) == []
    page = render(records)
    assert "### Scaling" not in page
    assert re.search("^#### Training: .*T = 100", page, re.MULTILINE)


def test_points_of_another_source_are_no_curve(make: Any) -> None:
    one, other = make.bench(length=50, campaign="c"), make.bench(length=100, campaign="c", source="two")
    assert scaling.points(select([make.parity(), one, other])[0]) == []


def test_a_point_that_failed_says_why(make: Any) -> None:
    failed = make.record(
        "bench",
        "timeout",
        "not finished | after 1 s",
        {"campaign": "curves", "pass": 0},
        length=800,
        size="small, B = 32",
        batch=32,
    )
    (line,) = scaling.times(only([*along_t(make), failed])).to_dict("records")
    assert line["T = 800"] == r"timeout: not finished \| after 1 s"
    assert numbers(line["exponent"])


def test_a_row_that_is_not_proven_has_no_number(make: Any) -> None:
    records = along_t(make)
    records[0] = make.parity("failed")
    family = only(records)
    (line,) = scaling.times(family).to_dict("records")
    assert line["T = 50"] == "untimed: parity failed"
    assert line["exponent"] == "-"
    assert scaling.memories(family).empty


def test_names_are_text(make: Any) -> None:
    page = render(along_t(make, implementation="<b>|x", task="[a](https://b.example)"))
    part = page.split("### Scaling: time")[1]
    assert r"&lt;b&gt;\|x" in part
    assert "<b>" not in part
    assert "](https://b" not in part
