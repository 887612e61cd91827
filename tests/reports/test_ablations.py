"""The page of ablations: what a copy takes over the whole; a copy that was not timed is no silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports import ablations
from results import store
from results.record import Record


def row(make: Any, name: str, step: float) -> list[Record]:
    timed = [make.bench(number, step, implementation=name) for number in range(3)]
    return [make.parity(implementation=name), *timed]


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if f"| {name} " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_copys_time_is_over_that_of_the_whole(make: Any) -> None:
    records = [*row(make, "as-it-is", 2e-3), *row(make, "without-x", 3e-3), *row(make, "with-y", 2e-3)]
    text, whole = ablations.page(records)
    assert whole
    assert abs(float(cells(text, "without-x")[1].split()[0]) - 1.5) < 0.05
    assert cells(text, "with-y")[1].startswith("not separable")
    assert text.index("without-x") < text.index("with-y")
    assert "as-it-is" not in text
    assert text.endswith("|\n")


def test_a_copy_that_is_not_proven_has_no_ratio_and_says_why(make: Any) -> None:
    failed = [make.parity("failed", implementation="without-x"), make.bench(implementation="without-x")]
    text, whole = ablations.page([*row(make, "as-it-is", 2e-3), *failed])
    assert not whole
    assert cells(text, "without-x")[1:] == ["-", "-", "untimed: parity failed"]


def test_the_page_is_written_and_a_folder_without_records_is_a_mistake(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in [*row(make, "as-it-is", 2e-3), *row(make, "without-x", 3e-3)]:
        store.write(tmp_path / "records", record)
    out = tmp_path / "page.md"
    assert ablations.main(["--records", str(tmp_path / "records"), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == capsys.readouterr().out
    assert ablations.main(["--records", str(tmp_path)]) == 2
    assert "nox -s ablations" in capsys.readouterr().err
