"""A cross of rows around a centre, measured as any comparison is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports.report import render
from results import store
from results.errors import UserError
from suites.bench.curves import grid, main, parse, rows
from suites.recording import ROOT

TINY = [
    "--impl",
    "numpy",
    "--variant",
    "scratch",
    "--cell",
    "rnn",
    "--size",
    "tiny",
    "--blocks",
    "1",
    "--threads",
    "1",
]


def points(*arguments: str) -> list[tuple[int, int, int]]:
    return [
        (int(at["length"]), int(at["batch"]), int(at["hidden"]))
        for at in grid(parse(["--impl", "numpy", *arguments]))
    ]


def test_a_cross_around_the_centre_each_point_once() -> None:
    found = points()
    assert len(found) == len(set(found)) == 5 + 3 + 2
    assert all(sum(a != b for a, b in zip(point, (50, 32, 64), strict=True)) <= 1 for point in found)
    assert (50, 32, 64) in found


def test_an_axis_takes_its_points_and_the_others_stay_at_the_centre() -> None:
    assert points("--axis", "B", "--batch", "4,1", "--centre", "T=9,H=3") == [(9, 1, 3), (9, 4, 3)]
    assert points("--axis", "T", "--length", "5,9") == [(5, 32, 64), (9, 32, 64)]


def test_rows_of_different_points_differ() -> None:
    options = parse(["--impl", "numpy", "--variant", "scratch"])
    environments, questions = rows(options, grid(options))
    assert list(environments) == ["numpy"]
    assert len({question.row for question in questions}) == len(questions) == 10
    assert {question.row.task for question in questions} == {"adding"}
    assert {question.row.size for question in questions if question.row.length == 400} == {"small, B = 32"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--axis", "T,L"], "unknown axis 'L'"),
        (["--batch", "4"], "--batch 4: a curve expects at least two points, got 1"),
        (["--batch", "4,4"], "at least two points"),
        (["--length", "5,long"], "--length 5,long: expected whole numbers, got 'long'"),
        (["--length", "1,5"], "--length: expected 2 or more"),
        (["--centre", "50"], "--centre 50: expected numbers for T, B, H"),
        (["--centre", "T=x"], "expected whole numbers, got 'x'"),
        (["--task", "addin"], "Did you mean 'adding'"),
        (["--task", "caption", "--axis", "T", "--length", "6,7"], "--length: expected 8 or more"),
        (["--axes", "T"], "Did you mean --axis"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--impl", "numpy", "--records", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_no_implementation_is_no_curve() -> None:
    options = parse([])
    with pytest.raises(UserError, match="expected --impl NAME"):
        rows(options, grid(options))


def test_curves_are_proven_timed_resumed_and_reported(tmp_path: Path) -> None:
    asked = [*TINY, "--axis", "T", "--length", "5,9", "--centre", "B=3,H=4", "--records", str(tmp_path)]
    command = [sys.executable, "-m", "suites.bench.curves", *asked]
    for told in ("[4/4", "4 of 4 groups are measured already"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert told in done.stdout
    records, _ = store.read_all(tmp_path)
    assert [r["kind"] for r in records].count("bench") == [r["kind"] for r in records].count("memory") == 2
    assert {r["row"]["size"] for r in records if r["kind"] == "bench"} == {"tiny, B = 3, H = 4"}
    assert {r["row"]["size"] for r in records if r["kind"] == "parity"} == {"tiny"}
    page = render(records)
    assert "#### ms per step along T at B = 3, H = 4: adding, rnn, tiny" in page
    assert "#### MiB along T" in page
    assert "### Training:" not in page
