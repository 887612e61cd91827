"""pytest-benchmark's own options: handed on, with files apart for each row; a regression is a failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from results import store
from results.errors import UserError
from suites import selection
from suites.bench import passthrough
from suites.bench.__main__ import main, parse
from suites.bench.passthrough import given, merge, of_group
from suites.recording import ROOT
from suites.selection import Row
from tests.bench.test_campaign import ONE


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a user in that folder runs it."""
    command = [sys.executable, "-m", "suites.bench", "--impl", "numpy", "--records", str(folder / "records")]
    return subprocess.run(
        [*command, *ONE, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def statuses(folder: Path) -> list[str]:
    records, damaged = store.read_all(folder / "records")
    assert damaged == []
    return [record["status"] for record in records if record["kind"] == "bench"]


def test_saved_compared_and_failed(tmp_path: Path) -> None:
    first = bench(tmp_path, "--benchmark-json=out.json", "--benchmark-autosave", "--benchmark-storage=kept")
    assert first.returncode == 0, first.stdout + first.stderr
    page = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [item["group"] for item in page["benchmarks"]] == ["train", "floor_train", "infer", "floor_infer"]
    assert page["benchmarks"][0]["extra_info"]["cell"] == "lstm"
    assert len(list((tmp_path / "kept").rglob("0001_*.json"))) == 1

    again = bench(
        tmp_path, "--benchmark-storage=kept", "--benchmark-compare", "--benchmark-compare-fail=min:100000%"
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "every row is timed, measured or not" in again.stdout
    assert "Comparing against benchmarks from" in again.stdout
    assert statuses(tmp_path) == ["ok", "ok"]

    # a faster past, on another machine
    for item in page["benchmarks"]:
        item["stats"] |= {"min": item["stats"]["min"] / 1000, "mean": item["stats"]["mean"] / 1000}
    page["machine_info"]["node"] = "elsewhere"
    (tmp_path / "faster.json").write_text(json.dumps(page), encoding="utf-8")
    worse = bench(
        tmp_path, "--benchmark-compare=faster.json", "--benchmark-compare-fail", "min:50%", "mean:50%"
    )
    assert worse.returncode == 1
    assert "Field 'min' has failed" in worse.stdout
    assert "Field 'mean' has failed" in worse.stdout
    assert "its machine_info differs" in worse.stdout
    assert "measured, but --benchmark-compare failed" in worse.stdout
    assert "Traceback" not in worse.stdout + worse.stderr
    assert statuses(tmp_path) == ["ok", "ok", "ok"]  # what was measured stands


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--benchmark-jsno=x"], "Did you mean --benchmark-json"),
        (["--benchmark-compare-fail=min:5%"], "expected --benchmark-compare beside it"),
        (["--benchmark-disable"], "an option that makes none"),
        (["--benchmark-skip"], "an option that makes none"),
        (["--benchmark-json=no/such/folder.json"], "a file in a folder that exists"),
        (["--benchmark-json=."], "a file in a folder that exists"),
        (["--benchmark-storage=elasticsearch+http://host/"], "expected a folder"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--impl", "numpy", *ONE, *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""


@pytest.mark.parametrize("wrong", ["--benchmark-compare-fail=min:five", "--benchmark-sort=speed"])
def test_values_are_checked_as_pytest_benchmark_does(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--benchmark-compare", wrong])
    assert end.value.code == 2
    assert wrong.partition("=")[0] in capsys.readouterr().err


def asked(seed: str = "0") -> Row:
    chosen = {"impl": "numpy", "variant": "scratch", "task": "adding", "cell": "rnn", "seed": seed}
    (question,) = selection.questions(chosen.get, size="tiny", dtypes=("float32",))
    return question.row


def handed(*arguments: str, row: Row | None = None, number: int = 0) -> list[str]:
    return of_group(given(parse(list(arguments))), row or asked(), number, Path("parts"))


def test_nothing_given_nothing_handed_on() -> None:
    assert given(parse(["--impl", "numpy"])) == {}
    assert handed() == []


def test_flags_and_values_go_on_as_they_are() -> None:
    typed = [
        "--benchmark-autosave",
        "--benchmark-columns=min,median",
        "--benchmark-verbose",
        "--benchmark-save-data",
    ]
    typed += ["--benchmark-max-time=2.5", "--benchmark-compare=0001"]
    assert set(typed) <= set(handed(*typed))


def test_several_conditions_are_one_option() -> None:
    once = handed("--benchmark-compare", "--benchmark-compare-fail", "min:5%", "mean:0.1")
    twice = handed(
        "--benchmark-compare", "--benchmark-compare-fail=min:5%", "--benchmark-compare-fail=mean:0.1"
    )
    at = once.index("--benchmark-compare-fail")
    assert once[at : at + 3] == ["--benchmark-compare-fail", "min:5%", "mean:0.1"]
    assert once == twice


@pytest.mark.parametrize("flag", ["storage", "json", "histogram", "cprofile-dump"])
def test_no_two_groups_write_the_same_file(flag: str, tmp_path: Path) -> None:
    typed = f"--benchmark-{flag}={tmp_path / 'x'}"
    groups = [{}, {"number": 1}, {"row": asked(seed="1")}]
    found = {
        next(text for text in handed(typed, **group) if text.startswith(f"--benchmark-{flag}="))
        for group in groups
    }
    assert len(found) == len(groups)


def test_names_carry_row_and_pass() -> None:
    """Else a file of several rows, compared with, would take one row for another."""
    command = ["-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "suites/bench/test_group.py"]
    row = [
        "--impl",
        "numpy",
        "--variant",
        "scratch",
        "--task",
        "adding",
        "--cell",
        "rnn",
        "--size",
        "tiny",
        "--blocks",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, *command, *row, "--pass-number", "1", "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[train-0 numpy scratch  adding/generated rnn float32 cpu  tiny T=11 seed 3 pass 2]" in done.stdout


def test_parts_become_one_file(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    target = tmp_path / "out.json"
    merge(parts, target)
    assert not target.exists()
    for name in ("b", "a"):
        page = {"version": "5", "machine_info": {"node": name}, "benchmarks": [{"name": name}]}
        (parts / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")
    merge(parts, target)
    whole = json.loads(target.read_text(encoding="utf-8"))
    assert [item["name"] for item in whole["benchmarks"]] == ["a", "b"]
    assert whole["machine_info"] == {"node": "a"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "parts"]


def test_a_merge_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"benchmarks": []}', encoding="utf-8")
    with pytest.raises(UserError, match="could not be written"):
        merge(tmp_path, tmp_path / "gone" / "out.json")


def test_the_plug_in_has_the_options_that_are_treated_apart() -> None:
    declared = set(vars(parse(["--benchmark-disable", "--benchmark-skip", "--benchmark-histogram"])))
    assert {*passthrough.SILENT, "benchmark_histogram"} <= declared
