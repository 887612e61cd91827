"""What the sessions share is taken where it is whole and of the same key, and measured anew elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suites import implementations, recording, spec
from suites.implementations import Folder
from suites.parity import cache
from suites.parity.fixtures import Fixture, make
from suites.parity.reference import reference

FOUND = [{"w": 1e-7, "loss": 0.1}, {"w": 0.1 + 0.2, "loss": 0.0}]


class Measure:
    """Counts how often it is asked."""

    def __init__(self, found: Any = FOUND) -> None:
        self.found, self.asked = found, 0

    def __call__(self) -> Any:
        self.asked += 1
        return self.found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "FOLDER", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def fixture() -> Fixture:
    return make(spec.load("adding", cell="rnn"), 0)


def kept(fixture: Fixture, measure: Measure) -> Any:
    """What is kept, and whether it had to be measured."""
    before = measure.asked
    return cache.kept(fixture, measure), measure.asked > before


def test_a_second_session_does_not_measure(fixture: Fixture, folder: Path) -> None:
    measure = Measure()
    assert kept(fixture, measure) == (FOUND, True)
    assert kept(fixture, measure) == (FOUND, False)
    assert [path.suffix for path in folder.iterdir()] == [".json"]  # and no temporary file


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("1e-07", "1e-06"),
        lambda text: json.dumps({"measured": json.loads(text)["measured"], "key": json.loads(text)["key"]}),
    ],
    ids=["cut short", "empty", "another form", "edited", "without a digest"],
)
def test_a_damaged_file_is_measured_anew(damage: Any, fixture: Fixture, folder: Path) -> None:
    measure = Measure()
    cache.kept(fixture, measure)
    (path,) = folder.iterdir()
    whole = path.read_text(encoding="utf-8")
    path.write_text(damage(whole), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != whole
    assert kept(fixture, measure) == (FOUND, True)
    assert path.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("part", ["source", "versions", "hardware_hash"])
def test_another_source_version_or_machine_is_measured_anew(
    part: str, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Measure()
    cache.kept(fixture, measure)
    real = recording.origin
    monkeypatch.setattr(recording, "origin", lambda *about: {**real(*about), part: "another"})
    assert kept(fixture, measure) == (FOUND, True)
    monkeypatch.undo()


def test_a_file_of_another_question_is_not_taken(fixture: Fixture) -> None:
    cache.kept(fixture, Measure())
    for other in (
        replace(fixture, params=fixture.params | {"head.b_q": fixture.params["head.b_q"] + 1}),
        replace(fixture, task=replace(fixture.task, batch=4)),
        make(spec.load("adding", cell="rnn"), 1),
    ):
        there = cache.file(other)
        there.write_bytes(cache.file(fixture).read_bytes())
        assert kept(other, Measure([])) == ([], True)


def test_a_folder_that_cannot_be_written_costs_time_only(fixture: Fixture, folder: Path) -> None:
    folder.write_text("a file where the folder should be", encoding="utf-8")
    assert kept(fixture, Measure()) == (FOUND, True)


def test_a_killed_writer_leaves_no_answer(
    fixture: Fixture, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*names: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.kept(fixture, Measure())
    assert list(folder.iterdir()) == []


def test_the_reference_is_the_same_with_and_without(fixture: Fixture) -> None:
    asked = spec.load("adding", cell="rnn")
    found = []
    for _ in range(2):
        reference.cache_clear()
        found.append(reference(asked, 0).training_float32)
    assert found[0] == found[1]
    assert len(found[0]) == len(fixture.batches)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(cache, "COMPILED", tmp_path / "compiled")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "scratch.py").touch()
    (mine / "device.py").write_text("PACKAGES = ()\n\nasked = []\n")
    return implementations.find(str(mine))


def test_what_a_framework_compiles_is_kept_apart_for_each_machine(own_folder: Folder, tmp_path: Path) -> None:
    device = implementations.device_module(own_folder)
    device.keep_compiled = device.asked.append
    cache.keep_compiled(own_folder, "cpu")
    machine = recording.origin(own_folder, "cpu")["hardware_hash"]
    assert device.asked == [tmp_path / "compiled" / "mine" / machine]


def test_a_folder_that_compiles_nothing_need_not_keep_it(own_folder: Folder, tmp_path: Path) -> None:
    cache.keep_compiled(own_folder, "cpu")
    assert not (tmp_path / "compiled").exists()
