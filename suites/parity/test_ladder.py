"""The gate: every selected row climbs the ladder. Run by ``nox -s parity-<impl>-<device>``."""

from __future__ import annotations

from typing import Any

import pytest

from results.errors import UserError
from suites import implementations, recording
from suites.conftest import option
from suites.interface import Unavailable
from suites.parity import fixtures
from suites.parity.comparator import NUMERIC
from suites.parity.conftest import SETTINGS
from suites.parity.ladder import Climb
from suites.parity.level import LEVELS, Level, failure_text
from suites.parity.reference import reference
from suites.parity.trajectory import Repeat
from suites.selection import Question


def test_row(question: Question, request: pytest.FixtureRequest, record_property) -> None:  # type: ignore[no-untyped-def]
    row = question.row
    stated = implementations.deviation(question.folder, row.variant, row.cell)
    build = implementations.builder(question.folder, row.variant)
    levels: list[Level] = []
    refused = ""
    try:
        known = reference(question.task, row.seed)
        climb = Climb(known, row.dtype, lambda task: build(task, row.dtype, row.device))
        for level in climb.levels():
            levels.append(level)
            record_property("failed" if level.status == "failed" else "passed", line(level))
            if level.trajectory is not None and not level.trajectory.repeat.equal:
                why = request.config.stash[SETTINGS] | climb.impl.path()
                record_property("unrepeatable", unrepeatable(level.trajectory.repeat, why))
    except Unavailable as error:
        finish(request, question, "skipped", str(error), levels)
        record_property("skipped", f"skipped: {error}")
        pytest.skip(str(error))
    except UserError as error:
        refused = str(error)
    if refused:
        pytest.fail(refused, pytrace=False)
    failed = levels[-1].status == "failed"
    if stated is not None:
        judge_deviation(request, question, levels, stated)
    elif failed:
        text = f"{row}\n{failure_text(levels[-1])}"
        finish(request, question, "failed", text, levels)
        pytest.fail(text, pytrace=False)
    else:
        finish(request, question, "passed", "", levels, climb.impl.path())


def judge_deviation(
    request: pytest.FixtureRequest, question: Question, levels: list[Level], stated: implementations.Deviation
) -> None:
    """A stated deviation must fail the gate by a number; one that passes is stale."""
    about = f"{stated.id}: {stated.reason} ({stated.link})"
    told = levels[-1].told
    if levels[-1].status == "failed" and told is not None and told.problem in NUMERIC:
        finish(request, question, "deviates", about, levels)
        request.node.user_properties.append(("deviates", f"deviates as stated, and is not timed: {about}"))
        pytest.xfail(about)
    text = f"the stated deviation {about} no longer deviates: take it out of deviations.toml."
    if levels[-1].status == "failed":
        text = f"the stated deviation {about} fails, but not by a number:\n{failure_text(levels[-1])}"
    text = f"{question.row}\n{text}"
    finish(request, question, "failed", text, levels)
    pytest.fail(text, pytrace=False)


def finish(
    request: pytest.FixtureRequest,
    question: Question,
    status: str,
    reason: str,
    levels: list[Level],
    path: dict[str, str] | None = None,
) -> None:
    """Keep the row's record at once: an interrupted run loses nothing that is finished."""
    digest = fixtures.make(question.task, question.row.seed).digest()
    body: dict[str, Any] = {"levels": [level.record() for level in levels], "digest": digest}
    body["settings"] = request.config.stash[SETTINGS]
    if status != "skipped":
        own = implementations.precise(question.folder, question.row.dtype, question.row.device)
        body["settings"] = body["settings"] | own  # those of the session are every row's
    if path is not None:
        body["path"] = path
    stated = implementations.deviation(question.folder, question.row.variant, question.row.cell)
    if stated is not None:
        body["deviation"] = {"id": stated.id, "link": stated.link}
    recording.write(option(request.config)("records") or "", "parity", question, status, reason, body)


def unrepeatable(repeat: Repeat, why: dict[str, str]) -> str:
    """By how much a second training differs from the first, and what may be the reason."""
    told = ", ".join(f"{name} {why.get(name, 'unknown')}" for name in ("threads", "kernel"))
    return f"level 5  {repeat.text()}; {told}"


def line(level: Level) -> str:
    """A level as one line: measured error, tolerance, the tensor nearest to it, where."""
    told = level.told
    sign = "x" if level.status == "failed" else "ok"
    head = f"level {level.level}  {LEVELS[level.level]:<16}"
    if told is None:
        return f"{head} {sign}"
    relation = ">" if told.error > told.tolerance else "<="
    place = f"{told.tensor}, {told.where}" + (f", {level.detail}" if level.detail else "")
    return f"{head} error {told.error:.1e} {relation} {told.tolerance:.1e}  {sign:<2}  {place}"
