"""The tables as CSV: whole numbers, the same bytes, and no text that a program would run."""

from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd
import pytest

from reports import csvs, measured
from reports.machines import machines
from reports.report import Report
from reports.rows import select
from results import ids
from results.record import Record


def read(records: list[Record]) -> dict[str, pd.DataFrame]:
    files = csvs.files(machines(select(records)[0]))
    return {name: pd.read_csv(io.BytesIO(content)) for name, content in files.items()}


def test_every_table_has_a_file(everything: list[Record]) -> None:
    assert set(read(everything)) == set(csvs.TABLES)


def test_a_table_without_a_line_has_none(make: Any) -> None:
    assert set(read([make.parity()])) == {"records", "parity", "levels"}


def test_numbers_are_not_those_of_the_page_but_whole(make: Any) -> None:
    records = make.row(passes=3)
    (group,) = measured.groups(select(records)[0])
    (timing,) = measured.timings(group, "train")
    frame = read(records)["throughput"]
    line = frame[frame["work"] == "train"].iloc[0]
    assert line["step_s"] == pytest.approx(timing.step.value, rel=1e-8)
    assert line["step_low_s"] == pytest.approx(timing.step.low, rel=1e-8)
    assert line["tokens_per_s"] == pytest.approx(line["tokens_per_step"] / timing.step.value, rel=1e-8)
    assert line["passes"] == 3


def test_large_whole_numbers_keep_every_digit_beside_a_gap(make: Any) -> None:
    records = [make.parity(), make.memory(peak_mib=123_456.789), make.parity(variant="tuned")]
    records.append({**make.memory(variant="tuned"), "status": "timeout", "reason": "too long"})
    text = csvs.files(machines(select(records)[0]))["memory"].decode()
    assert f",{int((200 + 123_456.789) * 2**20) - 200 * 2**20}," in text
    assert "timeout: too long" in text


def test_every_id_leads_to_its_records(everything: list[Record]) -> None:
    found = read(everything)
    known = found["records"]
    for name in ("parity", "throughput", "startup", "memory", "scaling", "quality", "learning-curves"):
        shown = set(found[name]["id"].dropna())
        assert shown
        assert shown <= set(known["id"])
        for one in sorted(shown):
            records = {record["id"] for record in ids.find(everything, one)}
            assert records == set(known[known["id"] == one]["record"])


def test_ids_stand_on_the_page(everything: list[Record]) -> None:
    page = Report(everything).markdown()
    frame = read(everything)["throughput"]
    for one in frame[frame["task"] == "char_lm"]["id"]:
        assert f"| {one} " in page


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1", "-2", "@SUM(A1)", 'a\nb\r\nc,"d"', "<script>"])
def test_no_text_is_a_formula_or_a_line(make: Any, name: str) -> None:
    files = csvs.files(machines(select(make.row(passes=1, implementation=name))[0]))
    for content in files.values():
        assert b"\r" not in content
        header, *lines = csv.reader(io.StringIO(content.decode(), newline=""))
        assert content.count(b"\n") == len(lines) + 1
        for line in lines:
            shown = line[header.index("implementation")]
            assert shown.lstrip("'") == " ".join(name.split())
            assert not shown.startswith(("=", "+", "-", "@"))


def test_the_break_even_table_has_the_steps(everything: list[Record]) -> None:
    frame = read(everything)["break-even"]
    line = frame[(frame["implementation"] == "torch") & (frame["against_implementation"] == "numpy")].iloc[0]
    assert line["steps_low"] < (0.1 - 0.01) / (9e-3 - 2e-3) < line["steps_high"]
