"""Where the numbers of a record come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from suites import implementations, recording


@pytest.fixture(autouse=True)
def anew() -> None:
    recording.origin.cache_clear()


def test_a_lock_counts_where_nox_has_made_the_interpreter_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = implementations.find("numpy")
    made, other = tmp_path / "numpy", tmp_path / "torch"
    for prefix in (made, other):
        prefix.mkdir()
        (prefix / recording.STAMP).touch()
    monkeypatch.setattr(sys, "prefix", str(made))
    assert len(recording.origin(folder, "cpu")["lock"]) == 64
    for prefix in (other, tmp_path / "none"):  # of another lock, of --no-venv
        recording.origin.cache_clear()
        monkeypatch.setattr(sys, "prefix", str(prefix))
        assert recording.origin(folder, "cpu")["lock"] == recording.NOT_USED


def test_the_stamp_is_the_one_that_nox_leaves() -> None:
    text = (recording.ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert f'STAMP = "{recording.STAMP}"' in text
