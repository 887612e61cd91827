"""``python -m reports``: what a user sees, and what stays on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from results.record import Record

ROOT = Path(__file__).parents[2]
Keep = Callable[[Path, list[Record]], list[Path]]


@pytest.fixture
def root(tmp_path: Path, make: Any, keep: Keep) -> Path:
    """A checkout with a few records."""
    keep(tmp_path / "results" / "records", [*make.row(passes=2), *make.row(passes=2, implementation="jax")])
    return tmp_path


@pytest.fixture
def published(root: Path) -> Path:
    """One with a published report."""
    assert main(["--publish", "first"], root) == 0
    return root


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): data for path, data in content(folder).items()}


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_report_is_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], root) == 0
    page = (root / "reports" / "latest" / "README.md").read_text(encoding="utf-8")
    assert "### Training" in page
    assert (
        capsys.readouterr().out
        == f"wrote {root}/reports/latest/README.md and index.html beside it from 8 records\n"
    )


def test_folders_can_be_named(root: Path, tmp_path: Path, make: Any, keep: Keep) -> None:
    keep(tmp_path / "more", make.row(passes=1, implementation="numpy"))
    out = tmp_path / "deep" / "folder"
    folders = [str(root / "results" / "records"), str(tmp_path / "more")]
    assert main(["--records", *folders, "--out", str(out)], root) == 0
    assert "compared over 3 implementation(s)" in (out / "README.md").read_text(encoding="utf-8")


def test_a_folder_given_twice_counts_once(root: Path, tmp_path: Path) -> None:
    records = str(root / "results" / "records")
    for name, folders in (("one", [records]), ("two", [records, records])):
        assert main(["--records", *folders, "--out", str(tmp_path / name)], root) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_no_records_is_said_without_a_traceback(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "reports",
        "--records",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "expected records, got none" in done.stderr
    assert "nox -s compare" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


def test_the_report_is_the_same_in_any_process(root: Path, tmp_path: Path) -> None:
    pages = []
    for seed in ("0", "1"):
        out = tmp_path / seed
        command = [
            sys.executable,
            "-m",
            "reports",
            "--records",
            str(root / "results" / "records"),
            "--out",
            str(out),
        ]
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        pages.append(files(out))
    assert pages[0] == pages[1]


def test_damage_is_named_on_the_page_and_on_stderr(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = sorted((root / "results" / "records").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:100])
    assert main([], root) == 0
    told = capsys.readouterr().err
    assert bad.name in told
    assert "not whole JSON" in told
    assert bad.name in (root / "reports" / "latest" / "README.md").read_text(encoding="utf-8")
    assert (root / "results" / "quarantine" / bad.name).exists()


def test_a_file_that_cannot_be_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "taken").touch()
    assert main(["--out", str(root / "taken" / "folder")], root) == 2
    assert "taken" in capsys.readouterr().err


def test_nothing_published_is_no_difference(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"], root) == 0
    assert capsys.readouterr().out.startswith("0 published report(s)")


def test_what_was_published_passes_the_check(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["--check"], published) == 0
    assert (
        capsys.readouterr().out == "1 published report(s), 0 file(s) that differ from what the records give\n"
    )
    assert len(list((published / "results" / "published" / "first").glob("*.json"))) == 8


def test_only_what_the_report_rests_on_is_published(root: Path, make: Any, keep: Keep) -> None:
    keep(root / "results" / "records", make.row(passes=2, source="two"))
    assert main(["--publish", "second"], root) == 0
    kept = [
        json.loads(path.read_text()) for path in (root / "results" / "published" / "second").glob("*.json")
    ]
    assert len(kept) == 8
    assert main(["--check"], root) == 0


def test_an_edited_page_fails_the_check(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = published / "reports" / "published" / "first" / "README.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("passed (0.1)", "passed (0.2)", 1), encoding="utf-8")
    assert main(["--check"], published) == 1
    told = capsys.readouterr().out
    assert [line[0] for line in told.splitlines() if "passed (0.2)" in line] == ["-"]
    assert any(line.startswith("+") and "passed (0.1)" in line for line in told.splitlines())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("README.md", "(from its records)"),
        ("tables/throughput.csv", "(from its records)"),
        ("index.html", "differs: expected "),
        ("parallel.html", "differs: expected "),
        ("figures/machine-1-train-adding.svg", "differs: expected "),
    ],
)
def test_the_check_is_exact_to_the_byte(
    published: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    """Of every file: one byte changed, one at the end, none at all; and one file too many."""
    capsys.readouterr()
    file = published / "reports" / "published" / "first" / name
    kept = file.read_bytes()
    at = kept.index(b"adding")
    for damaged in (kept[:at] + b"A" + kept[at + 1 :], kept + b"\n", None):
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        assert main(["--check"], published) == 1
        told = capsys.readouterr().out
        assert f"reports/published/first/{name}" in told
        assert (said if damaged is not None else "got no such file") in told
    file.write_bytes(kept)
    assert main(["--check"], published) == 0


@pytest.mark.parametrize("name", ["notes.md", "figures/another.svg", "tables/.hidden", "deep/er/x.txt"])
def test_a_file_too_many_fails_the_check(
    published: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = published / "reports" / "published" / "first" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert main(["--check"], published) == 1
    assert f"{name}: expected no such file" in capsys.readouterr().out


def test_published_reports_are_written_anew(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = published / "reports" / "published" / "first"
    before = content(folder)
    (folder / "index.html").write_text("old")
    (folder / "figures" / "old.svg").touch()
    assert main(["--renew"], published) == 0
    assert content(folder) == before
    assert main(["--renew", "--out", "x"], published) == 2


def test_a_report_without_its_sources_says_what_to_do(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (published / "results" / "published" / "first" / "edition" / "sources.json").write_text("{")
    assert main(["--check"], published) == 2
    assert "expected the sources of the parallel edition" in capsys.readouterr().err


def test_a_missing_published_record_fails_the_check(published: Path) -> None:
    next((published / "results" / "published" / "first").glob("bench-*.json")).unlink()
    assert main(["--check"], published) == 1


def test_an_edited_published_record_is_named_and_left(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next((published / "results" / "published" / "first").glob("bench-*.json"))
    path.write_text(path.read_text().replace('"import_s": 1.25', '"import_s": 1.2'))
    before = content(published)
    assert main(["--check"], published) == 2
    told = capsys.readouterr().err
    assert path.name in told
    assert "digest does not hold" in told
    assert content(published) == before


def test_reading_a_published_folder_leaves_it(published: Path, tmp_path: Path) -> None:
    folder = published / "results" / "published" / "first"
    path = next(folder.glob("bench-*.json"))
    path.write_text("{")
    before = content(published)
    assert main(["--records", str(folder), "--out", str(tmp_path / "o")], published) == 2
    assert content(published) == before


def test_a_page_without_records_and_records_without_a_page(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = published / "reports" / "published" / "first"
    folder.rename(folder.with_name("other"))
    assert main(["--check"], published) == 1
    told = capsys.readouterr().out
    assert "first: expected the report of the records" in told
    assert "other: expected its records" in told


def test_what_is_published_is_not_overwritten(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(published)
    assert main(["--publish", "first"], published) == 2
    assert "Choose another name" in capsys.readouterr().err
    assert content(published) == before


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden", "A b", "x\n"])
def test_a_bad_name_is_refused(root: Path, name: str) -> None:
    before = content(root)
    assert main([f"--publish={name}"], root) == 2
    assert content(root) == before


def test_check_goes_by_its_own_folders(root: Path) -> None:
    assert main(["--check", "--records", str(root)], root) == 2
