"""The timing of one row as a pytest-benchmark run: blocks interleaved with the GEMM floor, one record."""

from __future__ import annotations

from typing import Any

import pytest

from results.errors import UserError
from suites import recording
from suites.bench import group as groups
from suites.conftest import QUESTIONS, option, selected
from suites.interface import Unavailable

SIZE = "small"
BLOCKS = 5
WHAT = ("train", "floor_train", "infer", "floor_infer")


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("unrolled")
    options.addoption("--blocks", type=int, default=BLOCKS, help="blocks of each kind, interleaved")
    options.addoption(
        "--threads", type=int, default=recording.usable_cores(), help="threads that a row may use"
    )
    options.addoption(
        "--pass-number", type=int, default=0, help="which pass of a campaign this group belongs to"
    )
    options.addoption("--campaign", default="single", help="the campaign this group belongs to")


def pytest_configure(config: pytest.Config) -> None:
    """Select the row, so that a wrong option ends the run at once."""
    config.stash[QUESTIONS] = selected(config, size=SIZE, dtypes=("float32",))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Blocks outermost: train, floor, infer, floor, and again, so that drift hits all alike."""
    if {"block", "what"} <= set(metafunc.fixturenames):
        order = [(block, what) for block in range(metafunc.config.getoption("--blocks")) for what in WHAT]
        metafunc.parametrize(("block", "what"), order, ids=[f"{what}-{block}" for block, what in order])


@pytest.fixture(scope="session")
def group(pytestconfig: pytest.Config) -> groups.Group:
    """The row, built and warmed up in this process; the run ends here if it cannot be."""
    try:
        question = groups.only(pytestconfig.stash[QUESTIONS])
        built = groups.build(question, pytestconfig.getoption("--threads"))
    except (UserError, Unavailable) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    built.phases["warmup_steps"] = float(sum(built.warm_up(what) for what in WHAT))
    return built


@pytest.fixture(scope="session")
def blocks(group: groups.Group, request: pytest.FixtureRequest) -> Any:
    """Where the samples gather; once every test has passed, one whole record is written."""
    gathered: list[dict[str, Any]] = []
    yield gathered
    config = request.config
    if request.session.testsfailed or len(gathered) != config.getoption("--blocks") * len(WHAT):
        return
    task, number, campaign = (
        group.question.task,
        config.getoption("--pass-number"),
        config.getoption("--campaign"),
    )
    body = {
        "campaign": campaign,
        "pass": number,
        "phases": group.phases,
        "blocks": gathered,
        "tokens_per_step": task.batch * task.length,
        "path": group.impl.path(),
        "settings": group.settings,
    }
    about = {"campaign": campaign, "passed": number}
    recording.write(option(config)("records") or "", "bench", group.question, "ok", "", body, **about)
