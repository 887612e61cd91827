"""Valid parts of a record, for tests to spoil."""

from __future__ import annotations

import copy
from typing import Any

import pytest

SHA = "0123456789abcdef" * 4

PARTS: dict[str, Any] = {
    "kind": "parity",
    "row": {
        "implementation": "torch",
        "variant": "native",
        "task": "adding",
        "cell": "lstm",
        "dtype": "float64",
        "device": "cpu",
        "size": "tiny",
        "data": "generated",
        "length": 11,
        "seed": 0,
    },
    "status": "passed",
    "reason": "",
    "spec": {
        "name": "adding",
        "size": "tiny",
        "batch": 5,
        "length": 11,
        "model": {"hidden": 7},
        "betas": (0.9, 0.999),
    },
    "fingerprint": SHA,
    "key": SHA,
    "provenance": {
        "source": SHA,
        "commit": "0" * 40,
        "dirty": False,
        "lock": SHA,
        "versions": {"python": "3.11.7"},
        "platform": {"system": "Linux"},
        "hardware": {"cpu": "A CPU", "cores": 2, "memory_bytes": 2**33, "gpu": "none", "driver": "none"},
        "hardware_hash": SHA,
        "threads": {},
        "blas": [],
        "clock": {},
    },
    "body": {
        "levels": [
            {
                "level": 1,
                "name": "forward",
                "status": "passed",
                "error": 3.1e-16,
                "tolerance": 1.4e-14,
                "tensor": "logits",
                "where": "carry zero",
                "origin": "64 u kappa",
                "detail": "",
            }
        ],
        "digest": SHA,
    },
}


@pytest.fixture
def parts() -> dict[str, Any]:
    """What ``record.new`` takes, for a parity row that passed."""
    return copy.deepcopy(PARTS)


@pytest.fixture
def bench_parts() -> dict[str, Any]:
    """The same for a timed row."""
    body = {
        "campaign": "a",
        "pass": 0,
        "phases": {"import_s": 1.0, "build_s": 0.1, "first_step_s": 0.2, "first_infer_s": 0.1},
        "blocks": [{"what": "train", "block": 0, "iterations": 20, "seconds": [0.001, 0.0011]}],
        "tokens_per_step": 55,
        "path": {"kernel": "scan"},
        "settings": {"threads": "1"},
    }
    return copy.deepcopy(PARTS) | {"kind": "bench", "status": "ok", "body": body}
