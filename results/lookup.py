"""From an id, as it stands in a report, to its records, and the file of each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from results import ids, store
from results.errors import UserError, unknown
from results.record import Record

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Found:
    """An id with its records, oldest first, and the file of each."""

    id: str
    records: list[Record]
    files: list[Path]

    @property
    def what(self) -> str:
        """What it is the number of: a key of ids.KINDS."""
        return self.id.rpartition("-")[2]

    @property
    def newest(self) -> Record:
        """The last measurement that came to a number; where none did, the last."""
        numbered = [
            record for record in self.records if record["status"] not in ("error", "timeout", "untimed")
        ]
        return (numbered or self.records)[-1]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The id, and where to look for it."""
    parser.add_argument("id", metavar="ID", help="id of a number, or the beginning of one")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--records", metavar="DIR", type=Path,
                        help="folder of records (default: results/records and all published)")  # fmt: skip
    either.add_argument("--published", metavar="NAME", help="records of this published report")


def look_up(options: argparse.Namespace, root: Path = ROOT) -> Found:
    """What the options name. Raises UserError."""
    held = _read(_folders(options, root), root)
    if not held:
        raise UserError(
            "expected records, got none in results/records or results/published. Measure first "
            "(`nox -s compare`), or name a folder of records with --records."
        )
    name, records = ids.resolve([record for record, _ in held.values()], options.id)
    return Found(name, records, [held[record["id"]][1] for record in records])


def _folders(options: argparse.Namespace, root: Path) -> list[Path]:
    published = root / "results" / "published"
    if options.published:
        names = [path.name for path in published.glob("*") if path.is_dir()]
        if options.published not in names:
            raise unknown("published report", options.published, names)
        return [published / options.published]
    if options.records:
        if not options.records.is_dir():
            raise UserError(f"--records {options.records}: expected a folder of records, got none.")
        return [options.records]
    return [root / "results" / "records", *sorted(path for path in published.glob("*") if path.is_dir())]


def _read(folders: Iterable[Path], root: Path) -> dict[str, tuple[Record, Path]]:
    """Each record once, with the first file that holds it; damaged ones are named on stderr."""
    held: dict[str, tuple[Record, Path]] = {}
    committed = (root / "results" / "published").resolve()
    for folder in folders:
        records, damaged = store.read_all(folder, keep_aside=not folder.resolve().is_relative_to(committed))
        for item in damaged:
            print(f"damaged: {item}", file=sys.stderr)
        for record in records:
            held.setdefault(record["id"], (record, store.location(folder, record)))
    return held
