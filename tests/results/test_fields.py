"""The page documents every field of the schema, and no other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from results import fields, record, store
from results.errors import UserError
from results.record import Record

ROOT = Path(__file__).parents[2]
SEEDS = [ROOT / "results" / name for name in ("calibration", "validation")]
FOLDERS = [*sorted((ROOT / "results" / "published").glob("*/")), *SEEDS]
NUMBERS = {"whole number", "number"}
COUNTS = {"schema", "row.seed", "body.pass"} | {  # numbers that tell which, and measure nothing
    f"body.{name}"
    for name in (
        "levels[].level",
        "seeds[].level",
        "seeds[].seed",
        "levels[].worst.seed",
        "top",
        "blocks[].block",
    )
}


def every(held: dict[str, Any]) -> list[fields.Field]:
    kinds = held["properties"]["kind"]["enum"]
    return [*fields.common(held), *(field for kind in kinds for field in fields.of_kind(held, kind))]


def undocumented(value: Any, known: dict[str, str], path: str = "") -> set[str]:
    """The paths in a record that no field stands for; what is in an object of free names is not asked."""
    if isinstance(value, list):
        return {found for item in value for found in undocumented(item, known, f"{path}[]")}
    if not isinstance(value, dict):
        return set()
    if path and not any(name.startswith(f"{path}.") for name in known):
        return set()  # an object of names of its own choice: settings, path, versions
    found = set()
    for name, item in value.items():
        inner = f"{path}.{name}" if path else name
        found |= undocumented(item, known, inner) if inner in known else {inner}
    return found


def missing(sealed: Record) -> set[str]:
    held = fields.schema()
    names = [*fields.common(held), *fields.of_kind(held, sealed["kind"])]
    return undocumented(sealed, {field.path: field.meaning for field in names})


def test_the_page_is_what_the_schema_says() -> None:
    text = fields.README.read_text(encoding="utf-8")
    assert text == fields.written(text, fields.schema()), "write it: python -m results.fields"


@pytest.mark.parametrize("change", ["a new field", "a field that is gone", "another meaning"])
def test_a_page_that_says_otherwise_is_seen(change: str) -> None:
    held = copy.deepcopy(fields.schema())
    memory = held["$defs"]["memory"]["properties"]
    if change == "a new field":
        memory["swap_bytes"] = {"description": "swapped out", "unit": "bytes", "type": "integer"}
    elif change == "a field that is gone":
        del memory["steps"]
    else:
        memory["steps"]["description"] = "inference steps"
    text = fields.README.read_text(encoding="utf-8")
    assert text != fields.written(text, held)


def test_every_field_has_a_meaning_and_every_number_a_unit() -> None:
    found = every(fields.schema())
    assert [field.path for field in found if not field.meaning] == []
    bare = {field.path for field in found if set(field.unit.split(" or ")) & NUMBERS}
    assert bare - COUNTS == set()


def test_a_page_without_a_place_for_them_is_the_users() -> None:
    with pytest.raises(UserError, match="<!-- fields -->"):
        fields.written("# results", fields.schema())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_committed_record_is_valid_and_every_field_of_it_documented(folder: Path) -> None:
    records, _ = store.read_all(folder, keep_aside=False)
    assert records
    assert set().union(*map(missing, records)) == set()


def test_a_field_that_nobody_documents_is_seen(bench_parts: dict[str, Any]) -> None:
    assert missing(record.new(**bench_parts)) == {"spec.betas"}  # of conftest.py's own invention
    bench_parts["body"]["table"] = 3
    bench_parts["body"]["settings"]["anything"] = "goes"
    assert missing(record.new(**bench_parts)) == {"spec.betas", "body.table"}
