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
from suites.conftest import QUESTIONS, selected
from suites.interface import Unavailable
from suites.selection import Question

SIZE = "tiny"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "question" in metafunc.fixturenames:
        rows = metafunc.config.stash[QUESTIONS]
        metafunc.parametrize("question", rows, ids=[_id(question) for question in rows])
    if "proof" in metafunc.fixturenames:
        pairs = {(q.task.name, q.row.cell): q for q in metafunc.config.stash[QUESTIONS]}
        metafunc.parametrize(
            "proof", list(pairs.values()), ids=[f"oracle, {task} {cell}" for task, cell in pairs]
        )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The oracle's proof belongs to the oracle's session."""
    oracle = implementations.find("numpy")
    strangers = all(question.folder != oracle for question in config.stash[QUESTIONS])
    return True if strangers and collection_path.name == "test_oracle.py" else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first row: are framework, device and data there? If not, say so and end."""
    asked = [
        item.callspec.params["question"]
        for item in session.items
        if hasattr(item, "callspec") and "question" in item.callspec.params
    ]
    if not asked:
        return
    folder, device = asked[0].folder, asked[0].row.device
    try:
        implementations.deviations(folder)
        implementations.device_module(folder).configure(device, recording.usable_cores())
        for variant in sorted({question.row.variant for question in asked}):
            implementations.builder(folder, variant)
        selection.check_data(asked)
    except (UserError, Unavailable) as error:
        raise pytest.UsageError(f"{folder.name} on {device}: {error}") from None
    # A framework is hundreds of thousands of objects that stay. Looked through again and again while
    # functions are traced, they cost up to a fifth of a row.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


class Lines:
    """Prints a row when it starts, a line a level when it is done."""

    def __init__(self, reporter: TerminalReporter, total: int) -> None:
        self.reporter, self.total, self.done, self.began = reporter, total, 0, time.monotonic()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.done += 1
        spent = int(time.monotonic() - self.began)
        row = nodeid.split("[", 1)[1].rstrip("]").replace("/", "  ") if "[" in nodeid else nodeid
        self.reporter.ensure_newline()
        self.reporter.write_line(
            f"[{self.done}/{self.total}  {spent // 60}:{spent % 60:02d}]  {row}", bold=True
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, text in report.user_properties if report.when == "call" else []:
            self.reporter.write_line(
                f"  {text}", red=name == "failed", green=name == "passed", yellow=name == "deviates"
            )


def pytest_configure(config: pytest.Config) -> None:
    """Select the rows, so that a wrong option ends the run at once.

    Our own lines stand for pytest's dots and file names, unless more is asked for.
    """
    config.stash[QUESTIONS] = selected(config, size=SIZE, dtypes=spec.DTYPES)
    if config.option.verbose == 0:
        config.option.verbose = -1


def pytest_runtestloop(session: pytest.Session) -> None:
    reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        session.config.pluginmanager.register(Lines(reporter, len(session.items)), "unrolled-lines")


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


def _id(question: Question) -> str:
    row = question.row
    about = f"{row.data}, {row.size}, {row.device}"
    return f"{row.implementation} {row.variant}, {row.task} {row.cell} {row.dtype} ({about})"
