"""Throughput: who is faster only where the samples can tell."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest

from reports import measured, speed
from reports.report import render
from reports.rows import select
from results.record import Record
from results.store import age

DRIFTS = [1.0, 1.15, 0.9, 1.05, 0.97]  # of the machine: far more than what is to be told apart


def only_group(records: list[Record]) -> measured.Group:
    (group,) = measured.groups(select(records)[0])
    return group


def lines(records: list[Record], what: str = "train") -> dict[str, dict[str, str]]:
    """The lines of the one table, by implementation."""
    group = only_group(records)
    frame = speed.throughput(group, what, measured.timings(group, what)).fillna("")
    return {line["implementation"]: line for line in frame.to_dict("records")}


def fastest(records: list[Record]) -> str:
    return speed.fastest(measured.timings(only_group(records), "train"))


def duel(make: Any, factor: float) -> list[Record]:
    return [
        *make.row(implementation="jax", step=2e-3, drifts=DRIFTS),
        *make.row(implementation="torch", step=2e-3 * factor, drifts=DRIFTS),
    ]


def test_a_planted_tenth_is_separable_though_the_machine_drifts_more(make: Any) -> None:
    records = duel(make, 1.1)
    found = lines(records)
    value, low, high = map(float, re.findall(r"[\d.]+", found["torch"]["x fastest"]))
    assert low < 1.1 < high
    assert low <= value <= high
    assert low > 1
    assert found["jax"]["x fastest"] == "1 (reference)"
    assert fastest(records) == "Fastest: jax native."


def test_equal_rows_are_not_separable(make: Any) -> None:
    records = duel(make, 1.0)
    cells = [line["x fastest"] for line in lines(records).values()]
    assert any(cell.startswith("not separable, ") for cell in cells)
    assert fastest(records).startswith("Fastest, not separable: ")


def test_without_shared_passes_nothing_is_compared(make: Any) -> None:
    records = [
        make.parity(),
        make.parity(implementation="jax"),
        make.bench(campaign="a"),
        make.bench(implementation="jax", step=1e-3, campaign="b"),
    ]
    assert lines(records)["torch"]["x fastest"] == "not paired"
    assert "no fastest row is named" in fastest(records)


def test_time_and_tokens_agree(make: Any) -> None:
    line = lines(make.row(step=2e-3))["torch"]
    assert abs(float(line["ms per step"]) - 2.0) < 0.1
    assert abs(float(line["tokens/s"].replace(",", "")) - 50 * 50 / 2e-3) < 1e5
    low, high = map(float, line["95 % interval"].split(" to "))
    assert low <= float(line["ms per step"]) <= high


GENERATES = {"generates": True}


def test_decoding_is_a_table_of_its_own_and_counts_the_tokens_chosen(make: Any) -> None:
    timed = [make.bench(number, decode=6e-3, model=GENERATES) for number in range(5)]
    records = [make.parity(model=GENERATES), *timed]
    line = lines(records, "decode")["torch"]
    assert abs(float(line["ms per batch"]) - 6) < 0.3
    assert abs(float(line["tokens/s"].replace(",", "")) - 50 * 12 / 6e-3) < 5e3
    assert abs(float(line["x GEMM floor"].split()[0]) - 6e-3 / 2e-4) < 1.5
    assert "#### Greedy decoding: " in render(records)


def test_a_floor_of_bytes_is_noted(make: Any) -> None:
    timed = [make.bench(number) for number in range(3)]
    for record in timed:
        seconds = {"products": 1e-6, "bytes": 2e-6}
        record["body"]["bounds"] = {
            "train": {"by": "bytes", "bytes": 10, "seconds": seconds},
            "infer": {"by": "products", "bytes": 9, "seconds": seconds},
        }
    records = [make.parity(), *timed]
    assert "its floor is the bytes that must move" in lines(records, "train")["torch"]["notes"]
    assert "bytes" not in lines(records, "infer")["torch"]["notes"]


def test_a_sequence_alone_has_a_latency(make: Any) -> None:
    alone = {"model": GENERATES, "batch": 1, "size": "small, B = 1"}
    timed = [make.bench(number, decode=6e-3, **alone) for number in range(5)]
    for record in timed:
        record["body"]["tokens_per_decode"] = 12
    records = [make.parity(**alone), *timed]
    line = lines(records, "decode")["torch"]
    value, low, high = map(float, re.findall(r"[\d.]+", line["ms per token"]))
    assert low <= value <= high
    assert abs(value - 6 / 12) < 0.03
    assert "ms per sequence" in line
    assert "ms per sequence" in lines(records, "infer")["torch"]
    page = render(records)
    assert speed.LATENCY in page.split("#### Greedy decoding")[1]
    assert page.count(speed.LATENCY) == 1


def test_batches_have_no_latency(make: Any) -> None:
    records = [make.parity(model=GENERATES), make.bench(decode=6e-3, model=GENERATES)]
    assert "ms per token" not in render(records)
    assert "ms per sequence" not in render(records)


def test_decoding_that_was_asked_for_and_failed_is_told(make: Any) -> None:
    record = make.record("bench", "error", "no loop", {"campaign": "a", "pass": 0}, model=GENERATES)
    page = render([make.parity(model=GENERATES), record])
    assert "error: no loop" in page.split("#### Greedy decoding")[1]


def test_decoding_that_nobody_asked_for_has_no_section(make: Any) -> None:
    assert "### Greedy decoding" not in render(make.row())


def test_the_first_decoding_stands_beside_the_other_phases(make: Any) -> None:
    records = [make.parity(model=GENERATES, task="char_lm"), make.parity()]
    records += [make.bench(decode=6e-3, model=GENERATES, task="char_lm"), make.bench()]
    frame = speed.startup(select(records)[0]).fillna("-")
    assert list(frame["first decoding, s"]) == ["-", "0.5"]


def test_the_title_says_what_is_not_plain(make: Any) -> None:
    assert "(B = 50, T = 50, H = 64)" in only_group([make.bench()]).title
    deep = {"wiring": "encoder", "layers": 2, "bidirectional": True, "ragged": True}
    assert "(B = 50, T = 50, H = 64, L = 2, both ways, ragged)" in only_group([make.bench(model=deep)]).title
    wired = make.bench(model={"wiring": "encoder_decoder", "layers": 1, "ragged": False})
    wired["spec"]["target_length"] = 11
    assert "(B = 50, T = 50, S = 11, H = 64)" in only_group([wired]).title


def test_inference_is_a_table_of_its_own(make: Any) -> None:
    line = lines(make.row(step=3e-3), "infer")["torch"]
    assert abs(float(line["ms per batch"]) - 1.0) < 0.05


def test_the_floor_is_paired_by_block(make: Any) -> None:
    """Blocks drift by tens of per cent; the ratio within each does not."""
    records = make.row(step=2e-3)
    for record in records:
        for block in record["body"].get("blocks", []):
            block["seconds"] = [second * (1 + 0.3 * block["block"]) for second in block["seconds"]]
    value, low, high = map(float, re.findall(r"[\d.]+", lines(records)["torch"]["x GEMM floor"]))
    assert low < 5.0 < high
    assert abs(value - 5.0) < 0.15
    assert high - low < 0.5


def beside_numpy(make: Any, slower: float, campaign: str = "campaign") -> list[Any]:
    """A row of PyTorch, and one of NumPy whose products take so many times as long."""
    records = [make.parity(implementation="numpy"), *make.row(step=2e-3)]
    for number in range(5):
        records.append(make.bench(number, step=3e-3, implementation="numpy", campaign=campaign))
        for block in records[-1]["body"]["blocks"]:
            if block["what"].startswith("floor"):
                block["seconds"] = [slower * second for second in block["seconds"]]
    return records


def test_every_row_is_held_against_numpys_products_too(make: Any) -> None:
    found = lines(beside_numpy(make, slower=2.0))
    assert abs(float(found["torch"]["x GEMM floor"].split()[0]) - 5.0) < 0.2
    value, low, high = map(float, re.findall(r"[\d.]+", found["torch"]["x NumPy's"]))
    assert low < 2.5 < high
    assert abs(value - 2.5) < 0.1
    assert found["numpy"]["x NumPy's"] == found["numpy"]["x GEMM floor"]


def test_numpys_products_are_of_the_same_passes_or_of_none(make: Any) -> None:
    found = lines(beside_numpy(make, slower=2.0, campaign="another"))
    assert found["torch"]["x NumPy's"] == "-"
    assert "x NumPy's" not in lines(make.row())["torch"]


def test_without_a_floor_there_is_no_ratio(make: Any) -> None:
    records = make.row(passes=2)
    for record in records:
        if record["kind"] == "bench":
            record["body"]["blocks"] = [
                b for b in record["body"]["blocks"] if not b["what"].startswith("floor")
            ]
    assert lines(records)["torch"]["x GEMM floor"] == "-"


@pytest.mark.parametrize(
    ("parity", "text"),
    [
        ({"status": "failed"}, "untimed: parity failed"),
        ({"status": "deviates"}, "untimed: parity deviates"),
        ({"status": "skipped"}, "untimed: parity skipped"),
        ({"status": "passed", "digest": "other"}, "untimed: void, data or weights differ"),
        (None, "untimed: parity missing"),
    ],
)
def test_what_did_not_pass_the_gate_has_no_number(
    make: Any, parity: dict[str, str] | None, text: str
) -> None:
    records = make.row(implementation="numpy") + make.row(implementation="jax") + [make.bench()]
    records += [make.parity(**parity)] if parity else []
    line = lines(records)["torch"]
    assert line.pop("ms per step") == text
    assert set(line.values()) == {"torch", "native", ""}


@pytest.mark.parametrize("status", ["error", "timeout", "untimed"])
def test_a_failed_timing_has_its_reason(make: Any, status: str) -> None:
    failed = make.record(
        "bench", status, "a <reason>", {"campaign": "campaign", "pass": 0}, implementation="jax"
    )
    records = [*make.row(), make.parity(implementation="jax"), failed]
    assert lines(records)["jax"]["ms per step"] == f"{status}: a &lt;reason&gt;"


def test_a_row_that_was_not_measured_says_so(make: Any) -> None:
    assert (
        lines([*make.row(), make.parity(implementation="jax")])["jax"]["ms per step"]
        == "untimed: not measured"
    )


def test_a_missing_pass_is_noted(make: Any) -> None:
    failed = make.record("bench", "timeout", "600 s", {"campaign": "campaign", "pass": 7})
    assert "a pass is missing: timeout: 600 s" in lines([*make.row(), failed])["torch"]["notes"]


def test_one_pass_is_noted(make: Any) -> None:
    assert "one pass: its interval comes from rounds only" in lines(make.row(passes=1))["torch"]["notes"]
    assert lines(make.row(passes=2))["torch"]["notes"] == "-"


def test_noise_is_noted(make: Any) -> None:
    assert lines(make.row(scatter=0.2))["torch"]["notes"].startswith("noisy (IQR ")


def test_a_proof_at_another_size_is_noted(make: Any) -> None:
    records = [make.parity(size="tiny"), *(make.bench(number) for number in range(3))]
    (group,) = (group for group in measured.groups(select(records)[0]))
    frame = speed.throughput(group, "train", measured.timings(group, "train"))
    assert frame["notes"][0] == "proven at tiny, T = 50"


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "float64"},
        {"device": "gpu"},
        {"size": "paper"},
        {"length": 100},
        {"cell": "gru"},
        {"data": "other"},
        {"seed": 1},
        {"threads": "1"},
    ],
)
def test_nothing_is_ranked_across(make: Any, other: dict[str, Any]) -> None:
    different = [make.parity(implementation="jax", **{k: v for k, v in other.items() if k != "threads"})]
    different += [make.bench(number, implementation="jax", **other) for number in range(2)]
    groups = measured.groups(select([*make.row(passes=2), *different])[0])
    timed = [{item.row["implementation"] for item in measured.timings(group, "train")} for group in groups]
    assert sorted(map(sorted, timed)) == [["jax"], ["torch"]]


def test_startup_is_the_median_over_passes(make: Any) -> None:
    records = make.row(passes=3)
    for record, seconds in zip((r for r in records if r["kind"] == "bench"), (9.0, 1.0, 2.0), strict=True):
        record["body"]["phases"]["first_step_s"] = seconds
    (line,) = speed.startup(select(records)[0]).to_dict("records")
    assert (line["first step, s"], line["import, s"], line["passes"]) == ("2", "1.25", "3")


def test_a_row_does_not_depend_on_its_neighbours(make: Any) -> None:
    records = duel(make, 1.3)
    alone = lines([record for record in records if record["row"]["implementation"] == "jax"])["jax"]
    assert alone == lines(sorted(records, key=age, reverse=True))["jax"]


def test_a_failed_row_has_no_start_up_either(make: Any) -> None:
    frame: pd.DataFrame = speed.startup(select([make.parity("failed"), make.bench()])[0])
    assert frame.empty
