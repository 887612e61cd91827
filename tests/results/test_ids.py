"""An id follows from content alone, and leads back to its records."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from results import ids, record, store
from results.errors import UserError
from results.record import Record

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(path for path in (ROOT / "results" / "published").iterdir() if path.is_dir())


def changed(sealed: Record, path: str, value: Any) -> Record:
    """The record with one field otherwise; ids do not ask for the seal."""
    found = copy.deepcopy(sealed)
    *way, last = path.split(".")
    target = found
    for step in way:
        target = target[step]
    target[last] = value
    return found


def test_an_id_stays_what_it_is(parts: dict[str, Any], bench_parts: dict[str, Any]) -> None:
    """Published ids stand in pages: what goes into one is not to change by chance."""
    assert ids.of(record.new(**parts), "parity") == "e8d8aa3319-parity"
    assert ids.of(record.new(**bench_parts), "train") == "64ebdd705c-train"


def test_a_repetition_has_the_same_id(bench_parts: dict[str, Any]) -> None:
    first = record.new(**bench_parts)
    bench_parts["body"]["pass"] = 3
    bench_parts["provenance"]["commit"] = "1" * 40
    assert ids.of(record.new(**bench_parts), "train") == ids.of(first, "train")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("row.seed", 1),
        ("row.cell", "gru"),
        ("fingerprint", "f" * 64),
        ("provenance.source", "f" * 64),
        ("provenance.lock", "none"),
        ("provenance.versions", {"python": "3.12.0"}),
        ("provenance.hardware_hash", "f" * 64),
        ("body.settings", {"threads": "2"}),
    ],
)
def test_another_number_has_another_id(bench_parts: dict[str, Any], path: str, value: Any) -> None:
    sealed = record.new(**bench_parts)
    assert ids.of(changed(sealed, path, value), "train") != ids.of(sealed, "train")


def test_what_was_measured_is_the_end_of_an_id(bench_parts: dict[str, Any]) -> None:
    sealed = record.new(**bench_parts)
    assert ids.of(sealed, "infer") == ids.of(sealed, "train").replace("train", "infer")
    assert ids.of_all(sealed) == [ids.of(sealed, "train")], "its blocks hold no inference"


def test_no_number_no_id(parts: dict[str, Any]) -> None:
    sealed = record.new(**parts)
    for what in ("train", "colour"):
        with pytest.raises(ValueError, match=what):
            ids.of(sealed, what)
    assert ids.of_all(changed(sealed, "kind", "quiet")) == []


def test_a_row_that_was_not_timed_has_the_ids_that_it_was_to_have(bench_parts: dict[str, Any]) -> None:
    untimed = bench_parts | {"status": "untimed", "reason": "parity failed", "body": {}}
    assert [name.partition("-")[2] for name in ids.of_all(record.new(**untimed))] == list(ids.TIMED)


@pytest.fixture
def held(parts: dict[str, Any], bench_parts: dict[str, Any]) -> list[Record]:
    """Two passes of a row, and a proof."""
    bench_parts["body"]["blocks"].append(bench_parts["body"]["blocks"][0] | {"what": "infer"})
    return [record.new(**bench_parts), record.new(**bench_parts), record.new(**parts)]


def test_find_leads_to_every_pass_whatever_the_order(held: list[Record]) -> None:
    name = ids.of(held[0], "train")
    passes = sorted(held[:2], key=store.age)
    assert ids.find(held, name) == ids.find(held[::-1], name) == passes
    assert ids.find([*held, *held], name) == passes, "a record in two folders is one"


def test_the_beginning_of_an_id_will_do(held: list[Record]) -> None:
    name = ids.of(held[2], "parity")
    assert ids.resolve(held, name[:6]) == (name, [held[2]])


def test_what_begins_several_ids_names_them(held: list[Record]) -> None:
    name = ids.of(held[0], "train")
    with pytest.raises(UserError, match="begins 2 ids") as caught:
        ids.find(held, name[:6])
    for what in ("train", "infer"):
        assert f"{name[:10]}-{what}  torch native, adding lstm" in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "zz", "../../etc", "-train"])
def test_an_unknown_id_is_a_mistake_of_the_user(held: list[Record], text: str) -> None:
    for records in (held, []):
        with pytest.raises(UserError, match="unknown id"):
            ids.find(records, text)


def test_the_nearest_id_is_named(held: list[Record]) -> None:
    name = ids.of(held[2], "parity")
    wrong = f"{name[:3]}{'0' if name[3] != '0' else '1'}{name[4:]}"
    with pytest.raises(UserError, match=f"Did you mean '{name}'"):
        ids.find(held, wrong)


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_no_two_published_numbers_share_an_id(folder: Path) -> None:
    records, _ = store.read_all(folder, keep_aside=False)
    numbers: dict[str, set[str]] = {}
    for item in records:
        origin = item["provenance"]
        same = [item["row"], item["fingerprint"], origin["source"], origin["lock"], origin["versions"]]
        for name in ids.of_all(item):
            numbers.setdefault(name, set()).add(record.canonical([*same, origin["hardware_hash"]]))
            assert item in ids.find(records, name)
    assert numbers
    assert {name for name, held in numbers.items() if len(held) > 1} == set()
