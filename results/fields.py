"""Every field of a record with its unit and meaning, as tables: ``python -m results.fields`` writes them
into ``results/README.md``, where the schema alone says what stands there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.errors import UserError
from results.record import SCHEMA

README = Path(__file__).parent / "README.md"
BLOCK = re.compile(r"(<!-- fields -->\n).*?(<!-- /fields -->)", re.DOTALL)
FORMS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}
BODY = "body"


@dataclass(frozen=True)
class Field:
    """One field: ``body.levels[].error``, what it is given in, what it means."""

    path: str
    unit: str  # of a number; else the form: text, true or false, SHA-256, list
    meaning: str


def main() -> int:
    """Write the tables; exit code 0, 2 where the page has no place for them."""
    try:
        text = README.read_text(encoding="utf-8")
        README.write_text(written(text, schema()), encoding="utf-8")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def schema() -> dict[str, Any]:
    """The schema of a record."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def written(text: str, held: Mapping[str, Any]) -> str:
    """The page with the tables of this schema. Raises UserError without marks to put them between."""
    if not BLOCK.search(text):
        raise UserError("results/README.md: expected <!-- fields --> and <!-- /fields -->, got none.")
    return BLOCK.sub(lambda marks: f"{marks[1]}{tables(held)}\n{marks[2]}", text)


def tables(held: Mapping[str, Any]) -> str:
    """A table of what every record has, and one of the body of each kind."""
    parts = ["### Every record", _table(common(held))]
    for kind in held["properties"]["kind"]["enum"]:
        node = held["$defs"][kind]
        about = f"\n\n{_cell(node['description'])}." if "description" in node else ""
        parts += [f"### The body of `{kind}`{about}", _table(of_kind(held, kind))]
    return "\n" + "\n\n".join(parts) + "\n"


def common(held: Mapping[str, Any]) -> list[Field]:
    """What every record has."""
    return list(_fields(held, held, ""))


def of_kind(held: Mapping[str, Any], kind: str) -> list[Field]:
    """What the body of this kind has."""
    return list(_fields(held, held["$defs"][kind], BODY))


def _fields(held: Mapping[str, Any], node: Mapping[str, Any], above: str) -> Iterator[Field]:
    """The fields of an object and of all that is in it, in the order of the schema."""
    for name, part in node.get("properties", {}).items():
        path = f"{above}.{name}" if above else name
        whole = _resolved(held, part)
        yield Field(path, str(part.get("unit") or _form(held, part)), str(whole.get("description", "")))
        while "items" in whole:
            path, whole = f"{path}[]", _resolved(held, whole["items"])
        yield from _fields(held, whole, path)


def _resolved(held: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """What a reference stands for, with what stands beside it."""
    if "$ref" not in node:
        return dict(node)
    return {**_resolved(held, held["$defs"][node["$ref"].rpartition("/")[2]]), **node}


def _form(held: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """What there is to see, of a field without a unit."""
    if part.get("$ref") == "#/$defs/sha256":
        return "SHA-256"
    node = _resolved(held, part)
    if "const" in node:
        return json.dumps(node["const"])
    if "enum" in node:
        return "one of: " + ", ".join(x if isinstance(x, str) else json.dumps(x) for x in node["enum"])
    if "items" in node:
        return f"list of {_form(held, node['items'])}"
    kinds = node.get("type", "object")
    return " or ".join(FORMS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _table(fields: list[Field]) -> str:
    lines = ["| field | unit or form | meaning |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{f.path}` | {_cell(f.unit)} | {_cell(f.meaning)} |" for f in fields])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
