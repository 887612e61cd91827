"""The index of published reports follows from their records and the locks, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports import ages
from results.errors import UserError
from results.record import Record

Keep = Callable[[Path, list[Record]], list[Path]]


@pytest.fixture
def root(tmp_path: Path, make: Any, keep: Keep) -> Path:
    """A checkout with one published report of two frameworks, and their locks."""
    (tmp_path / "locks").mkdir()
    for name in ("torch", "jax"):
        (tmp_path / "locks" / f"{name}.txt").write_text(f"{name}==1.2.3\n", encoding="utf-8")
    records = [*make.row(), *make.row(implementation="jax")]
    keep(tmp_path / "results" / "published" / "a", records)
    return tmp_path


def test_a_report_names_machine_date_versions_and_where_it_lies(root: Path) -> None:
    line = ages.index(root).splitlines()[-1]
    for text in ("[a](a/README.md)", "A CPU, 2 cores", "2026-11-20", "torch: python 3.11.7, torch 1.2.3",
                 "as locked now"):  # fmt: skip
        assert text in line
    assert "[a](a.md)" in ages.index(root, "{}.md")


def test_a_lock_that_moved_shows_and_only_in_its_own_framework(root: Path) -> None:
    (root / "locks" / "torch.txt").write_text("torch==1.3.0\n", encoding="utf-8")
    line = ages.index(root).splitlines()[-1]
    assert "torch: older than its lock: torch 1.2.3 -&gt; 1.3.0" in line
    assert "jax: older" not in line


def test_a_lock_that_changed_in_what_is_not_of_the_rows_changes_nothing(root: Path) -> None:
    before = ages.index(root)
    path = root / "locks" / "torch.txt"
    path.write_text(path.read_text(encoding="utf-8") + "pytest==9\n", encoding="utf-8")
    assert ages.index(root) == before


def test_names_in_records_are_text(root: Path, make: Any, keep: Keep) -> None:
    keep(root / "results" / "published" / "b", make.row(cpu="<script>|x", version="<b>"))
    told = ages.index(root)
    assert "<script>" not in told
    assert "<b>" not in told


def test_nothing_published_yet(tmp_path: Path) -> None:
    assert ages.NONE in ages.index(tmp_path)


def test_a_damaged_record_is_the_users(root: Path) -> None:
    (root / "results" / "published" / "a" / "bench-x.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"bench-x\.json"):
        ages.index(root)
