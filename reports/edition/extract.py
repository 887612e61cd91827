"""The functions of the edition, cut out of the sources as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reports.edition.contents import CONTENTS, FRAMEWORKS, TOLD_BY, Entry, Place
from reports.edition.equations import docstring
from results.errors import UserError, unknown
from results.provenance import source_hash

SCHEMA = 1


def extract(root: Path) -> dict[str, Any]:
    """Every function of the table of contents, from the sources under ``root`` (the checkout).

    JSON, the same for the same sources: ``sources`` holds the source hash of each framework, as
    records have it in their provenance; ``pieces`` a list for each entry and framework of
    {"name", "file", "first", "last", "text", "above"}, lines counted from 1, ``above`` the comment over
    it. Nothing is imported. Raises UserError for a function, or a file, that is not there.
    """
    pieces: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for section in CONTENTS:
        for entry in section.entries:
            pieces[entry.anchor] = found = {
                framework: [_piece(root, framework, place) for place in places]
                for framework, places in _places(entry).items()
            }
            _check_quotes(entry, found[TOLD_BY][0])
    return {
        "schema": SCHEMA,
        "sources": {framework: source_hash(root / "impls" / framework) for framework in FRAMEWORKS},
        "pieces": pieces,
    }


def _places(entry: Entry) -> dict[str, tuple[Place, ...]]:
    """Those of the entry; what NumPy does by hand comes last under a name of its own."""
    by_hand = {"by hand": (entry.by_hand,)} if entry.by_hand else {}
    return {**entry.places, **by_hand}


def _check_quotes(entry: Entry, piece: dict[str, Any]) -> None:
    """A formula of the page stands in the source, or the page would say what the code does not."""
    missing = [quote for quote in entry.quotes if quote not in " ".join(docstring(piece["text"]))]
    if missing:
        raise UserError(
            f"{piece['file']}: expected the formula {missing[0]!r} in the docstring of {piece['name']}, got "
            "none. Write it there, or change reports/edition/contents.py."
        )


def _piece(root: Path, framework: str, place: Place) -> dict[str, Any]:
    file, name = place
    path = f"impls/{'numpy' if framework == 'by hand' else framework}/{file}"
    text = _read(root / path, path)
    found = dict(_definitions(ast.parse(text).body))
    if name not in found:
        raise UserError(
            f"{path}: expected {name} for the parallel edition, got: {unknown('function', name, found)} "
            "Every framework has the same names: rename it back, or change reports/edition/contents.py."
        )
    first, last = found[name]
    lines = text.splitlines()
    return {
        "name": name,
        "file": path,
        "first": first,
        "last": last,
        "text": "\n".join(lines[first - 1 : last]),
        "above": _above(lines[: first - 1]),
    }


def _read(path: Path, label: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{label}: expected a source file of the parallel edition, got: {error.strerror}. "
            "Run from a whole checkout."
        ) from error


def _definitions(body: list[ast.stmt], before: str = "") -> Iterator[tuple[str, tuple[int, int]]]:
    """Qualified names of functions, classes and constants, with their first and last line."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield before + node.name, (first, node.end_lineno or first)
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{before}{node.name}.")
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield before + node.targets[0].id, (node.lineno, node.end_lineno or node.lineno)


def _above(lines: list[str]) -> str:
    """The comment that stands over a definition, without its marks and with single blanks."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    found: list[str] = []
    while lines and lines[-1].startswith("#"):
        found.insert(0, lines[-1].lstrip("#- "))
        lines = lines[:-1]
    return " ".join(" ".join(found).split())
