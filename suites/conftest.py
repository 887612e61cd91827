"""Options and error manners that the parity and the timing modules share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from results.errors import UserError
from suites import selection

RECORDS = Path(__file__).parent.parent / "results" / "records"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("unrolled", "Unrolled: which rows")
    selection.add_options(group.addoption)
    group.addoption("--records", default=str(RECORDS), help="folder that records are written to")


def option(config: pytest.Config) -> Callable[[str], str | None]:
    """Reads an option by its name without dashes."""

    def get(name: str) -> str | None:
        value = config.getoption(f"--{name}")
        return None if value is None else str(value)

    return get


QUESTIONS = pytest.StashKey[list[selection.Question]]()


def selected(config: pytest.Config, *, size: str, dtypes: tuple[str, ...]) -> list[selection.Question]:
    """The rows that the options select; a user's mistake ends pytest without a traceback."""
    try:
        return selection.questions(option(config), size=size, dtypes=dtypes)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
