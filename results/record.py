"""One record: built, sealed with a digest, verified against ``record.schema.json``.

A record is plain JSON. Its digest is the SHA-256 of the canonical JSON (sorted
keys, no spaces, ASCII) of everything but the digest, so an edited number shows.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

Record = dict[str, Any]

SCHEMA = Path(__file__).parent / "record.schema.json"
VERSION = 1
SHOWN = 200  # characters of a schema message: the offending value may be a whole body


class InvalidRecord(ValueError):
    """Not a record: the text says which key, or that the digest does not hold."""


class OtherSchema(InvalidRecord):
    """A record of an older or a newer schema number: the text says which, and what to do."""


def new(
    kind: str,
    row: Mapping[str, Any],
    status: str,
    reason: str,
    spec: Mapping[str, Any],
    fingerprint: str,
    key: str,
    provenance: Mapping[str, Any],
    body: Mapping[str, Any],
) -> Record:
    """A whole record, with id, time and digest. Raises InvalidRecord.

    What is returned is what a reader will get: tuples have become lists.
    """
    parts = {
        "schema": VERSION,
        "kind": kind,
        "id": uuid.uuid4().hex,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "row": row,
        "status": status,
        "reason": reason,
        "spec": spec,
        "fingerprint": fingerprint,
        "key": key,
        "provenance": provenance,
        "body": body,
    }
    record: Record = json.loads(canonical(parts))
    record["digest"] = digest(record)
    return verify(record)


def canonical(value: object) -> str:
    """The one JSON text of a value. Raises InvalidRecord on NaN and infinity."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"expected finite numbers in a shallow tree, got: {error}") from None


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of everything but the digest."""
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def verify(value: object) -> Record:
    """The value itself, once it is known to be a record, unchanged since it was sealed.

    Raises InvalidRecord; OtherSchema where only the schema number is another.
    """
    _check_schema(value)
    error = best_match(_validator().iter_errors(value))
    if error is not None:
        key = ".".join(str(part) for part in error.absolute_path) or "(top level)"
        message = error.message if len(error.message) <= SHOWN else error.message[:SHOWN] + " ..."
        raise InvalidRecord(f"{key}: {message}")
    record = cast(Record, value)
    found = digest(record)
    if record["digest"] != found:
        raise InvalidRecord(f"the digest does not hold: expected {record['digest'][:12]}, got {found[:12]}")
    return record


def _check_schema(value: object) -> None:
    """Numbers of other schemas are refused before their fields are, which may mean something else there."""
    number = value.get("schema") if isinstance(value, Mapping) else None
    if type(number) is not int or number == VERSION:
        return
    if number > VERSION:
        how = "Read it with the checkout that wrote it, or a later one (git pull)"
    else:
        provenance = value.get("provenance") if isinstance(value, Mapping) else None
        commit = provenance.get("commit") if isinstance(provenance, Mapping) else None
        how = f"Measure the row again, or read it with the checkout of commit {commit or 'unknown'}"
    age = "newer" if number > VERSION else "older"
    raise OtherSchema(f"schema: expected {VERSION}, got {number}, which is {age}. {how}")


def number(value: float) -> float | str:
    """An error as JSON holds it: itself, or ``"nan"``, ``"inf"``, which a reader cannot overlook."""
    return float(value) if math.isfinite(value) else str(float(value))


def decoded(encoded: float | str) -> float:
    """What :func:`number` wrote, as a float again."""
    return float(encoded)


@functools.cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
