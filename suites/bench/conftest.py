"""The timing of one row as a pytest-benchmark run: blocks interleaved with the GEMM floor, one record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from results.errors import UserError
from suites import recording
from suites.bench import cudnn
from suites.bench import group as groups
from suites.bench.turns import Child
from suites.conftest import option, selected
from suites.interface import Unavailable
from suites.selection import Question

SIZE = "small"
BLOCKS = 5
QUESTION = pytest.StashKey[Question]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("unrolled")
    options.addoption("--blocks", type=int, default=BLOCKS, help="blocks of each kind, interleaved")
    options.addoption(
        "--threads", type=int, default=recording.usable_cores(), help="threads that a row may use"
    )
    options.addoption(
        "--pass-number", type=int, default=0, help="which pass of a campaign this group belongs to"
    )
    options.addoption("--bare", action="store_true", help="of overhead: against the folder's bare.py")
    options.addoption("--campaign", default="single", help="the campaign this group belongs to")


def pytest_configure(config: pytest.Config) -> None:
    """Select the row, so that a wrong option ends the run at once."""
    try:
        config.stash[QUESTION] = groups.only(selected(config, size=SIZE, dtypes=("float32",)))
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Blocks outermost: each work and its floor, and all again, so that drift hits all alike."""
    if {"block", "what"} <= set(metafunc.fixturenames):
        blocks = range(metafunc.config.getoption("--blocks"))
        order = [(block, what) for block in blocks for what in samples(metafunc.config)]
        # pytest-benchmark compares by name: no two rows or passes may share one.
        about = f"{metafunc.config.stash[QUESTION].row} pass {metafunc.config.getoption('--pass-number') + 1}"
        ids = [f"{what}-{block} {about}" for block, what in order]
        metafunc.parametrize(("block", "what"), order, ids=ids)


@pytest.hookimpl(wrapper=True)
def pytest_benchmark_compare_machine_info() -> Any:
    """Keep pytest-benchmark's warning that the machines differ from ending the run: 5.3.1 asks there for
    the storage's path below the working folder, and fails with a ValueError where it is elsewhere."""
    try:
        return (yield)
    except ValueError:
        print("\npytest-benchmark compares with samples of another machine: its machine_info differs.")


def samples(config: pytest.Config) -> list[str]:
    """What a block holds: each work of the row, its floor after it."""
    works = groups.work(config.stash[QUESTION].task)
    return [name for what in works for name in (what, f"floor_{what}")]


@pytest.fixture(scope="session")
def group(pytestconfig: pytest.Config) -> groups.Group:
    """The row, built and warmed up in this process; the run ends here if it cannot be."""
    try:
        built = groups.build(pytestconfig.stash[QUESTION], pytestconfig.getoption("--threads"))
    except (UserError, Unavailable) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    warm_up = [built.warm_up(what) for what in samples(pytestconfig)]
    built.phases["warmup_steps"] = float(sum(warm_up))
    return built


@pytest.fixture(scope="session")
def turns(group: groups.Group) -> Iterator[Child]:
    """Whose turn it is, of the groups that are ready and wait; a group that runs alone never waits."""
    child = Child()
    yield child
    child.close()


@pytest.fixture(scope="session")
def blocks(group: groups.Group, turns: Child, request: pytest.FixtureRequest) -> Any:
    """Where the samples gather; once every test has passed, one whole record is written."""
    gathered: list[dict[str, Any]] = []
    with group.steady():
        yield gathered
    config = request.config
    if request.session.testsfailed or len(gathered) != config.getoption("--blocks") * len(samples(config)):
        return
    number, campaign = config.getoption("--pass-number"), config.getoption("--campaign")
    path, ran = group.impl.path(), group.kernels()
    body = {
        "campaign": campaign,
        "pass": number,
        "phases": group.phases,
        "blocks": gathered,
        "turns": turns.turns,
        "tokens_per_step": group.tokens["train"],
        "path": path | cudnn.path(ran, path),
        "settings": group.settings,
    }
    longest = {what: names[: groups.KERNELS] for what, names in ran.items()}
    body |= {name: told for name, told in (("bounds", group.bounds), ("kernels", longest)) if told}
    if "decode" in group.tokens:
        body["tokens_per_decode"] = group.tokens["decode"]
    about = {"campaign": campaign, "passed": number}
    recording.write(option(config)("records") or "", "bench", group.question, "ok", "", body, **about)
    turns.recorded()
