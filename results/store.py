"""An append-only folder of records, one JSON file each.

A file is written whole or not at all, so a killed writer leaves at worst a
temporary file that no reader takes for a record. What is damaged all the same
(cut short, edited) is moved to ``quarantine/`` beside the folder and handed to
the caller, who must name it to the user.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from results.errors import UserError
from results.record import InvalidRecord, OtherSchema, Record, verify

STALE_S = 24 * 3600.0  # no writer holds a temporary file open for a day


@dataclass(frozen=True)
class Damaged:
    """A file that is no record: what it was called, what is wrong, where it is kept now."""

    file: Path
    reason: str
    kept: Path

    def __str__(self) -> str:
        where = "left where it is" if self.kept == self.file else f"kept aside as {self.kept}"
        return f"{self.file}: {self.reason}; {where}"


def write(folder: Path, record: Record) -> Path:
    """Add the record to the folder, whole and on disk once this returns.

    Raises InvalidRecord, and UserError where the folder cannot be written.
    """
    verify(record)
    target = location(folder, record)
    if target.exists():
        raise FileExistsError(f"{target}: a record is written once")
    text = json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n"
    temporary = folder / f".{target.stem}.{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_synced(temporary, text)
        os.replace(temporary, target)
        _sync_folder(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: expected a folder that records can be written to, got: {error.strerror}. "
            "Free space, mend its permissions, or name another."
        ) from error
    return target


def read_all(folder: Path, keep_aside: bool = True) -> tuple[list[Record], list[Damaged]]:
    """Every record of the folder, oldest first, and every damaged file.

    Damaged files are moved to ``quarantine/`` beside the folder; one of another schema number, which is
    whole, is named and left. With ``keep_aside=False`` the folder is not touched, and such files raise
    UserError. A folder that does not exist holds no records.
    """
    records: list[Record] = []
    damaged: list[Damaged] = []
    for path in sorted(path for path in folder.glob("*.json") if path.is_file()):
        try:
            records.append(_read(path))
        except FileNotFoundError:
            continue  # another reader has kept it aside, and names it
        except OtherSchema as error:
            if not keep_aside:
                raise UserError(f"{path}: {error}.") from None
            damaged.append(Damaged(path, str(error), path))
        except InvalidRecord as error:
            if not keep_aside:
                raise UserError(
                    f"{path}: expected a whole, unedited record, got: {error}. "
                    "Restore the file from version control, or remove it."
                ) from None
            kept = _keep_aside(path)
            if kept is not None:
                damaged.append(Damaged(path, str(error), kept))
    if keep_aside:
        _clean(folder)
    return sorted(records, key=age), damaged


def location(folder: Path, record: Record) -> Path:
    """The file that :func:`write` gives a record. It keeps files apart; nothing is read from its name."""
    return folder / f"{record['kind']}-{record['id']}.json"


def find(records: Iterable[Record], key: str) -> list[Record]:
    """The records with this cache key, whatever their status, oldest first."""
    return sorted((record for record in records if record["key"] == key), key=age)


def age(record: Record) -> tuple[str, str]:
    """Sorts oldest first; the id decides between records of one second."""
    return record["created"], record["id"]


def _write_synced(path: Path, text: str) -> None:
    """A new file with this text, on disk; none at all where that fails."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable. Windows cannot open a folder for that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Record:
    try:
        text = path.read_bytes().decode("utf-8")
        value = json.loads(text, parse_constant=_refuse)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: expected a file that can be read, got: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"not whole JSON: {error}") from None
    return verify(value)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _keep_aside(path: Path) -> Path | None:
    """Move a damaged file out of the way, under a name that no other file there has.

    None where another reader was first.
    """
    quarantine = path.parent.parent / "quarantine"
    try:
        quarantine.mkdir(exist_ok=True)
        target = _reserve(quarantine, path)
        try:
            os.replace(path, target)
        except FileNotFoundError:
            target.unlink()
            return None
    except OSError as error:
        raise UserError(
            f"{path}: damaged, and could not be moved to {quarantine}: {error.strerror}. Move it by hand."
        ) from error
    return target


def _reserve(quarantine: Path, path: Path) -> Path:
    """Create an empty file of a free name, so that two readers cannot choose the same."""
    count = 0
    while True:
        name = path.name if count == 0 else f"{path.stem}.{count}{path.suffix}"
        try:
            (quarantine / name).touch(exist_ok=False)
        except FileExistsError:
            count += 1
        else:
            return quarantine / name


def _clean(folder: Path) -> None:
    """Remove what killed writers left, once no writer can still be at it."""
    limit = time.time() - STALE_S
    for path in folder.glob(".*.tmp"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except FileNotFoundError:
            continue  # its writer has just finished, or another reader was first
