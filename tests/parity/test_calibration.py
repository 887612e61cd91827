"""Calibration: errors over seeds become records, records constants, and each check fails where it must."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from results import store
from results.errors import UserError
from results.record import digest
from suites import implementations
from suites.parity.calibration import derive, errors
from suites.parity.calibration.__main__ import PUBLISHED, main
from suites.parity.calibration.measure import parsed_seeds
from suites.parity.comparator import Finding
from suites.parity.level import Level
from suites.parity.tolerances import CALIBRATION_MARGINS, beside_oracle, conditioned, constant, roundoff


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real measurement."""
    folder = tmp_path_factory.mktemp("calibration")
    assert main(arguments(folder)) == 0
    return folder


def arguments(folder: Path, impl: str = "numpy", *more: str) -> list[str]:
    row = ("--task", "adding", "--cell", "rnn", "--seeds", "1-2", "--dtype", "float32")
    return ["measure", "--variant", "scratch", "--impl", impl, *row, "--records", str(folder), *more]


def found(name: str, tolerance: Any, error: float, dtype: str, level: int = 1) -> tuple[str, float]:
    return errors.statistic(Finding(name, "", error, tolerance.value, tolerance.origin), dtype, level)


def test_a_statistic_is_the_constant_that_a_comparison_needs() -> None:
    u, v = roundoff("float64"), roundoff("float32")
    name, value = found("h", conditioned({"h": 10.0})("h"), 20 * u, "float64")
    assert (name, round(value, 9)) == ("float64.roundoffs", 2)
    for level in (4, 5):
        name, value = found("w", conditioned({"w": 10.0}, "training")("w"), 30 * u, "float64", level)
        assert (name, round(value, 9)) == ("float64.training", 3)
    name, value = found("h", beside_oracle({"h": 0.5 * v})("h"), 3 * v, "float32")
    assert (name, round(value, 9)) == ("float32.roundoffs", 3)
    e = 100 * v
    name, value = found("h", beside_oracle({"h": e})("h"), 2 * e, "float32")
    alone = constant("float32.roundoffs") / CALIBRATION_MARGINS["float32"] / 100
    assert name == "float32.factor"
    assert value == pytest.approx(2 - alone)
    rule = beside_oracle({"h": e}, constant="trajectory")
    name, value = found("h", rule("h"), 2 * e, "float32", 5)
    assert name == "float32.trajectory"
    assert value == pytest.approx(2 - alone)


def test_exact_comparisons_and_errors_that_are_no_number_rest_on_no_constant() -> None:
    findings = (
        Finding("step", "", 0.0, 0.0, "exact"),
        Finding("h", "", float("inf"), 1.0, "float64.training"),
    )
    assert errors.samples(Level(4, "failed", findings), "float64", 1) == []


@pytest.mark.parametrize(
    ("name", "largest", "constant_"),
    [
        *(
            ("float32.factor", *pair)
            for pair in [(0.0, 0.0), (0.5, 1.0), (0.51, 1.5), (2.4, 5.0), (3.6, 8.0), (4.1, 10.0)]
        ),
        *(("float64.training", *pair) for pair in [(0.0, 0.0), (2.3e-15, 5e-14), (0.9e-15, 1e-14)]),
    ],
)
def test_a_constant_is_the_next_of_the_series_above_the_margin_times_the_largest(
    name: str, largest: float, constant_: float
) -> None:
    assert derive.supported(name, largest) == pytest.approx(constant_, rel=1e-12)


def test_a_histogram_holds_every_comparison() -> None:
    assert errors.histogram([0.0, 1.0, 1.5, 0.25, 3.0]) == {"-1": 1, "1": 2, "2": 1, "zero": 1}


