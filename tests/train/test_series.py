"""Several seeds: what ``--seeds`` may say, what is not trained twice, what a failure leaves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from results import store
from results.errors import UserError
from suites import recording
from suites.bench.__main__ import INTERRUPTED
from suites.selection import Question
from suites.train import __main__ as command
from suites.train import series
from suites.train.run import DIVERGED, DIVERGENCE
from tests.train.test_main import kept, train

ONE = ["--impl", "numpy", "--task", "adding", "--cell", "lstm", "--size", "tiny", "--threads", "1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("0-7", list(range(8))), ("3", [3]), ("0,2,5-7", [0, 2, 5, 6, 7]), ("9,1-2", [9, 1, 2]), ("4-4", [4])],
)
def test_seeds_in_words(text: str, found: list[int]) -> None:
    assert series.seeds(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3-1", "from small to large, got '3-1': 1-3?"),
        ("a", "expected seeds like 0-7 or 0,2,5-9, got 'a' in 'a'"),
        ("", "got '' in ''"),
        ("1,", "got '' in '1,'"),
        ("-1", "got '-1'"),
        ("1.5", "got '1.5'"),
        ("1--3", "got '1--3'"),
        ("0-3-5", "got '0-3-5'"),
        ("0 - 3", "got '0 - 3'"),
        ("²", "got '²'"),
        ("0,0", "each seed once, got 0 more than once"),
        ("0-4,3-6", "each seed once, got 3, 4 more than once"),
        ("0-999999999", "at most 1000 seeds"),
        ("0-600,700-1200", "at most 1000 seeds"),
        ("9" * 5000, "expected seeds like"),
    ],
)
def test_a_mistake_in_seeds_is_told(text: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*ONE, f"--seeds={text}"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: --seeds: ")
    assert words in complaint


def test_one_seed_or_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*ONE, "--seed", "3", "--seeds", "0-3"]) == 2
    assert "--seed 3 --seeds 0-3: expected one of the two, got both" in capsys.readouterr().err


def test_a_series_goes_on_where_it_was(tmp_path: Path) -> None:
    done = train("numpy", tmp_path, "--seeds", "0-2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seeds 0-2, with a margin of 0.0017 of equivalence stated" in done.stdout
    assert "[1/3  0:00]  seed 0\n" in done.stdout
    assert "left]  seed 2\n" in done.stdout
    records = kept(tmp_path)
    assert sorted(record["row"]["seed"] for record in records) == [0, 1, 2]
    assert {record["spec"]["margin"] for record in records} == {0.0017}
    assert (
        len({record["body"]["curve"][0]["held_out"] for record in records}) == 3
    )  # each has its own weights
    (last,) = (record for record in records if record["row"]["seed"] == 1)
    (tmp_path / f"training-{last['id']}.json").unlink()
    done = train("numpy", tmp_path, "--seeds", "0-2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 3 seeds are trained already and stay as they are" in done.stdout
    assert "[1/1  0:00]  seed 1\n" in done.stdout
    (again,) = (record for record in kept(tmp_path) if record["row"]["seed"] == 1)
    assert again["id"] != last["id"]
    assert again["body"]["final"] == last["body"]["final"]
    assert len(kept(tmp_path)) == 3


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the command with children that end as told, by seed; the seeds that were launched, and the code.

    A child that ends well or diverges leaves its record, as the real one does.
    """

    def run(ends: dict[int, int], *arguments: str, refused: str = "") -> tuple[list[int], int]:
        seen: list[int] = []
        asked: dict[int, Question] = {}
        of_seeds = series.of_seeds

        def noted(question: Question, numbers: list[int]) -> list[Question]:
            questions = of_seeds(question, numbers)
            asked.update({each.row.seed: each for each in questions})
            return questions

        def launch(environment: Any, *options: str) -> tuple[int, str]:
            seed = int(options[options.index("--seed") + 1])
            seen.append(seed)
            end = ends.get(seed, 0)
            status, reason = ("ok", "") if end == 0 else ("error", f"{DIVERGENCE}: at step 3")
            if end in (0, DIVERGED):
                body = {"metric": "m", "optimum": None, "baseline": 1.0, "curve": [POINT, POINT]} | REST
                recording.write(tmp_path, "training", asked[seed], status, reason, body)
            return end, "out of luck"

        monkeypatch.setattr(command, "refused", lambda *_: refused)
        monkeypatch.setattr(series, "of_seeds", noted)
        monkeypatch.setattr(command, "launch", launch)
        code = command.main([*ONE, "--records", str(tmp_path), *arguments])
        monkeypatch.setattr(series, "of_seeds", of_seeds)
        return seen, code

    return run


POINT = {"step": 0, "loss": None, "held_out": 1.0, "seconds": 0.0}
REST = {
    "final": {"m": 1.0},
    "predictions": 1,
    "seconds": 0.0,
    "evaluation_seconds": 0.0,
    "path": {},
    "settings": {},
}


def test_a_failure_stops_no_other_seed(launched: Any, tmp_path: Path, capsys: Any) -> None:
    assert launched({1: DIVERGED, 2: 1}, "--seeds", "0-3") == ([0, 1, 2, 3], 1)
    out = capsys.readouterr().out
    assert "failed: seed 1, 2" in out
    assert "out of luck" in out
    found = {record["row"]["seed"]: record for record in store.read_all(tmp_path)[0]}
    assert [found[seed]["status"] for seed in range(4)] == ["ok", "error", "error", "ok"]
    assert found[2]["reason"].startswith("exit code 1 ")


def test_what_crashed_is_tried_again_and_what_diverged_is_not(launched: Any, capsys: Any) -> None:
    launched({1: DIVERGED, 2: 1}, "--seeds", "0-3")
    assert launched({}, "--seeds", "0-4") == ([2, 4], 1)  # that of seed 1 is a result, and a bad one
    assert "failed: seed 1\n" in capsys.readouterr().out
    assert launched({}, "--seeds", "0,2-4") == ([], 0)


def test_an_interrupt_keeps_the_seeds_before_it(launched: Any, tmp_path: Path, capsys: Any) -> None:
    assert launched({1: INTERRUPTED}, "--seeds", "0-3") == ([0, 1], INTERRUPTED)
    assert "no record of it was written; other seeds' stay" in capsys.readouterr().err
    assert [record["row"]["seed"] for record in kept(tmp_path)] == [0]
    assert launched({}, "--seeds", "0-3") == ([1, 2, 3], 0)


def test_a_row_that_is_not_proven_is_trained_from_no_seed(launched: Any, tmp_path: Path) -> None:
    assert launched({}, "--seeds", "0-1", refused="parity failed") == ([], 1)
    assert [record["status"] for record in kept(tmp_path)] == ["untimed", "untimed"]


def test_the_margin_is_told_before_the_run() -> None:
    options = command.parse([*ONE, "--seeds", "0-7"])
    (question, *_) = command.at_seeds(options)
    assert command.in_words(question, "0-7").endswith(
        "seeds 0-7, with a margin of 0.0017 of equivalence stated"
    )
    assert "margin" not in command.in_words(question, None)


def test_a_seed_that_is_asked_for_alone_is_trained_again(launched: Any, monkeypatch: Any) -> None:
    """``--seed`` trains, whatever is there."""
    options = argparse.Namespace(**vars(command.parse([*ONE, "--seed", "5"])))
    (question,) = command.at_seeds(options)
    assert question.row.seed == 5
    with pytest.raises(UserError, match="expected one task"):
        command.at_seeds(command.parse(["--impl", "numpy", "--seeds", "0"]))
