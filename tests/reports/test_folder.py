"""A report is written whole or not at all, and nothing but a report is replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reports import folder
from results.errors import UserError

OLD = {"README.md": b"old\n", "figures/a.svg": b"<svg/>"}
NEW = {"README.md": b"new\n", "tables/b.csv": b"x\n"}


def content(place: Path) -> dict[str, bytes]:
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def test_a_report_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "latest"
    for files in (OLD, NEW):
        folder.write(place, files)
        assert content(place) == files
        assert [path.name for path in place.parent.iterdir()] == ["latest"]


@pytest.mark.parametrize("fails_at", [1, 2])
def test_the_old_report_is_there_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """While the old one is moved aside, and while the new one is moved to its place."""
    place = tmp_path / "latest"
    folder.write(place, OLD)
    rename, calls = os.rename, []

    def failing(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")
        rename(*arguments)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(UserError, match="No space left"):
        folder.write(place, NEW)
    assert content(place) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_a_file_that_cannot_be_written_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "latest"
    folder.write(place, OLD)

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"No space left.*--out"):
        folder.write(place, NEW)
    assert content(place) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_what_a_killed_run_moved_aside_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two moves: the next run finds the old report, even if it fails too."""
    place = tmp_path / "latest"
    folder.write(place, OLD)
    place.rename(tmp_path / ".latest.0123.old")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(UserError):
        folder.write(place, NEW)
    assert content(place) == OLD


@pytest.mark.parametrize("name", ["thesis.tex", "figures/photo.png", "tables/deep/x.csv", ".git/config"])
def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / "home" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(UserError, match="for what is there is replaced"):
        folder.write(tmp_path / "home", NEW)
    assert path.read_text() == "mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("mine")
    with pytest.raises(UserError, match="expected a folder"):
        folder.write(tmp_path / "page.md", NEW)
    assert (tmp_path / "page.md").read_text() == "mine"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    folder.write(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "there") == NEW


def test_differences_are_shown_by_line_where_they_can_be_read(tmp_path: Path) -> None:
    folder.write(tmp_path / "x", {"README.md": b"a\nb\n", "figures/a.svg": b"<svg/>"})
    should = {"README.md": b"a\nc\n", "figures/a.svg": b"<svg></svg>", "tables/t.csv": b"1"}
    texts = folder.differences(tmp_path / "x", should, "x")
    assert "-b\n+c\n" in texts[0]
    assert texts[1] == "x/figures/a.svg: differs: expected 11 bytes, got 6 (or as many others)."
    assert texts[2] == "x/tables/t.csv: expected 1 bytes, got no such file."


def test_a_long_difference_is_cut() -> None:
    (text,) = folder.difference(b"a\n" * 1000, b"b\n" * 1000, "README.md")
    assert len(text.splitlines()) == folder.FIRST_LINES + 1
    assert "more lines" in text
