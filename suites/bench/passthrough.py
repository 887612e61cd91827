"""pytest-benchmark's own options, handed on to the sample groups.

A group is one process: one row in one pass. Files of different groups must not meet, and a
comparison must be with the same group, so each has a storage of its own within the one that was
named, and what ``--benchmark-json`` gives is put together into one file. The names in it
carry row and pass, so that the file can also be compared with, as a whole.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_benchmark import plugin

from results.errors import UserError
from suites.selection import Row

PREFIX = "benchmark_"
SILENT = ("benchmark_disable", "benchmark_skip")  # with them nothing is measured
STORAGE = ".benchmarks"  # pytest-benchmark's own default
NAMED = ("benchmark_histogram", "benchmark_cprofile_dump")  # prefixes of file names

Given = dict[str, Any]  # by destination; True: the flag alone


class _Options:
    """Takes the declarations of pytest-benchmark's plug-in for an argparse parser: what was not given
    has no value, and what was is checked but stays the text that it is, to be handed on."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser

    def getgroup(self, _: str) -> _Options:
        """pytest's way to a group of options."""
        return self

    def addoption(self, flag: str, **kept: Any) -> None:
        """pytest's ``addoption``."""
        kept |= {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
        if "const" in kept:
            kept["const"] = True
        if kept.get("nargs") == "+":
            kept["action"] = "extend"
        if "type" in kept:
            kept["type"] = _checked(kept["type"])
        self.parser.add_argument(flag, **kept)


def _checked(convert: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        convert(text)
        return text

    return check


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare every option of the pytest-benchmark that is installed here."""
    declare: Callable[[object], None] = plugin.pytest_addoption  # it has no types
    declare(_Options(parser))


def given(options: argparse.Namespace) -> Given:
    """Those that were given, files and folders absolute: the groups run elsewhere. Raises UserError."""
    found = {name: value for name, value in vars(options).items() if name.startswith(PREFIX)}
    for name in SILENT:
        if name in found:
            raise UserError(f"{_flag(name)}: expected a measurement, got an option that makes none.")
    if "benchmark_compare_fail" in found and "benchmark_compare" not in found:
        raise UserError("--benchmark-compare-fail: expected --benchmark-compare beside it, got none.")
    storage = str(found.get("benchmark_storage", STORAGE)).removeprefix("file://")
    if "://" in storage:
        raise UserError(
            f"--benchmark-storage {storage}: expected a folder: each row has one of its own in it."
        )
    if found:
        found["benchmark_storage"] = Path(storage).absolute()
    if "benchmark_json" in found:
        found["benchmark_json"] = _target(Path(found["benchmark_json"]))
    compared = found.get("benchmark_compare")
    if isinstance(compared, str) and Path(compared).is_file():
        found["benchmark_compare"] = str(Path(compared).absolute())
    return found


def _target(path: Path) -> Path:
    """Where the JSON goes. Raises UserError before anything is measured in vain."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"--benchmark-json {path}: expected a file in a folder that exists.")
    return path.absolute()


def of_group(found: Given, row: Row, number: int, parts: Path) -> list[str]:
    """The options of one sample group, which writes its JSON into ``parts`` where one was asked for."""
    if not found:
        return []
    own = dict(found)
    folder = Path(_slug(row), f"pass-{number + 1}")
    flat = "-".join(folder.parts)
    own["benchmark_storage"] = str(own["benchmark_storage"] / folder)
    if "benchmark_json" in own:
        own["benchmark_json"] = str(parts / f"{flat}.json")
    for name in NAMED:
        if name in own:
            first = "benchmark" if own[name][0] is True else own[name][0]  # the only one that is looked at
            own[name] = f"{Path(first).absolute()}-{flat}"
    return [text for name, value in own.items() for text in _texts(_flag(name), value)]


def _texts(flag: str, value: object) -> list[str]:
    """As it may be typed."""
    if value is True or value is None:
        return [flag]
    return [flag, *value] if isinstance(value, list) else [f"{flag}={value}"]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _slug(row: Row) -> str:
    """A folder's name: to be read, and no two rows with the same."""
    text = json.dumps(row.record(), sort_keys=True)
    readable = re.sub(r"[^A-Za-z0-9=]+", "-", str(row)).strip("-")
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def merge(parts: Path, target: Path) -> None:
    """One file of those that the groups wrote, whole or not at all; none where they wrote none.

    Machine and commit are those of the first. Raises UserError where it cannot be written.
    """
    pages = [json.loads(part.read_text(encoding="utf-8")) for part in sorted(parts.glob("*.json"))]
    if not pages:
        return
    whole = pages[0] | {"benchmarks": [item for page in pages for item in page["benchmarks"]]}
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(whole, indent=4) + "\n", encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"--benchmark-json {target}: could not be written: {error.strerror}.") from error
    print(f"pytest-benchmark's JSON of {len(pages)} group(s): {target}", flush=True)
