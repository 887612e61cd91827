"""README's one table follows from the records of the report that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports import headline
from reports.__main__ import main
from results.errors import UserError

README = "# Unrolled\n\n<!-- results -->\n<!-- /results -->\n\nMore.\n"


def records(make: Any) -> list[Any]:
    return [
        record
        for name in ("torch", "jax")
        for record in (make.parity(implementation=name), make.bench(implementation=name))
    ]


@pytest.fixture
def published(make: Any, keep: Any, tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    keep(tmp_path / "results" / "records", records(make))
    assert main(["--publish", "laptop"], root=tmp_path) == 0
    return tmp_path


def test_publishing_writes_the_table_and_leaves_the_rest(published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Unrolled\n\n<!-- results: laptop -->\n| implementation")
    assert text.endswith("<!-- /results -->\n\nMore.\n")
    assert "| torch " in text
    assert "reports/published/laptop/README.md" in text
    assert main(["--check"], root=published) == 0


def test_an_edited_number_is_found(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = published / "README.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("| torch ", "| tortch ", 1), encoding="utf-8")
    assert main(["--check"], root=published) == 1
    assert "README.md" in capsys.readouterr().out


def test_a_table_of_no_report_is_found(published: Path) -> None:
    path = published / "README.md"
    path.write_text(
        path.read_text(encoding="utf-8").replace("results: laptop", "results: server"), encoding="utf-8"
    )
    assert main(["--check"], root=published) == 1


def test_no_markers(make: Any) -> None:
    with pytest.raises(UserError, match="expected the markers"):
        headline.replaced("# Unrolled", "laptop", records(make))


def test_a_cell_holds_the_size_s_own_row(make: Any) -> None:
    """Neither points of a curve nor another batch or width stand in its place."""
    own = records(make)
    others = [make.bench(implementation="torch", size="small, B = 1", batch=1, step=9e-3, campaign="alone")]
    others += [make.bench(implementation="torch", length=T, step=9e-3, campaign="curves") for T in (100, 200)]
    assert headline.block("laptop", [*own, *others]) == headline.block("laptop", own)
