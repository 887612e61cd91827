"""The gate as a pytest run: one test a row, a line a level, a record for each row."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from results.errors import UserError
from suites import implementations, recording, selection, spec
from suites.conftest import QUESTIONS, option, selected
from suites.interface import Unavailable
from suites.parity import cache, choice
from suites.selection import Question

SIZE = "tiny"
WORKERS = 8  # each holds a framework: half a gigabyte or more
SETTINGS = pytest.StashKey[dict[str, str]]()  # what ``configure`` read back
CHOSEN = pytest.StashKey[str]()  # what is said where nobody selected


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("unrolled")
    text = "every row, where no option selects; else few, in which any two things meet"
    group.addoption("--full", action="store_true", help=text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "question" in metafunc.fixturenames:
        rows = metafunc.config.stash[QUESTIONS]
        metafunc.parametrize("question", rows, ids=[_id(question) for question in rows])
    if "proof" in metafunc.fixturenames:
        pairs = {pair(question): question for question in metafunc.config.stash[QUESTIONS]}
        metafunc.parametrize("proof", list(pairs.values()), ids=[f"oracle, {name}" for name in pairs])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The oracle's proof belongs to the oracle's session."""
    oracle = implementations.find("numpy")
    strangers = all(question.folder != oracle for question in config.stash[QUESTIONS])
    return True if strangers and collection_path.name == "test_oracle.py" else None


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Select the rows, so that a wrong option ends the run at once, and share them out among the cores.

    ``-n 0`` keeps them in one process, as does a missing pytest-xdist; a GPU is not shared.
    """
    config.stash[QUESTIONS] = questions = asked_for(config)
    workers = min(recording.usable_cores(), len({pair(question) for question in questions}), WORKERS)
    alone = workers == 1 or questions[0].row.device == "gpu" or hasattr(config, "workerinput")
    if config.pluginmanager.hasplugin("xdist") and config.option.numprocesses is None and not alone:
        config.option.numprocesses, config.option.dist = workers, "load"


def asked_for(config: pytest.Config) -> list[Question]:
    """The rows that the options select; where they select none, those of ``choice.py``, or all."""
    questions = selected(config, size=SIZE, dtypes=spec.DTYPES)
    if config.option.full or any(option(config)(name) is not None for name in choice.SELECTING):
        return questions
    few = choice.covering(questions)
    if len(few) < len(questions):
        config.stash[CHOSEN] = (
            f"{len(few)} of {len(questions)} rows, in which each task meets each of its cells, each variant "
            "and dtype each task, each cell and each other. --full takes every row."
        )
    return few


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Rows of one task and cell ask the oracle the same, and so share a process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPair(LoadScopeScheduling):  # type: ignore[misc]  # untyped
        def _split_scope(self, nodeid: str) -> str:
            return next((name for name in pairs if f", {name}" in nodeid.replace("]", " ")), nodeid)

    pairs = {f"{pair(question)} " for question in config.stash[QUESTIONS]}
    return ByPair(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Where other processes climb: what would hinder them, said once, by this one."""
    if session.config.getoption("numprocesses", None):
        prepare(session.config, session.config.stash[QUESTIONS], 1)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first row: are framework, device and data there? If not, say so and end."""
    asked = [
        item.callspec.params["question"]
        for item in session.items
        if hasattr(item, "callspec") and "question" in item.callspec.params
    ]
    if not asked:
        return
    workers: int = getattr(session.config, "workerinput", {}).get("workercount", 1)
    prepare(session.config, asked, max(1, recording.usable_cores() // workers))
    # A framework is hundreds of thousands of objects that stay. Looked through again and again while
    # functions are traced, they cost up to a fifth of a row.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def prepare(config: pytest.Config, asked: list[Question], threads: int) -> None:
    """Import, configure, look at the data. Raises UsageError for what is missing or wrong."""
    folder, device = asked[0].folder, asked[0].row.device
    try:
        implementations.deviations(folder)
        config.stash[SETTINGS] = implementations.device_module(folder).configure(device, threads)
        cache.keep_compiled(folder, device)
        for variant in sorted({question.row.variant for question in asked}):
            implementations.builder(folder, variant)
        selection.check_data(asked)
    except (UserError, Unavailable) as error:
        raise pytest.UsageError(f"{folder.name} on {device}: {error}") from None


class Lines:
    """A line a row and a line a level: the row's when it starts or, of several at once, with the levels'."""

    def __init__(self, reporter: TerminalReporter, total: int, workers: int) -> None:
        self.reporter, self.total, self.workers = reporter, total, workers
        self.done, self.began = 0, time.monotonic()

    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not self.workers:
            self.head(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        if self.workers:
            self.head(report.nodeid)
        for name, text in report.user_properties:
            unusual = name in ("deviates", "unrepeatable")
            self.reporter.write_line(
                f"  {text}", red=name == "failed", green=name == "passed", yellow=unusual
            )

    def head(self, nodeid: str) -> None:
        """Which row, which of how many, how long after the first."""
        self.done += 1
        spent = int(time.monotonic() - self.began)
        row = nodeid.split("[", 1)[1].rstrip("]").replace("/", "  ") if "[" in nodeid else nodeid
        self.reporter.ensure_newline()
        self.reporter.write_line(
            f"[{self.done}/{self.total}  {spent // 60}:{spent % 60:02d}]  {row}", bold=True
        )


def pytest_configure(config: pytest.Config) -> None:
    """Our own lines stand for pytest's dots and file names, unless more is asked for."""
    if config.option.verbose == 0:
        config.option.verbose = -1


@pytest.hookimpl(tryfirst=True)  # before the one that shares the rows out, which is the last to be asked
def pytest_runtestloop(session: pytest.Session) -> None:
    reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        workers = session.config.getoption("numprocesses", None) or 0
        lines = Lines(reporter, len(session.items), workers)
        if CHOSEN in session.config.stash:
            reporter.write_line(session.config.stash[CHOSEN])
        session.config.pluginmanager.register(lines, "unrolled-lines")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No letters: the lines say more."""
    if report.when == "call" or report.outcome != "passed":
        category = "deviates" if hasattr(report, "wasxfail") and report.skipped else report.outcome
        return category, "", ""
    return None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run in which no row passed or deviated as stated proves nothing, and must not look like a pass."""
    reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
    if exitstatus != 0 or reporter is None or session.config.option.collectonly:
        return
    if not reporter.stats.get("passed") and not reporter.stats.get("deviates"):
        reporter.write_line("No row passed: every row was skipped, which proves nothing.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pair(question: Question) -> str:
    """The task and the cell."""
    return f"{question.row.task} {question.row.cell}"


def _id(question: Question) -> str:
    row = question.row
    about = f"{row.data}, {row.size}, {row.device}"
    return f"{row.implementation} {row.variant}, {row.task} {row.cell} {row.dtype} ({about})"