def test_a_row_is_measured_once(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(records.iterdir())
    assert main(arguments(records)) == 0
    assert "0 rows measured over 2 seeds, 1 kept" in capsys.readouterr().out
    assert sorted(records.iterdir()) == before


def test_other_seeds_are_another_measurement(records: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(records, tmp_path / "records")
    assert main(arguments(folder, "numpy", "--seeds", "2", "--levels", "2")) == 0
    levels = {
        tuple(entry["seed"] for entry in record["body"]["seeds"]): {
            level["level"] for level in record["body"]["levels"]
        }
        for record in store.read_all(folder)[0]
    }
    assert levels == {(1, 2): {1, 2, 3, 4, 5}, (2,): {1, 2}}


def test_a_larger_error_than_a_constant_supports_is_found(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = store.read_all(records)[0][0]
    planted = copy.deepcopy(record)
    for level in planted["body"]["levels"]:
        if level["constant"] == "float32.factor":
            level["statistic"][-1] = constant("float32.factor")  # twice it is more than is stated
    planted["digest"] = digest(planted)
    store.write(tmp_path, planted)
    assert main(["derive", "--records", str(tmp_path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("float32.factor")]
    assert "below what the records support" in lines[0]


def test_a_constant_far_above_what_was_measured_is_found(records: Path) -> None:
    record = copy.deepcopy(store.read_all(records)[0][0])
    for level in record["body"]["levels"]:
        level["statistic"][-1] = 1e-3
    verdicts = {one.name: one.problem for one in derive.derive([record])}
    assert verdicts["float32.factor"] == "more than 5 times what the records support"
    assert verdicts["float64.training"] == "rests on no error that was measured"


def test_of_older_records_a_trajectory_counts_for_its_own_constant(records: Path) -> None:
    record = store.read_all(records)[0][0]
    older = copy.deepcopy(record)
    for level in older["body"]["levels"]:
        level["constant"] = level["constant"].replace(".trajectory", ".factor")
    assert older != record
    assert derive.derive([older]) == derive.derive([record])


def test_a_defect_is_a_false_alarm_and_does_not_stop_other_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(implementations.find("numpy").path, tmp_path / "wrong")
    training = folder / "training.py"
    text = training.read_text(encoding="utf-8")
    wrong = text.replace("w - lr * m_hat", "w - 1.001 * lr * m_hat")
    assert wrong != text
    training.write_text(wrong, encoding="utf-8")
    kept = tmp_path / "records"
    assert main(arguments(kept, str(folder))) == 1
    out = capsys.readouterr().out
    assert "false alarm in 2 of 2 seeds: 1, 2" in out
    assert "level 4 (optimiser)" in out
    record = store.read_all(kept)[0][0]
    assert record["status"] == "failed"
    assert [entry["status"] for entry in record["body"]["seeds"]] == ["failed", "failed"]
    assert main(["derive", "--records", str(kept)]) == 1
    assert "2 false alarms: 1 a seed" in capsys.readouterr().out


def test_a_damaged_record_is_named(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(records, tmp_path / "records")
    path = next(folder.glob("*.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    record["body"]["levels"][0]["statistic"][-1] += 0.125
    path.write_text(json.dumps(record), encoding="utf-8")
    assert main(["derive", "--records", str(folder)]) == 2
    assert path.name in capsys.readouterr().err


def test_no_records_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", "--records", str(tmp_path)]) == 2
    assert "expected calibration records, got none" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-2", "1,,2"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--seeds: expected numbers and ranges"):
        parsed_seeds(text)


def test_seeds() -> None:
    assert parsed_seeds("3,7,9-11,7") == [3, 7, 9, 10, 11]


def test_seeds_on_which_no_constant_rests_raise_no_alarm() -> None:
    further = store.read_all(PUBLISHED.parent / "validation", keep_aside=False)[0]
    assert further
    for record in further:
        seeds = [entry["seed"] for entry in record["body"]["seeds"]]
        assert (seeds, record["body"]["top"]) == ([*range(31, 51)], 7), record["row"]
    assert derive.alarms(further) == []
    assert {record["status"] for record in further} <= {"passed", "deviates"}
    rests_on = {e["seed"] for r in store.read_all(PUBLISHED, keep_aside=False)[0] for e in r["body"]["seeds"]}
    assert rests_on == {*range(1, 31)}


def test_the_constants_are_those_of_the_committed_records() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip("no calibration has been committed")
    found = derive.counting(store.read_all(PUBLISHED, keep_aside=False)[0])
    assert derive.alarms(found) == []
    assert {one.name: one.stated for one in derive.derive(found)} == {
        one.name: one.derived for one in derive.derive(found)
    }
