"""``python -m reports.reproduced``: the same comes out as the same, another as another."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import reproduced
from reports.reproduced import main, ratio
from results import ids, record
from results.record import Record

Keep = Callable[[Path, list[Record]], list[Path]]
Judge = Callable[..., tuple[int, str]]
TRIALS = 1000


@pytest.fixture
def judge(tmp_path: Path, keep: Keep, capsys: pytest.CaptureFixture[str]) -> Judge:
    """Writes the old and the new records, judges the number; exit code and all that was printed."""

    def run(what: str, old: list[Record], new: list[Record], *more: str) -> tuple[int, str]:
        kind = ids.KINDS[what]
        name = next(ids.of(item, what) for item in old if item["kind"] == kind)
        keep(tmp_path / "old", old)
        keep(tmp_path / "new", new)
        found = [name, "--records", str(tmp_path / "old"), "--new", str(tmp_path / "new"), *more]
        code = main(found, tmp_path)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def resealed(sealed: Record, **changes: Any) -> Record:
    """The record with parts of it otherwise, sealed again."""
    found = {**sealed, **changes}
    return record.verify({**found, "digest": record.digest(found)})


def last(told: str) -> str:
    return told.strip().splitlines()[-1]


# Times


@pytest.mark.parametrize("what", ["train", "infer"])
def test_the_same_time_is_reproduced(make: Any, judge: Judge, what: str) -> None:
    code, told = judge(what, make.row(), make.row())
    assert code == 0
    assert last(told).startswith(
        "reproduced: the 95 % interval of new over old holds 1 (a change of less than"
    )
    assert "then  " in told
    assert "now   " in told


def test_a_slower_time_is_not_and_both_intervals_are_shown(make: Any, judge: Judge) -> None:
    code, told = judge("train", make.row(), make.row(step=2.6e-3))
    assert code == 1
    assert last(told).startswith("not within the interval: ")
    for name, about in (("then", 2.0), ("now ", 2.6)):
        value, low, high = map(float, re.findall(rf"{name}  ([\d.]+) \(([\d.]+) to ([\d.]+)\) ms", told)[0])
        assert low < value < high
        assert value == pytest.approx(about, rel=0.05)
    assert re.search(r"now over then: time 1\.[23]\d* \(1\.[23]\d* to 1\.[34]\d*\)", told)


def test_a_busy_machine_moves_the_time_and_not_the_ratio_to_the_floor(make: Any, judge: Judge) -> None:
    busy = [1.5, 1.45, 1.55, 1.5, 1.5]
    code, told = judge("train", make.row(), make.row(drifts=busy))
    assert code == 1
    assert "not within the interval: " in last(told)
    assert "the ratio to the GEMM floor: reproduced" in last(told)


def test_a_machine_that_was_not_quiet_is_said(make: Any, judge: Judge) -> None:
    new = [*make.row(), *(make.quiet(others=0.9) for _ in range(6))]
    assert "now the machine was not quiet: " in judge("train", make.row(), new)[1]


@pytest.mark.parametrize(("step", "word"), [(2e-3, "reproduced"), (3e-3, "not within the interval")])
def test_on_other_hardware_only_the_ratio_to_the_floor_is_judged(
    make: Any, judge: Judge, step: float, word: str
) -> None:
    code, told = judge("train", make.row(), make.row(cpu="Another CPU", step=step))
    assert code == 3
    assert last(told).startswith(
        f"other hardware: times are not compared; the ratio to the GEMM floor: {word}"
    )
    assert "then  A CPU, 2 cores" in told
    assert "now   Another CPU, 2 cores" in told


def test_what_has_changed_since_is_said(make: Any, judge: Judge) -> None:
    new = make.row(source="two", lock="two", version="1.2.4")
    told = judge("train", make.row(), new)[1]
    for text in (
        "the source has changed since",
        "versions differ: torch 1.2.3 -> 1.2.4",
        "the lock has changed since",
    ):
        assert text in told


def test_a_row_that_is_no_longer_proven_has_no_time(make: Any, judge: Judge) -> None:
    new = [make.parity("failed"), *(make.bench(number) for number in range(3))]
    code, told = judge("train", make.row(), new)
    assert code == 1
    assert last(told) == "not reproduced: the row has no number now: parity failed"


def test_a_row_that_had_no_time_then(make: Any, judge: Judge) -> None:
    untimed = make.record("bench", "untimed", "parity failed", {"campaign": "a", "pass": 0})
    assert last(judge("train", [untimed], make.row())[1]) == "not reproduced: untimed then, ok now"


def test_another_number_of_threads_is_not_compared(make: Any, judge: Judge) -> None:
    new = [make.parity(), *(make.bench(number, threads="1") for number in range(3))]
    code, told = judge("train", make.row(), new)
    assert code == 1
    assert last(told) == "not reproduced: the new records have no time with 2 threads"


def test_one_old_pass_is_held_against_the_scatter_of_the_new(make: Any, judge: Judge) -> None:
    assert judge("train", make.row(passes=1), make.row())[0] == 0


def test_one_pass_each_tells_nothing(make: Any, judge: Judge) -> None:
    code, told = judge("train", make.row(passes=1), make.row(passes=1))
    assert code == 1
    assert last(told).startswith("cannot be told from so few passes")


@pytest.mark.parametrize(("old", "new"), [(3, 3), (1, 3), (5, 3)])
def test_the_rule_errs_one_time_in_twenty(old: int, new: int) -> None:
    """The old value alone against the interval of the new one would err more often."""
    rng = np.random.Generator(np.random.PCG64(7))
    wrong = naive = 0
    for _ in range(TRIALS):
        sides = [list(0.05 * rng.standard_normal(n)) for n in (old, new)]
        found = ratio(*sides)
        assert found is not None
        wrong += not found.holds_one
        t = reproduced.statistics.student_t(0.975, new - 1)
        half = t * float(np.std(sides[1], ddof=1)) / math.sqrt(new)
        naive += abs(np.mean(sides[1]) - np.mean(sides[0])) > half
    assert 0.02 * TRIALS < wrong < 0.085 * TRIALS
    assert naive > 1.2 * wrong


def test_the_rule_finds_what_is_there() -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    found = [
        ratio(list(0.02 * rng.standard_normal(3)), list(0.2 + 0.02 * rng.standard_normal(3)))
        for _ in range(50)
    ]
    assert sum(item is not None and item.low > 1 for item in found) > 45


# Memory


@pytest.mark.parametrize(
    ("peaks", "code"), [((96.0, 96.5, 95.5), 0), ((120.0, 120.5, 119.5), 1), ((96.0, 96.0, 96.0), 0)]
)
def test_memory_is_held_against_the_scatter_of_several_runs(
    make: Any, judge: Judge, peaks: tuple[float, ...], code: int
) -> None:
    new = [make.parity()] + [make.memory(peak) for peak in peaks]
    found, told = judge("memory", make.row(), new)
    assert found == code
    assert "then  96.00 MiB over the baseline" in told
    assert f"{peaks[0]:.2f}, {peaks[1]:.2f}, {peaks[2]:.2f} MiB" in told


def test_memory_of_other_hardware_is_not_compared(make: Any, judge: Judge) -> None:
    new = [make.parity(cpu="B"), make.memory(cpu="B")]
    assert judge("memory", make.row(), new)[0] == 3


# Quality


def test_the_same_training_is_the_same_to_the_bit(make: Any, judge: Judge) -> None:
    sides = [[make.parity(), make.training()] for _ in range(2)]
    code, told = judge("quality", *sides)
    assert code == 0
    assert last(told).startswith("reproduced: to the bit")


@pytest.mark.parametrize(
    ("margin", "code", "said"),
    [
        (0.001, 0, "reproduced: not to the bit: squared error differs by 5e-05, apart from step 200 on"),
        (1e-6, 1, "not within the margin: not to the bit: squared error differs by 5e-05"),
        (
            None,
            1,
            "not to the bit: squared error differs by 5e-05, apart from step 200 on; the task states no",
        ),
    ],
)
def test_another_training_is_judged_by_the_margin(
    make: Any, judge: Judge, margin: float | None, code: int, said: str
) -> None:
    new = make.training(held_out=(0.2, 0.01, 1.3e-3))
    new = resealed(new, spec={**new["spec"], "margin": margin})
    proof = make.parity()
    found, told = judge("quality", [make.parity(), make.training()], [proof, new])
    assert found == code
    assert last(told).startswith(said)


# Parity


def test_a_proof_that_comes_out_the_same(make: Any, judge: Judge) -> None:
    code, told = judge("parity", [make.parity()], [make.parity(error=2e-15)])
    assert code == 0
    assert last(told) == "reproduced: passed again; 1 of 4 errors are equal to the bit"
    assert "level 3  then passed, error 1e-15 of 1e-14; now passed, error 2e-15 of 1e-14" in told


def test_a_proof_that_fails_now_names_the_level(make: Any, judge: Judge) -> None:
    code, told = judge("parity", [make.parity()], [make.parity("failed")])
    assert code == 1
    assert last(told) == "not reproduced: level 3 passed then, failed now; passed then, failed now"


def test_a_level_that_was_not_asked_then_is_no_difference(make: Any, judge: Judge) -> None:
    old = make.parity()
    old = resealed(old, body={**old["body"], "levels": old["body"]["levels"][:3]})
    code, told = judge("parity", [old], [make.parity()])
    assert code == 0
    assert "level 3  then not asked; now passed" in told


# Mistakes


def test_no_new_record_of_the_row(make: Any, judge: Judge) -> None:
    code, told = judge("train", make.row(), make.row(cell="gru"))
    assert code == 2
    assert "expected a new record of torch native, adding lstm" in told


def test_a_source_that_changed_meanwhile(make: Any, judge: Judge) -> None:
    code, told = judge("train", make.row(), [make.parity(), *make.row(source="two")[1:]])
    assert code == 2
    assert "the source changed while the row was measured again" in told


def test_an_unknown_id(make: Any, tmp_path: Path, keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    keep(tmp_path / "old", make.row())
    assert main(["zz", "--records", str(tmp_path / "old"), "--new", str(tmp_path)], tmp_path) == 2
    assert "unknown id 'zz'" in capsys.readouterr().err
