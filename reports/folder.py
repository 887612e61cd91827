"""A report on disk: a folder that is written whole or not at all, and compared file by file."""

from __future__ import annotations

import difflib
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from results.errors import UserError

TEXTS = (".md", ".csv")  # differences are shown line by line; of the others only that they differ
OURS = {"README.md": (), "index.html": (), "parallel.html": (), "figures": (".svg",), "tables": (".csv",)}
FIRST_LINES = 200  # of a difference: a report made anew may differ in every line


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put these files in the place of the folder, which keeps its old content until all are written.

    Raises UserError where something stands there that is no report, or cannot be written.
    """
    folder = folder.resolve()
    mark = uuid.uuid4().hex
    new, old = (folder.with_name(f".{folder.name}.{mark}.{what}") for what in ("new", "old"))
    try:
        _restore(folder)
        _check_ours(folder)
        for name, content in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: expected a folder that can be written, got: {error.strerror}. Name another "
            "with --out."
        ) from error
    finally:
        with suppress(OSError):
            if not folder.exists() and old.exists():
                os.rename(old, folder)
        shutil.rmtree(new, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def differences(folder: Path, should: Mapping[str, bytes], label: str) -> list[str]:
    """A text for each file of the folder that is missing, too many, or not these bytes."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    found = []
    for name in sorted(there.keys() | should.keys()):
        if name not in there:
            found.append(f"{label}/{name}: expected {len(should[name])} bytes, got no such file.")
        elif name not in should:
            found.append(f"{label}/{name}: expected no such file, got one that no record gives.")
        else:
            found += difference(there[name].read_bytes(), should[name], f"{label}/{name}")
    return found


def difference(got: bytes, should: bytes, label: str) -> list[str]:
    """Line by line for texts; nothing where the bytes are equal."""
    if got == should:
        return []
    if not label.endswith(TEXTS):
        return [f"{label}: differs: expected {len(should)} bytes, got {len(got)} (or as many others)."]
    old, new = (part.decode("utf-8", "replace").splitlines(keepends=True) for part in (got, should))
    lines = list(difflib.unified_diff(old, new, label, f"{label} (from its records)", n=1))
    more = [f"... and {len(lines) - FIRST_LINES} more lines\n"] if len(lines) > FIRST_LINES else []
    shown = [*lines[:FIRST_LINES], *more]
    return ["".join(line if line.endswith("\n") else f"{line}\n" for line in shown)]


def _restore(folder: Path) -> None:
    """An old report that a killed run had moved aside, where it stood."""
    aside = sorted(folder.parent.glob(f".{folder.name}.*.old"))
    if aside and not folder.exists():
        os.rename(aside[0], folder)


def _check_ours(folder: Path) -> None:
    """What is replaced is deleted, so it must be a report, or empty."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder, or nothing, got a file. Name another with --out.")
    for path in sorted(folder.glob("*")):
        inside = list(path.iterdir()) if path.is_dir() and path.name in OURS else []
        strangers = [one for one in inside if one.suffix not in OURS[path.name]]
        if path.name not in OURS or strangers:
            raise UserError(
                f"{folder}: expected a report, an empty folder or nothing, for what is there is replaced, "
                f"got {(strangers or [path])[0].relative_to(folder)}. Name another with --out."
            )
