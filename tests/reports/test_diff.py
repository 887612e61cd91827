"""``python -m reports.diff``: a planted slow-down is found, and chance finds none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from reports import statistics
from reports.changes import verdict
from reports.diff import main
from reports.statistics import Logs
from results import record
from results.record import Record

Keep = Callable[[Path, list[Record]], list[Path]]
Compare = Callable[..., tuple[int, str]]
BUSY = [1.3, 1.2, 1.4, 1.25, 1.3]  # what the machine did to all of a set, floors too
IMPLEMENTATIONS = ("jax", "numpy", "torch")


@pytest.fixture
def compare(tmp_path: Path, keep: Keep, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Writes two sets, compares them; exit code and all that was printed."""

    def run(old: list[Record], new: list[Record], *more: str) -> tuple[int, str]:
        for name, records in (("old", old), ("new", new)):
            (tmp_path / name).mkdir()
            keep(tmp_path / name, records)
        code = main([str(tmp_path / "old"), str(tmp_path / "new"), *more], tmp_path)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def some(make: Any, **what: Any) -> list[Record]:
    """A few rows; ``what`` is planted in torch's."""
    found = []
    for name in IMPLEMENTATIONS:
        found += make.row(implementation=name, **(what if name == "torch" else {}))
    return found


def lines(told: str, starts: str) -> list[list[str]]:
    """The table lines whose first cell is this."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if "|" in line
    ]
    return [line for line in cells if line[0] == starts]


def test_a_tenth_slower_is_found_and_no_other(make: Any, compare: Compare) -> None:
    code, told = compare(some(make), some(make, step=2.2e-3))
    assert code == 1
    found = lines(told, "slower")
    assert [(line[5], line[9]) for line in found] == [("torch", "train"), ("torch", "infer")]
    assert found[0][11].startswith(("1.09", "1.10"))
    assert "2 regression(s): 2 slower, 0 no longer shown." in told
    assert len(lines(told, "no change")) == 4


def test_a_tenth_is_found_though_the_machine_was_busier(make: Any, compare: Compare) -> None:
    """The floor was hit alike."""
    slower = [r for name in IMPLEMENTATIONS for r in make.row(implementation=name, step=2.2e-3, drifts=BUSY)]
    code, told = compare(some(make), slower)
    assert code == 1
    assert len(lines(told, "slower")) == 6


def test_a_busier_machine_is_no_regression(make: Any, compare: Compare) -> None:
    busy = [r for name in IMPLEMENTATIONS for r in make.row(implementation=name, drifts=BUSY)]
    code, told = compare(some(make), busy)
    assert (code, lines(told, "slower")) == (0, [])
    assert all(line[10].startswith("1.2") or line[10].startswith("1.3") for line in lines(told, "no change"))


def test_a_tenth_faster_is_said_and_no_regression(make: Any, compare: Compare) -> None:
    code, told = compare(some(make, step=2.2e-3), some(make))
    assert code == 0
    assert len(lines(told, "faster")) == 2


def test_equal_sets_are_no_regression(make: Any, compare: Compare) -> None:
    code, told = compare(some(make), some(make))
    assert code == 0
    assert "6 with a verdict" in told
    assert "0 regression(s)" in told


@pytest.mark.parametrize(("threshold", "code"), [("0.05", 1), ("0.15", 0), ("0", 1)])
def test_the_threshold_can_be_set(make: Any, compare: Compare, threshold: str, code: int) -> None:
    assert compare(some(make), some(make, step=2.2e-3), "--threshold", threshold)[0] == code


def test_without_a_floor_the_time_decides(make: Any, compare: Compare) -> None:
    sets = [make.row(), make.row(step=2.2e-3)]
    for item in (item for records in sets for item in records if item["kind"] == "bench"):
        item["body"]["blocks"] = [b for b in item["body"]["blocks"] if not b["what"].startswith("floor")]
        item["digest"] = record.digest(item)
    code, told = compare(*sets)
    assert code == 1
    assert [line[11] for line in lines(told, "slower")] == ["-", "-"]


def test_one_pass_gives_no_verdict(make: Any, compare: Compare) -> None:
    code, told = compare(make.row(), make.row(passes=1, step=4e-3))
    assert code == 0
    assert len(lines(told, "too few passes")) == 2


def test_rows_of_one_set_only_are_named(make: Any, compare: Compare) -> None:
    old = [*make.row(), *make.row(implementation="numpy")]
    code, told = compare(old, [*make.row(), *make.row(implementation="jax")])
    assert code == 0
    assert "1 row(s) only in the old set" in told
    assert told.index("only in the old set") < told.index("numpy") < told.index("only in the new set")


@pytest.mark.parametrize("other", [{"threads": "1"}, {"model": {"layers": 2}}])
def test_nothing_is_compared_across(make: Any, compare: Compare, other: dict[str, Any]) -> None:
    changed = [make.parity(**{k: v for k, v in other.items() if k == "model"})]
    changed += [make.bench(number, step=4e-3, **other) for number in range(5)]
    code, told = compare(make.row(), changed)
    assert code == 0
    assert "0 timing(s) of them to compare" in told
    assert ("threads: 2 in the old set, 1 in the new" in told) is ("threads" in other)


def test_timings_without_a_proof_then_are_named(make: Any, compare: Compare) -> None:
    code, told = compare(make.row()[1:], make.row())
    assert code == 0
    assert "1 row(s) have timings that cannot be compared" in told
    assert "in the old set: parity missing" in told


def test_a_row_that_is_not_timed_any_more_is_named(make: Any, compare: Compare) -> None:
    code, told = compare(make.row(), [make.parity()])
    assert code == 0
    assert "threads: 2 in the old set, not timed in the new" in told


def test_other_hardware_is_said_and_gives_no_verdict(make: Any, compare: Compare) -> None:
    code, told = compare(make.row(), make.row(step=4e-3, cpu="Another CPU"))
    assert code == 0
    assert "1 row(s) were measured on other hardware" in told
    for line in lines(told, "other hardware"):
        assert line[10] == "-"
        assert line[11].startswith(("1.9", "2.0"))


def test_of_two_machines_the_one_that_both_have_is_compared(make: Any, compare: Compare) -> None:
    code, told = compare(make.row(), [*make.row(step=2.2e-3), *make.row(cpu="Another CPU")])
    assert code == 1
    assert "other hardware" not in told


@pytest.mark.parametrize("status", ["failed", "deviates", "skipped"])
def test_a_row_that_is_no_longer_proven_is_a_regression(make: Any, compare: Compare, status: str) -> None:
    new = [make.parity(status), *make.row()[1:]]
    code, told = compare(make.row(), new)
    assert code == 1
    assert f"parity {status}" in told
    assert "1 regression(s): 0 slower, 1 no longer shown." in told


def test_what_was_not_proven_before_is_none(make: Any, compare: Compare) -> None:
    assert compare([make.parity("failed")], [make.parity("failed")])[0] == 0


def test_a_proof_alone_counts_too(make: Any, compare: Compare) -> None:
    assert compare([make.parity()], [make.parity("failed")])[0] == 1


def test_a_row_that_no_longer_runs_is_a_regression(make: Any, compare: Compare) -> None:
    failed = make.record("bench", "error", "recompiled 2 times", {"campaign": "campaign", "pass": 0})
    code, told = compare(make.row(), [make.parity(), failed])
    assert code == 1
    assert "error: recompiled 2 times" in told


def test_memory_is_shown_and_judges_nothing(make: Any, compare: Compare) -> None:
    old, new = ([*make.row()[:-1], make.memory(peak)] for peak in (50.0, 100.0))
    code, told = compare(old, new)
    assert code == 0
    assert [line[-3:] for line in lines(told, "adding") if "2.00" in line] == [["50.0", "100.0", "2.00"]]


def test_a_machine_that_was_not_quiet_is_said(make: Any, compare: Compare) -> None:
    _, told = compare(make.row(), [*make.row(), make.quiet(others=0.4)])
    assert "In the new set the machine was not quiet: others used 40.0 %" in told
    assert "In the old set" not in told


def test_names_are_no_markup(make: Any, compare: Compare) -> None:
    name = "evil|<b>\x1b[31m`x`"
    records = [*make.row(implementation=name)]
    failed = make.record("bench", "error", "<script>|", {"campaign": "c", "pass": 0}, implementation=name)
    code, told = compare(records, [make.parity(implementation=name), failed])
    assert code == 1
    assert "<b>" not in told
    assert "<script>" not in told
    assert "\x1b" not in told
    assert "evil\\|" in told


def test_a_damaged_record_is_refused_and_left(
    make: Any, keep: Keep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old", "new"):
        bad = keep(tmp_path / name, make.row(passes=2))[1]
    bad.write_bytes(bad.read_bytes()[:100])
    assert main([str(tmp_path / "old"), str(tmp_path / "new")], tmp_path) == 2
    assert bad.name in capsys.readouterr().err
    assert bad.exists()


def test_published_sets_go_by_name(make: Any, keep: Keep, tmp_path: Path) -> None:
    for name in ("first", "second"):
        keep(tmp_path / "results" / "published" / name, make.row(passes=2))
    assert main(["first", "second"], tmp_path) == 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["frist", "first"], "Did you mean 'first'"),
        (["first", "empty"], "expected records, got none"),
        (["first", "taken"], "unknown folder or published set"),
    ],
)
def test_mistakes_are_told(
    make: Any, keep: Keep, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], words: str
) -> None:
    keep(tmp_path / "results" / "published" / "first", make.row(passes=2))
    (tmp_path / "results" / "published" / "empty").mkdir()
    (tmp_path / "results" / "published" / "taken").touch()
    assert main(names, tmp_path) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("threshold", ["nan", "inf", "-0.1", "five"])
def test_a_bad_threshold_is_refused(threshold: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["a", "b", f"--threshold={threshold}"])
    assert end.value.code == 2
    assert "expected a share" in capsys.readouterr().err


ROWS, RUNS, NOISE = 50, 200, 0.03
NO_DRAWS = np.zeros(0)  # the interval goes by the passes alone


def reddened(together: int) -> int:
    """Of RUNS comparisons of ROWS equal rows, three passes each, those with a row that seems slower."""
    rng = np.random.Generator(np.random.PCG64(1))

    def passes() -> list[Logs]:
        return [Logs(value, lambda: NO_DRAWS) for value in NOISE * rng.standard_normal(3)]

    def slower() -> bool:
        return verdict(statistics.apart(passes(), passes(), together), 0.0) == "slower"

    return sum(any(slower() for _ in range(ROWS)) for _ in range(RUNS))


def test_fifty_equal_rows_do_not_go_red_by_chance() -> None:
    assert reddened(together=ROWS) <= 0.1 * RUNS


def test_one_by_one_they_would() -> None:
    assert reddened(together=1) > 0.3 * RUNS


def test_the_interval_holds_what_it_promises() -> None:
    rng = np.random.Generator(np.random.PCG64(2))

    def passes(value: float) -> list[Logs]:
        return [Logs(x, lambda: NO_DRAWS) for x in math.log(value) + NOISE * rng.standard_normal(4)]

    found = [statistics.apart(passes(1.0), passes(1.1), 1) for _ in range(200)]
    assert sum(item.low <= 1.1 <= item.high for item in found) > 180


def test_students_t_is_scipys() -> None:
    for freedom in (1, 2, 3, 4, 9, 30):
        for probability in (0.6, 0.975, 0.9995):
            want = float(scipy.stats.t.ppf(probability, freedom))
            assert abs(statistics.student_t(probability, freedom) / want - 1) < 1e-9
