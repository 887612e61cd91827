"""A record is older than its lock where a version that it was measured with has moved."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from results import locks, record
from results.locks import Locks
from results.record import Record

LOCK = """\
# made by hand
numpy==2.4.6
    # via torch
torch==2.13.0 ; sys_platform == 'linux'
triton-stuff==1.0
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one lock."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "torch.txt").write_text(LOCK, encoding="utf-8")
    return tmp_path


def measured(parts: dict[str, Any], lock: str = LOCK, **versions: str) -> Record:
    parts["provenance"]["versions"] = {"python": "3.11.7", **versions}
    parts["provenance"]["lock"] = hashlib.sha256(lock.encode()).hexdigest() if lock else "none"
    return record.new(**parts)


def test_versions_that_moved_are_named_with_both(root: Path, parts: dict[str, Any]) -> None:
    age = Locks(root).age(measured(parts, "another", torch="2.12.1+cpu", numpy="2.4.6"))
    assert age.moved == {"torch": ("2.12.1+cpu", "2.13.0")}
    assert str(age) == "older than its lock: torch 2.12.1+cpu -> 2.13.0"


def test_the_lock_as_it_was(root: Path, parts: dict[str, Any]) -> None:
    assert str(Locks(root).age(measured(parts, torch="2.13.0"))) == "as locked now"


@pytest.mark.parametrize("versions", [{"torch": "2.13.0+cpu"}, {"Torch": "2.13.0", "jax": "not installed"}])
def test_a_lock_that_changed_elsewhere_ages_nothing(
    root: Path, parts: dict[str, Any], versions: dict[str, str]
) -> None:
    age = Locks(root).age(measured(parts, "another", **versions))
    assert age.moved == {}
    assert "the lock has changed" in str(age)


def test_a_package_that_left_the_lock(root: Path, parts: dict[str, Any]) -> None:
    age = Locks(root).age(measured(parts, "another", flax="0.12.8"))
    assert "flax 0.12.8 -> not in the lock" in str(age)


def test_no_lock_then_or_now(root: Path, parts: dict[str, Any]) -> None:
    assert "without a lock" in str(Locks(root).age(measured(parts, "", torch="2.13.0")))
    parts["row"]["device"] = "gpu"
    assert "no locks/torch-gpu.txt" in str(Locks(root).age(measured(parts, torch="2.13.0")))


def test_one_package_pinned_for_each_platform(root: Path, parts: dict[str, Any]) -> None:
    text = LOCK + "torch==2.12.0 ; sys_platform == 'darwin'\n"
    (root / "locks" / "torch.txt").write_text(text, encoding="utf-8")
    assert Locks(root).age(measured(parts, torch="2.12.0")).moved == {}
    moved = Locks(root).age(measured(parts, torch="2.11.0")).moved
    assert moved == {"torch": ("2.11.0", "2.12.0 or 2.13.0")}


@pytest.mark.parametrize(
    ("implementation", "versions", "environment"),
    [
        ("jax", {}, "jax"),
        ("mine", {"torch": "2.13.0"}, "torch"),
        ("mine", {"tensorflow": "not installed", "tensorflow-cpu": "2.21.0"}, "tensorflow"),
        ("mine", {"tensorflow": "not installed"}, "numpy"),
    ],
)
def test_an_implementation_of_elsewhere_runs_where_its_framework_does(
    parts: dict[str, Any], implementation: str, versions: dict[str, str], environment: str
) -> None:
    parts["row"]["implementation"] = implementation
    assert locks.environment(measured(parts, **versions)) == environment
    parts["row"]["device"] = "gpu"
    assert locks.environment(measured(parts, **versions)) == f"{environment}-gpu"
