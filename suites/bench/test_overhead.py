"""A row's step in the harness and in a bare loop. Run by ``python -m suites.bench.overhead``."""

from __future__ import annotations

from typing import Any

import pytest

from results.errors import UserError
from suites.bench import group as groups
from suites.bench import overhead
from suites.bench.conftest import QUESTION
from suites.bench.group import Group
from suites.interface import Unavailable

Ratios = dict[str, list[float]]  # by work: as measured over bare, a pair of rounds each


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Pairs outermost, so that drift hits all works alike."""
    if "what" not in metafunc.fixturenames:
        return
    works = groups.work(metafunc.config.stash[QUESTION].task)
    if metafunc.config.getoption("--bare"):
        works = [what for what in works if what != "decode"]
    metafunc.parametrize("what", works)
    if "pair" in metafunc.fixturenames:
        metafunc.parametrize("pair", range(metafunc.config.getoption("--blocks")))


@pytest.fixture(scope="session")
def ratios() -> Ratios:
    return {}


@pytest.fixture(scope="session")
def loop(group: Group, pytestconfig: pytest.Config) -> overhead.Loop | None:
    """That of ``bare.py``, where it is asked for; the run ends here if there is none for the row."""
    try:
        return overhead.by_hand(group) if pytestconfig.getoption("--bare") else None
    except (UserError, Unavailable, groups.Void) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def test_pair(
    pair: int, what: str, group: Group, loop: overhead.Loop | None, ratios: Ratios, benchmark: Any
) -> None:
    """In turn, which of the two comes first."""
    if pair % 2:
        by_hand, measured = overhead.bare(group, what, loop), overhead.as_measured(group, what, benchmark)
    else:
        measured, by_hand = overhead.as_measured(group, what, benchmark), overhead.bare(group, what, loop)
    ratios.setdefault(what, []).append(measured / by_hand)


def test_the_harness_costs_little(
    what: str, ratios: Ratios, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    middle, low, high = overhead.interval(ratios[what])
    found = f"{what}: {middle:.4f} ({low:.4f} to {high:.4f}) times the bare loop, {len(ratios[what])} pairs"
    with capsys.disabled():
        print(f"\n{found}")
    bar = overhead.BARE_BAR if pytestconfig.getoption("--bare") else overhead.BAR
    assert 1 - bar <= low <= high <= 1 + bar, (
        f"expected the interval within {1 - bar:g} to {1 + bar:g}, got {found}. "
        "More pairs (--pairs) narrow it"
    )
