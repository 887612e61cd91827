"""Published reports: their records are committed, and each folder must follow from them to the byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reports import ages, folder, headline
from reports.report import Report
from results import store
from results.errors import UserError
from results.record import Record

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
INDEX = Path("reports", "published", "README.md")
SOURCES = Path("edition") / "sources.json"  # what the parallel edition shows, beside the records


def publish(records: Iterable[Record], name: str, root: Path, sources: Mapping[str, Any]) -> Path:
    """Copy what a report rests on, records and ``sources``, and write the report that follows from it.

    Raises UserError on a bad name, and where the name is taken: what was published stays.
    """
    if not NAME.match(name):
        raise UserError(
            f"--publish {name!r}: expected a name of small letters, digits, '.', '-' and '_' "
            "that begins with a letter or digit, as in 2026-11-laptop."
        )
    kept, pages = _records_of(root, name), _pages_of(root, name)
    for taken in (kept, pages):
        if taken.exists():
            raise UserError(f"--publish {name}: {taken.relative_to(root)} exists. Choose another name.")
    used = Report(list(records)).used
    files = Report(used, name=name, sources=sources).files()
    _keep(kept, used, sources)
    folder.write(pages, files)
    write(root / INDEX, ages.index(root))
    readme = root / "README.md"
    if readme.is_file() and headline.BLOCK.search(text := readme.read_text(encoding="utf-8")):
        write(readme, headline.replaced(text, name, used))
    return pages


def differences(root: Path) -> tuple[int, list[str]]:
    """How many published reports there are, and a text for each file that the records do not give."""
    kept = _folders(root / "results" / "published")
    pages = _folders(root / "reports" / "published")
    found = []
    for name in sorted(kept | pages):
        label = _pages_of(root, name).relative_to(root).as_posix()
        behind = _records_of(root, name).relative_to(root).as_posix()
        if name not in pages:
            found.append(f"{label}: expected the report of the records in {behind}, got no such folder.")
        elif name not in kept:
            found.append(f"{label}: expected its records in {behind}, got no such folder.")
        else:
            place = _records_of(root, name)
            should = Report(_records(place), name=name, sources=_sources(place)).files()
            found += folder.differences(_pages_of(root, name), should, label)
    return len(kept | pages), found + _index(root, kept) + _readme(root, kept)


def renew(root: Path) -> list[Path]:
    """Write every published report anew from its records, after a change of how reports are made."""
    found = []
    for name in sorted(_folders(root / "results" / "published")):
        place = _records_of(root, name)
        folder.write(
            _pages_of(root, name), Report(_records(place), name=name, sources=_sources(place)).files()
        )
        found.append(_pages_of(root, name))
    write(root / INDEX, ages.index(root))
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    name_shown = headline.named(text)
    if name_shown is not None:
        write(readme, headline.replaced(text, name_shown, _records(_records_of(root, name_shown))))
    return found


def write(path: Path, text: str) -> None:
    """One file, whole or not at all, with the same bytes on every system."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text.encode())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):  # it may be the folder that is none
            temporary.unlink()
        raise UserError(
            f"{path}: expected a file that can be written, got: {error.strerror}. Name another with --out."
        ) from error


def _keep(place: Path, records: Sequence[Record], sources: Mapping[str, Any]) -> None:
    """All of them, or no folder."""
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.new")
    try:
        for record in records:
            store.write(temporary, record)
        write(temporary / SOURCES, json.dumps(sources, indent=1, sort_keys=True) + "\n")
        os.rename(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _index(root: Path, kept: set[str]) -> list[str]:
    """What differs between the index and what records and locks give; a lock that moved is a difference."""
    there = (root / INDEX).read_bytes() if (root / INDEX).is_file() else b""
    if not kept and not there:
        return []
    return folder.difference(there, ages.index(root).encode(), INDEX.as_posix())


def _readme(root: Path, kept: set[str]) -> list[str]:
    """What differs between README's table and the report that it names."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    name = headline.named(text)
    if name is None:
        return []
    if name not in kept:
        return [f"README.md: expected the records of {name} in results/published, got no such folder."]
    should = headline.replaced(text, name, _records(_records_of(root, name)))
    return folder.difference(readme.read_bytes(), should.encode(), "README.md")


def _records(place: Path) -> list[Record]:
    records, _ = store.read_all(place, keep_aside=False)
    if not records:
        raise UserError(f"{place}: expected the records of a published report, got none.")
    return records


def _sources(place: Path) -> dict[str, Any]:
    """The parallel edition as it was. Raises UserError where it is not there, or not whole."""
    try:
        found: dict[str, Any] = json.loads((place / SOURCES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{place / SOURCES}: expected the sources of the parallel edition, got: {error}. Take them from "
            "version control, or publish the records anew under another name."
        ) from error
    return found


def _folders(place: Path) -> set[str]:
    """Those of reports: a name that begins with a dot is none."""
    return {path.name for path in place.glob("*") if path.is_dir() and not path.name.startswith(".")}


def _records_of(root: Path, name: str) -> Path:
    return root / "results" / "published" / name


def _pages_of(root: Path, name: str) -> Path:
    return root / "reports" / "published" / name
