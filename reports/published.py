"""Published reports: their records are committed, and each page must follow from them to the byte."""

from __future__ import annotations

import difflib
import os
import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reports import headline
from reports.report import render, used
from results import store
from results.errors import UserError
from results.record import Record

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


def publish(records: Iterable[Record], name: str, root: Path) -> Path:
    """Copy the records that a report rests on and write the page that follows from the copies.

    Raises UserError on a bad name, and where the name is taken: what was published stays.
    """
    if not NAME.match(name):
        raise UserError(
            f"--publish {name!r}: expected a name of small letters, digits, '.', '-' and '_' "
            "that begins with a letter or digit, as in 2026-11-laptop."
        )
    folder, page = _folder(root, name), _page(root, name)
    for taken in (folder, page):
        if taken.exists():
            raise UserError(f"--publish {name}: {taken.relative_to(root)} exists. Choose another name.")
    for record in used(records):
        store.write(folder, record)
    write(page, _render(folder, name))
    readme = root / "README.md"
    if readme.is_file() and headline.BLOCK.search(text := readme.read_text(encoding="utf-8")):
        write(readme, headline.replaced(text, name, _records(folder)))
    return page


def differences(root: Path) -> tuple[int, list[str]]:
    """How many published reports there are, and a text for each that does not follow from its records."""
    folders = {path.name for path in (root / "results" / "published").glob("*") if path.is_dir()}
    pages = {path.name.removesuffix(".md") for path in (root / "reports" / "published").glob("*.md")}
    found = []
    for name in sorted(folders | pages):
        page = _page(root, name).relative_to(root)
        folder = _folder(root, name).relative_to(root)
        if name not in pages:
            found.append(f"{page}: expected the report of the records in {folder}, got no such file.")
        elif name not in folders:
            found.append(f"{page}: expected its records in {folder}, got no such folder.")
        else:
            found += _difference(_page(root, name), _render(_folder(root, name), name), root)
    return len(folders | pages), found + _readme(root, folders)


def _readme(root: Path, folders: set[str]) -> list[str]:
    """What differs between README's table and the report that it names."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    name = headline.named(text)
    if name is None:
        return []
    if name not in folders:
        return [f"README.md: expected the records of {name} in results/published, got no such folder."]
    return _difference(readme, headline.replaced(text, name, _records(_folder(root, name))), root)


def write(path: Path, text: str) -> None:
    """The page, whole or not at all, with the same bytes on every system."""
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


def _difference(page: Path, should: str, root: Path) -> list[str]:
    is_bytes = page.read_bytes()
    if is_bytes == should.encode():
        return []
    label = str(page.relative_to(root))
    diff = difflib.unified_diff(
        is_bytes.decode("utf-8", "replace").splitlines(keepends=True),
        should.splitlines(keepends=True),
        label,
        f"{label} (from its records)",
    )
    return ["".join(line if line.endswith("\n") else f"{line}\n" for line in diff)]


def _render(folder: Path, name: str) -> str:
    return render(_records(folder), name=name)


def _records(folder: Path) -> list[Record]:
    records, _ = store.read_all(folder, keep_aside=False)
    if not records:
        raise UserError(f"{folder}: expected the records of a published report, got none.")
    return records


def _folder(root: Path, name: str) -> Path:
    return root / "results" / "published" / name


def _page(root: Path, name: str) -> Path:
    return root / "reports" / "published" / f"{name}.md"
