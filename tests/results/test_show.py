"""An id leads to files, origin, samples and command; a user's mistake is said, not thrown."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from results import commands, ids, record, show, store
from results.record import Record

Parts = dict[str, Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout of nothing but empty folders."""
    for name in ("records", "published/a", "published/b"):
        (tmp_path / "results" / name).mkdir(parents=True)
    return tmp_path


def shown(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = show.main(arguments, root)
    told = capsys.readouterr()
    return code, told.out + told.err


def passes(bench_parts: Parts) -> list[Record]:
    found = []
    for number in range(2):
        bench_parts["body"]["pass"] = number
        found.append(record.new(**bench_parts))
    return found


def test_a_number_is_followed_to_its_samples(
    root: Path, bench_parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [store.write(root / "results" / "published" / "a", item) for item in passes(bench_parts)]
    name = ids.of(store.read_all(files[0].parent)[0][0], "train")
    code, told = shown(root, capsys, name[:5])
    assert code == 0
    for file in files:
        assert str(file.relative_to(root)) in told
    for text in (
        "A CPU, 2 cores",
        "0" * 40,
        "kernel scan",
        "median 1.05 ms, 1 to 1.1 ms (2 rounds in 1 blocks)",
    ):
        assert text in told
    assert f"nox -s reproduce -- {name}" in told
    assert "nox -s bench-torch-cpu -- --variant native --task adding --cell lstm" in told
    assert "--passes 2 --blocks 1 --threads 1" in told


@pytest.mark.parametrize("kind", ["parity", "memory", "training", "untimed"])
def test_every_kind_is_shown(
    kind: str, root: Path, parts: Parts, bench_parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies: dict[str, Any] = {
        "memory": {"baseline_bytes": 10, "peak_bytes": 30, "steps": 3, "device_peak": {}, "settings": {}},
        "training": {
            "metric": "nats", "optimum": None, "baseline": 2.5, "final": {"nats": 1.25}, "predictions": 9,
            "curve": [{"step": n, "loss": None, "held_out": 1.25, "seconds": 0.5} for n in (0, 20)],
            "seconds": 0.5, "evaluation_seconds": 0.1, "path": {}, "settings": {},
        },
    }  # fmt: skip
    if kind in bodies:
        parts |= {"kind": kind, "status": "ok", "body": bodies[kind]}
    if kind == "untimed":
        parts = bench_parts | {"status": "untimed", "reason": "parity failed\nat length", "body": {}}
    sealed = record.new(**parts)
    store.write(root / "results" / "records", sealed)
    code, told = shown(root, capsys, ids.of_all(sealed)[0])
    assert code == 0
    expected = {
        "parity": "level 1 forward: passed, error 3.1e-16 of 1.4e-14",
        "memory": "30 bytes, 20 over it",
        "training": "nats 1.25",
        "untimed": "untimed: parity failed",
    }
    assert expected[kind] in told


def test_json_holds_every_sample(root: Path, bench_parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = record.new(**bench_parts)
    store.write(root / "results" / "records", sealed)
    store.write(root / "results" / "published" / "b", sealed)
    assert show.main([ids.of(sealed, "train"), "--json"], root) == 0
    assert json.loads(capsys.readouterr().out) == [sealed], "in two folders, and yet once"


def test_where_to_look_can_be_said(
    root: Path, bench_parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = record.new(**bench_parts)
    store.write(root / "results" / "published" / "b", sealed)
    name = ids.of(sealed, "train")
    assert shown(root, capsys, name, "--published", "b")[0] == 0
    assert shown(root, capsys, name, "--records", str(root / "results" / "published" / "b"))[0] == 0
    for wrong, said in (
        (("--published", "a"), "expected records, got none"),
        (("--published", "bb"), "unknown published report 'bb'. Did you mean 'b'"),
        (("--records", str(root / "no")), "expected a folder of records"),
    ):
        code, told = shown(root, capsys, name, *wrong)
        assert (code, said in told) == (2, True), told


def test_an_unknown_id_is_said(root: Path, bench_parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    store.write(root / "results" / "records", record.new(**bench_parts))
    code, told = shown(root, capsys, "zz")
    assert code == 2
    assert told.startswith("error: unknown id 'zz'")


def test_damage_is_named_and_never_moved_out_of_what_is_published(
    root: Path, bench_parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = record.new(**bench_parts)
    store.write(root / "results" / "records", sealed)
    name = ids.of(sealed, "train")
    for folder, code in (("records", 0), ("published/a", 2)):
        damaged = root / "results" / folder / "bench-damaged.json"
        damaged.write_text("{", encoding="utf-8")
        found, told = shown(root, capsys, name)
        assert (found, "bench-damaged.json" in told) == (code, True)
        assert damaged.exists() is (folder != "records")


def test_the_command_of_an_implementation_of_elsewhere(bench_parts: Parts) -> None:
    bench_parts["row"] |= {"implementation": "my layer", "size": "tiny, B = 1"}
    bench_parts["spec"]["batch"] = 1
    words = shlex.split(commands.session([record.new(**bench_parts)]))
    assert words[2] == "bench-numpy-cpu"
    assert words[words.index("--impl") + 1] == "path/to/my layer"
    assert (words[words.index("--size") + 1], words[words.index("--batch") + 1]) == ("tiny", "1")
