"""The bars of the A/A session: planted records that meet them, and each way of missing them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.stats

from reports import statistics, trials
from results import record
from results.errors import UserError
from results.record import Record
from suites.bench.trials import __main__ as planted
from tests.reports.conftest import STEP_S, Maker

SHARES = {"a": 0.0, "b": 0.0, "slower-3": 0.03, "slower-5": 0.05, "slower-10": 0.10}
REPEATS, PASSES = 3, 6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer draws: what is planted is far from what they blur."""
    monkeypatch.setattr(statistics, "RESAMPLES", 400)


def row(
    make: Maker, name: str, share: float, factors: list[float], drifts: list[float] | None = None
) -> list[Record]:
    """A proven row that says what was planted, and takes so many times the usual in each pass."""
    found = [make.parity(implementation=name)]
    for number, (factor, drift) in enumerate(zip(factors, drifts or [1.0] * len(factors), strict=True)):
        timed = make.bench(number, STEP_S * factor, drift, scatter=0.005, implementation=name)
        timed["body"]["path"][trials.PLANTED] = str(share)
        timed["digest"] = record.digest(timed)
        found.append(timed)
    return found


def measured(make: Maker, noise: float = 0.005, real: dict[str, float] | None = None) -> list[Record]:
    """All rows over all passes; ``real``: what a row's time is multiplied by, where not as planted."""
    found = []
    for name, share in SHARES.items():
        factor = {name: 1 + share for name, share in SHARES.items()} | (real or {})
        own = [factor[name] * math.exp(noise * make.rng.standard_normal()) for _ in range(REPEATS * PASSES)]
        found += row(make, name, share, own)
    return found


@pytest.fixture(scope="module")
def usual() -> list[Record]:
    """As a quiet machine measures them."""
    return measured(Maker())


def judged(records: list[Record]) -> tuple[str, bool]:
    return trials.judged(trials.repeated(records, PASSES), PASSES)


def test_a_measuring_that_tells_apart_what_differs_meets_the_bars(usual: list[Record]) -> None:
    page, met = judged(usual)
    assert met, page
    assert page.count("**met**") == 2
    assert "3 repeats of 6 passes with 5 blocks" in page


def test_two_names_of_one_row_that_differ_are_false_differences(make: Maker) -> None:
    page, met = judged(measured(make, real={"b": 1.05}))
    assert not met
    assert "False differences: 6 of 6" in page
    assert "separable in 3 of 3" in page
    assert page.count("**not met**") == 1


def test_a_difference_the_other_way_is_false_too(make: Maker) -> None:
    page, met = judged(measured(make, real={"b": 0.95}))
    assert not met
    assert "False differences: 6 of 6" in page


def test_a_slow_down_that_is_not_there_is_not_found(make: Maker) -> None:
    page, met = judged(measured(make, real={"slower-5": 1.0}))
    assert not met
    assert page.count("**not met**") == 1
    (line,) = [line for line in page.splitlines() if line.startswith("| train") and "| 5 %" in line]
    assert "found in 0 of 3" in line


def test_faster_is_not_found_to_be_slower(make: Maker) -> None:
    page, met = judged(measured(make, real={"slower-5": 0.9}))
    assert not met
    assert page.count("found in 0 of 3") == 2


def test_noise_hides_what_was_planted(make: Maker) -> None:
    page, met = judged(measured(make, noise=0.08))
    assert not met
    assert "kind of work: **not met**" in page


def test_the_scatter_from_pass_to_pass_is_told(usual: list[Record]) -> None:
    found = trials.lines([c for r in trials.repeated(usual, PASSES) for c in trials.comparisons(r)])
    assert [(line.what, line.share) for line in found] == [
        (what, share) for what in ("train", "infer") for share in (0.0, 0.03, 0.05, 0.1)
    ]
    # 0.5 % of each row, and what is left of 2 % of each of its 5 blocks
    assert all(0.005 < line.scatter < 0.03 for line in found)


