"""Records are whole on disk or absent, and what is damaged is named and kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import record, store
from results.errors import UserError
from results.record import InvalidRecord, Record

ROOT = Path(__file__).parents[2]

# Writes records for ever; prints the id of each that is said to be on disk.
WRITER = """
import json, sys
from pathlib import Path
from results import record, store
parts = json.load(sys.stdin)
while True:
    sealed = record.new(**parts)
    store.write(Path(sys.argv[1]), sealed)
    print(sealed["id"], flush=True)
"""

# Stops between the temporary file and its final name.
STOPPED = """
import json, os, sys, time
from pathlib import Path
from results import record, store
def stop(*_):
    print("stopped", flush=True)
    time.sleep(60)
os.replace = stop
store.write(Path(sys.argv[1]), record.new(**json.load(sys.stdin)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "records"


@pytest.fixture
def written(folder: Path, parts: dict[str, Any]) -> Path:
    """One good record on disk."""
    return store.write(folder, record.new(**parts))


def start(script: str, folder: Path, parts: dict[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(parts))
    process.stdin.close()
    return process


def kill(process: subprocess.Popen[str]) -> list[str]:
    """SIGKILL, and the whole lines that were printed before."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    lines = process.stdout.read().split("\n")
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return lines[:-1]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace("3.1e-16", "3.1e-17"))


def retype(path: Path) -> None:
    held = json.loads(path.read_text())
    held["row"]["seed"] = "zero"
    held["digest"] = record.digest(held)
    path.write_text(json.dumps(held))


def infinite(path: Path) -> None:
    path.write_text(path.read_text().replace("3.1e-16", "1e999"))


def nan(path: Path) -> None:
    path.write_text(path.read_text().replace("3.1e-16", "NaN"))


def deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def latin(path: Path) -> None:
    path.write_bytes(b'{"kind": "\xff"}')


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_what_is_written_is_read(folder: Path, parts: dict[str, Any]) -> None:
    sealed = [record.new(**parts) for _ in range(3)]
    for item in sealed:
        store.write(folder, item)
    records, damaged = store.read_all(folder)
    assert records == sorted(sealed, key=store.age)
    assert damaged == []


def test_no_folder_no_records(folder: Path) -> None:
    assert store.read_all(folder) == ([], [])


def test_an_invalid_record_is_not_written(folder: Path, parts: dict[str, Any]) -> None:
    sealed = record.new(**parts) | {"status": "failed"}
    with pytest.raises(InvalidRecord):
        store.write(folder, sealed)
    assert not folder.exists()


def test_a_record_is_written_once(folder: Path, parts: dict[str, Any]) -> None:
    sealed = record.new(**parts)
    store.write(folder, sealed)
    with pytest.raises(FileExistsError):
        store.write(folder, sealed)


def test_a_folder_that_cannot_be_written_is_the_users(tmp_path: Path, parts: dict[str, Any]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        store.write(tmp_path / "file" / "records", record.new(**parts))


def test_a_full_disk_leaves_nothing_half(
    folder: Path, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        store.write(folder, record.new(**parts))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "not whole JSON"),
        (empty, "not whole JSON"),
        (latin, "not whole JSON"),
        (deep, "not whole JSON"),
        (nan, "NaN is no JSON number"),
        (infinite, "finite"),
        (edit, "digest does not hold"),
        (retype, "row.seed"),
    ],
)
def test_damage_is_named_and_kept_aside(
    written: Path, folder: Path, parts: dict[str, Any], damage: Callable[[Path], None], reason: str
) -> None:
    good = record.new(**parts)
    store.write(folder, good)
    damage(written)
    content = written.read_bytes()

    records, damaged = store.read_all(folder)

    assert records == [good]
    (bad,) = damaged
    assert bad.file == written
    assert reason in bad.reason
    assert bad.kept == folder.parent / "quarantine" / written.name
    assert bad.kept.read_bytes() == content
    assert str(written) in str(bad)
    assert str(bad.kept) in str(bad)
    assert store.read_all(folder) == ([good], [])


@pytest.mark.parametrize(("number", "how"), [(0, "Measure the row again"), (2, "a later one")])
def test_another_schema_is_named_and_left(
    written: Path, folder: Path, parts: dict[str, Any], number: int, how: str
) -> None:
    good = record.new(**parts)
    store.write(folder, good)
    other = json.loads(written.read_text()) | {"schema": number}
    content = json.dumps(other | {"digest": record.digest(other)})
    written.write_text(content)

    records, damaged = store.read_all(folder)

    assert records == [good]
    (named,) = damaged
    assert how in named.reason
    assert str(named).endswith("left where it is")
    assert written.read_text() == content
    assert not (folder.parent / "quarantine").exists()
    with pytest.raises(UserError, match=f"{written.name}: schema: .*{how}"):
        store.read_all(folder, keep_aside=False)


def test_quarantine_overwrites_nothing(written: Path, folder: Path) -> None:
    for text in ("first", "second", "third"):
        written.write_text(text)
        store.read_all(folder)
    assert sorted(path.read_text() for path in (folder.parent / "quarantine").iterdir()) == [
        "first",
        "second",
        "third",
    ]


@pytest.mark.parametrize("damage", [truncate, edit])
def test_a_published_folder_is_left_as_it_is(
    written: Path, folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(written)
    stale = folder / ".left.tmp"
    stale.touch()
    os.utime(stale, (0, 0))
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=written.name):
        store.read_all(folder, keep_aside=False)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before


def test_a_writer_killed_before_the_rename_leaves_no_record(folder: Path, parts: dict[str, Any]) -> None:
    process = start(STOPPED, folder, parts)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopped\n"
    kill(process)
    (left,) = folder.iterdir()
    assert left.suffix == ".tmp"
    assert store.read_all(folder) == ([], [])
    assert left.exists(), "a young temporary file may still be written"
    old = time.time() - store.STALE_S - 1
    os.utime(left, (old, old))
    assert store.read_all(folder) == ([], [])
    assert not left.exists()


def test_killed_writers_lose_nothing_that_was_written(folder: Path, parts: dict[str, Any]) -> None:
    """Two at once, killed in mid-write; one goes on beside a reader."""
    writers = [start(WRITER, folder, parts) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    store.read_all(folder)
    ids = [identity for writer in writers for identity in kill(writer)]
    records, damaged = store.read_all(folder)
    assert damaged == []
    assert not (folder.parent / "quarantine").exists()
    assert set(ids) <= {item["id"] for item in records}
    assert len(records) >= 2


def test_a_file_another_reader_took_is_not_an_error(
    written: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate(written)
    replace = os.replace

    def late(source: Path, target: Path) -> None:
        Path(source).unlink()
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    assert store.read_all(folder) == ([], [])
    assert list((folder.parent / "quarantine").iterdir()) == []


def test_find_goes_by_key_alone(parts: dict[str, Any]) -> None:
    other = "f" * 64
    wanted = [record.new(**parts | {"key": other}) for _ in range(2)]
    failed: Record = record.new(**parts | {"key": other, "status": "failed", "reason": "level 1"})
    records = [record.new(**parts), *wanted, failed]
    assert store.find(records, other) == sorted([*wanted, failed], key=store.age)
    assert store.find(records, "e" * 64) == []
