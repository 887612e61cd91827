"""A record is valid, sealed, finite JSON, or it is no record."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from results import record
from results.record import InvalidRecord

Parts = dict[str, Any]


def put(parts: Parts, path: str, value: Any) -> Parts:
    """Set ``parts[a][b][0]`` by "a.b.0"."""
    *way, last = path.split(".")
    target: Any = parts
    for step in way:
        target = target[int(step)] if isinstance(target, list) else target[step]
    target[last] = value
    return parts


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(record.SCHEMA.read_text(encoding="utf-8")))


def test_new_fills_in_identity_and_seals(parts: Parts) -> None:
    first, second = record.new(**parts), record.new(**parts)
    assert first["schema"] == 1
    assert len(first["id"]) == 32
    assert first["id"] != second["id"]
    assert first["digest"] == record.digest(first) != second["digest"]
    assert record.verify(first) is first


def test_new_returns_what_a_reader_gets(parts: Parts) -> None:
    sealed = record.new(**parts)
    assert sealed == json.loads(json.dumps(sealed))
    assert sealed["spec"]["betas"] == [0.9, 0.999]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("kind", "party", "(kind|status)"),
        ("status", "ok", "status"),
        ("fingerprint", "0123", "fingerprint"),
        ("key", "0" * 64 + "\n", "key"),
        ("row.seed", "0", "row.seed"),
        ("row.colour", "red", "row"),
        ("spec", {}, "spec"),
        ("provenance.commit", "main", "provenance.commit"),
        ("provenance.dirty", "no", "provenance.dirty"),
        ("provenance.hardware.cores", 0, "provenance.hardware.cores"),
        ("body.levels", [], "body.levels"),
        ("body.digest", "none", "body.digest"),
        ("body.levels.0.status", "failed", "body.levels.0.status"),
        ("body.levels.0.error", "nan", "body.levels.0.error"),
        ("body.levels.0.level", 8, "body.levels.0.level"),
        ("body.levels.0.error", -1.0, "body.levels.0.error"),
        ("body.levels.0.error", "small", "body.levels.0.error"),
        ("body.levels.0.tolerance", "inf", "body.levels.0.tolerance"),
    ],
)
def test_parity_schema_refuses(parts: Parts, path: str, value: Any, named: str) -> None:
    with pytest.raises(InvalidRecord, match=rf"^{named}: "):
        record.new(**put(parts, path, value))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("status", "passed", "status"),
        ("body.pass", -1, "body.pass"),
        ("body.blocks", [], "body.blocks"),
        ("body.blocks.0.what", "transfer", "body.blocks.0.what"),
        ("body.blocks.0.what", "decode", "body"),  # without the tokens that it chooses
        ("body.blocks.0.seconds", [], "body.blocks.0.seconds"),
        ("body.blocks.0.seconds", [0.0], "body.blocks.0.seconds.0"),
        ("body.phases.build_s", -0.1, "body.phases.build_s"),
        ("body.phases", {"import_s": 1.0}, "body.phases"),
        ("body.tokens_per_step", 0, "body.tokens_per_step"),
        ("body.tokens_per_decode", 0, "body.tokens_per_decode"),
        (
            "body.bounds",
            {"train": {"by": "hope", "bytes": 1, "seconds": {"products": 1.0, "bytes": 2.0}}},
            "body.bounds.train.by",
        ),
        ("body.bounds", {"train": {"by": "bytes"}}, "body.bounds.train"),
        (
            "body.bounds",
            {"train": {"by": "bytes", "bytes": 1, "seconds": {"bytes": 1.0}}},
            "body.bounds.train.seconds",
        ),
        ("body.kernels", {"train": [""]}, "body.kernels.train.0"),
    ],
)
def test_bench_schema_refuses(bench_parts: Parts, path: str, value: Any, named: str) -> None:
    record.new(**bench_parts)
    with pytest.raises(InvalidRecord, match=rf"^{named}: "):
        record.new(**put(bench_parts, path, value))


def test_a_timed_decoding_says_how_many_tokens_it_chooses(bench_parts: Parts) -> None:
    bench_parts["body"] |= {"tokens_per_step": 38.25, "tokens_per_decode": 24}  # a mean of ragged batches
    bench_parts["body"]["blocks"][0]["what"] = "decode"
    assert record.new(**bench_parts)["body"]["tokens_per_decode"] == 24


def test_a_group_on_a_gpu_says_what_bounds_it_and_what_ran(bench_parts: Parts) -> None:
    bound = {"by": "bytes", "bytes": 12, "seconds": {"products": 1e-6, "bytes": 2e-6}}
    told = {"bounds": {"train": bound}, "kernels": {"train": ["gemm", "lstm"]}}
    bench_parts["body"] |= told
    body = record.new(**bench_parts)["body"]
    assert {name: body[name] for name in told} == told


def test_what_is_neither_passed_nor_ok_needs_a_reason(bench_parts: Parts) -> None:
    bench_parts |= {"status": "timeout", "body": {}}
    with pytest.raises(InvalidRecord, match=r"^reason: "):
        record.new(**bench_parts)
    assert record.new(**bench_parts | {"reason": "no answer for 600 s"})["status"] == "timeout"


def test_memory_needs_its_numbers(parts: Parts) -> None:
    body = {"baseline_bytes": 10, "peak_bytes": 20, "steps": 3, "device_peak": {}, "settings": {}}
    parts |= {"kind": "memory", "status": "ok", "body": body}
    record.new(**parts)
    del body["peak_bytes"]
    with pytest.raises(InvalidRecord, match="peak_bytes"):
        record.new(**parts)


@pytest.fixture
def training_parts(parts: Parts) -> Parts:
    """What ``record.new`` takes, for a row that was trained to its end."""
    points = [(0, None, 2.5, 0.0), (20, 1.5, 1.25, 0.5)]
    body = {
        "metric": "nats",
        "optimum": None,
        "baseline": 2.55,
        "curve": [{"step": n, "loss": a, "held_out": b, "seconds": c} for n, a, b, c in points],
        "final": {"nats": 1.25, "perplexity": 3.49},
        "predictions": 100,
        "seconds": 0.5,
        "evaluation_seconds": 0.1,
        "path": {"kernel": "scan"},
        "settings": {"threads": "1"},
    }
    return parts | {"kind": "training", "status": "ok", "body": body}


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("status", "passed", "status"),
        ("body.metric", "", "body.metric"),
        ("body.optimum", "nan", "body.optimum"),
        ("body.curve", [], "body.curve"),
        ("body.curve.1.step", -1, "body.curve.1.step"),
        ("body.curve.1.held_out", None, "body.curve.1.held_out"),
        ("body.curve.1.colour", "red", "body.curve.1"),
        ("body.final", {}, "body.final"),
        ("body.final.nats", "inf", "body.final.nats"),
        ("body.seconds", -1, "body.seconds"),
        ("body", {}, "body"),
    ],
)
def test_training_schema_refuses(training_parts: Parts, path: str, value: Any, named: str) -> None:
    record.new(**training_parts)
    with pytest.raises(InvalidRecord, match=rf"^{named}: "):
        record.new(**put(training_parts, path, value))


def test_a_training_that_ended_early_keeps_what_it_has(training_parts: Parts) -> None:
    del training_parts["body"]["curve"][1]
    training_parts["body"]["final"] = {}
    failed = training_parts | {"status": "error", "reason": "training diverged"}
    assert len(record.new(**failed)["body"]["curve"]) == 1
    with pytest.raises(InvalidRecord, match=r"^body"):
        record.new(**training_parts)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("path", ["body.levels.0.error", "spec.batch", "provenance.clock.load"])
def test_a_number_that_is_not_finite_is_refused_everywhere(parts: Parts, path: str, value: float) -> None:
    with pytest.raises(InvalidRecord, match="finite"):
        record.new(**put(parts, path, value))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 1.5])
def test_an_error_that_is_not_finite_has_a_form_of_its_own(parts: Parts, value: float) -> None:
    put(parts, "body.levels.0.status", "failed")
    put(parts, "body.levels.0.error", record.number(value))
    sealed = record.new(**parts | {"status": "failed", "reason": "level 1"})
    read = record.decoded(json.loads(json.dumps(sealed))["body"]["levels"][0]["error"])
    assert read == value or (math.isnan(read) and math.isnan(value))


@pytest.mark.parametrize(
    ("path", "value"),
    [("body.levels.0.error", 3.2e-16), ("row.implementation", "jax"), ("created", "2020-01-01T00:00:00Z")],
)
def test_an_edit_breaks_the_seal(parts: Parts, path: str, value: Any) -> None:
    sealed = record.new(**parts)
    with pytest.raises(InvalidRecord, match="digest does not hold"):
        record.verify(put(sealed, path, value))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, f"expected 1, got 0, which is older. Measure the row again, .*commit {'0' * 40}"),
        (2, "expected 1, got 2, which is newer. Read it with .* a later one"),
    ],
)
def test_another_schema_says_what_to_do(parts: Parts, number: int, said: str) -> None:
    other = record.new(**parts) | {"schema": number, "what": "no field of ours"}
    with pytest.raises(record.OtherSchema, match=said):
        record.verify(other | {"digest": record.digest(other)})


@pytest.mark.parametrize("number", [True, "1", 1.5, None])
def test_a_schema_that_is_no_number_is_damage(parts: Parts, number: Any) -> None:
    with pytest.raises(InvalidRecord) as caught:
        record.verify(put(record.new(**parts), "schema", number))
    assert not isinstance(caught.value, record.OtherSchema)


def test_an_older_schema_without_its_commit_is_refused_all_the_same() -> None:
    with pytest.raises(record.OtherSchema, match="commit unknown"):
        record.verify({"schema": 0})


@pytest.mark.parametrize("value", [None, [], "text", {}, {"schema": 1}])
def test_what_is_no_record_at_all(value: object) -> None:
    with pytest.raises(InvalidRecord):
        record.verify(value)


def test_a_huge_value_is_not_repeated_whole(parts: Parts) -> None:
    with pytest.raises(InvalidRecord) as caught:
        record.new(**put(parts, "row", "x" * 10_000))
    assert len(str(caught.value)) < 300