def test_a_repeat_is_a_comparison_of_the_default_length() -> None:
    assert planted.parse([]).passes == trials.PASSES
    assert planted.parse(["--slower", "5"]).passes == trials.PASSES


def test_an_interval_that_misses_the_truth_is_counted(make: Maker) -> None:
    page, _ = judged(measured(make, noise=0.001, real={"slower-3": 1.2}))
    # slower-3 against the four others, in two kinds of work, in each repeat
    (line,) = [line for line in page.splitlines() if "intervals missed it" in line]
    assert int(line.split("known, ")[1].split()[0]) >= 4 * 2 * REPEATS


def test_passes_that_lack_a_row_and_repeats_that_lack_a_pass_do_not_count(usual: list[Record]) -> None:
    lost = next(r for r in usual if r["kind"] == "bench" and r["body"]["pass"] == 4)
    repeats = trials.repeated([r for r in usual if r is not lost], PASSES)
    assert len(repeats) == REPEATS - 1
    assert [{r["body"]["pass"] for r in repeat if r["kind"] == "bench"} for repeat in repeats[:2]] == [
        {0, 1, 2, 3, 5, 6},
        {7, 8, 9, 10, 11, 12},
    ]


def test_only_the_newest_campaign_counts(make: Maker, usual: list[Record]) -> None:
    older = [make.bench(7, campaign="older", implementation="a")]
    older[0]["body"]["path"][trials.PLANTED] = "0.0"
    repeats = trials.repeated(older + usual, PASSES)
    assert {r["body"]["campaign"] for repeat in repeats for r in repeat if r["kind"] == "bench"} == {
        "campaign"
    }


def test_passes_of_an_older_source_do_not_count(make: Maker, usual: list[Record]) -> None:
    """It was edited while it ran: a repeat must not be judged by the passes that are left of it."""
    make.clock = 3000  # after all others
    edited = make.bench(17, implementation="a", source="edited")
    edited["body"]["path"][trials.PLANTED] = "0.0"
    records = [
        r
        for r in usual
        if r["kind"] != "bench" or (r["row"]["implementation"], r["body"]["pass"]) != ("a", 17)
    ]
    with pytest.raises(UserError, match="got 1 whole"):
        trials.repeated([*records, edited], PASSES)


def test_a_row_that_is_not_proven_is_not_judged(usual: list[Record]) -> None:
    records = [r for r in usual if r["kind"] == "bench" or r["row"]["implementation"] != "b"]
    with pytest.raises(UserError, match="b: expected a proven row, got: parity missing"):
        judged(records)


@pytest.mark.parametrize(("passes", "words"), [(40, "got 18 whole"), (0, "at least one pass")])
def test_too_few_passes_are_told(usual: list[Record], passes: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        trials.repeated(usual, passes)


def test_the_command_prints_writes_and_returns_the_verdict(
    usual: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    keep: Callable[[Path, list[Record]], list[Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records, out = tmp_path / "records", tmp_path / "pages" / "trials.md"
    keep(records, usual)
    command = ["--records", str(records), "--passes", str(PASSES), "--out", str(out)]
    assert trials.main(command) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")
    assert trials.main([*command, "--blocks", "1"]) in (0, 1)
    assert "with 1 blocks" in capsys.readouterr().out
    monkeypatch.setattr(trials, "FOUND_AT_LEAST", 1.01)
    assert trials.main(command) == 1
    assert "**not met**" in out.read_text(encoding="utf-8")
    assert trials.main(["--records", str(tmp_path / "none")]) == 2
    assert "expected records of `nox -s trials`" in capsys.readouterr().err


@pytest.mark.parametrize(("hits", "of"), [(0, 40), (1, 20), (18, 20), (20, 20)])
def test_the_interval_of_a_share_is_wilsons(hits: int, of: int) -> None:
    exact = scipy.stats.binomtest(hits, of).proportion_ci(method="wilson")
    assert max(abs(a - b) for a, b in zip(trials.wilson(hits, of), exact, strict=True)) < 1e-4
