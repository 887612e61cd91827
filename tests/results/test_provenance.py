"""Provenance says where numbers come from, and of no person or machine."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from results import provenance, record
from results.provenance import collect, source_hash

GPU_LINES = "NVIDIA H200, 580.95.05, 1980 MHz, 1980 MHz, 31\nNVIDIA H200, 580.95.05, 345 MHz, 1980 MHz, 30"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An implementation with a file of each sort."""
    place = tmp_path / "mine"
    (place / "deep").mkdir(parents=True)
    (place / "scratch.py").write_text("def build(): ...")
    (place / "deviations.toml").write_text("deviation = []")
    (place / "deep" / "table.json").write_text("{}")
    (place / "notes.txt").write_text("not a source")
    return place


def words(value: Any) -> list[str]:
    """Every text inside."""
    if isinstance(value, dict):
        return [word for key, item in value.items() for word in [str(key), *words(item)]]
    if isinstance(value, list):
        return [word for item in value for word in words(item)]
    return [value] if isinstance(value, str) else []


def test_a_record_takes_it(folder: Path, parts: dict[str, Any]) -> None:
    parts["provenance"] = collect(folder, None, ("numpy", "jsonschema"), {"kernel": "scan"})
    sealed = record.new(**parts)
    assert sealed["provenance"]["versions"]["python"] == platform.python_version()
    assert sealed["provenance"]["lock"] == "none"
    assert sealed["provenance"]["extra"] == {"kernel": "scan"}


def test_source_follows_every_source_and_nothing_else(folder: Path) -> None:
    first = source_hash(folder)
    (folder / "notes.txt").write_text("changed")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "site.py").write_text("")
    assert source_hash(folder) == first
    (folder / "deep" / "table.json").write_text("{ }")
    second = source_hash(folder)
    (folder / "scratch.py").rename(folder / "native.py")
    third = source_hash(folder)
    assert len({first, second, third}) == 3


def test_source_follows_the_suites(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suites = tmp_path / "suites"
    suites.mkdir()
    monkeypatch.setattr(provenance, "SUITES", suites)
    first = source_hash(folder)
    (suites / "task.toml").write_text("batch = 5")
    assert source_hash(folder) != first


def test_source_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "theirs"
    shutil.copytree(folder, moved)
    assert source_hash(moved) == source_hash(folder)


def test_lock_is_the_hash_of_the_file(folder: Path, tmp_path: Path) -> None:
    lock = tmp_path / "numpy.txt"
    lock.write_bytes(b"numpy==2.4.6\n")
    assert collect(folder, lock, ())["lock"] == hashlib.sha256(b"numpy==2.4.6\n").hexdigest()
    assert collect(folder, tmp_path / "absent.txt", ())["lock"] == "none"


def test_a_package_that_is_not_there_is_said_so(folder: Path) -> None:
    assert collect(folder, None, ("unrolled-absent",))["versions"]["unrolled-absent"] == "not installed"


def test_no_person_and_no_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "hopper-17")
    monkeypatch.setattr(platform, "node", lambda: "hopper-17.lab")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/home/ada/dump --xla_cpu_multi_thread_eigen=false")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    extra = {
        "log": "written by ada on hopper-17.lab to /home/ada/log.txt, see https://example.org/a/b",
        "files": [
            r"C:\Users\ada\x",
            "and/or",
            "/usr/lib:/home/ada/lib",
            "file:///home/ada",
            "-I/home/ada/c",
            3,
        ],
        "adapter": "adam on hopper",
    }
    found = collect(folder, None, ("numpy",), extra)
    assert found["threads"]["OMP_NUM_THREADS"] == "2"
    assert found["threads"]["XLA_FLAGS"] == "--xla_dump_to=<path> --xla_cpu_multi_thread_eigen=false"
    assert found["extra"]["log"] == (
        "written by <private> on <private> to <path>, see https://example.org/a/b"
    )
    assert found["extra"]["files"] == [
        "<path>",
        "and/or",
        "<path>:<path>",
        "<path>",
        "-I/home/<private>/c",
        3,
    ]
    assert found["extra"]["adapter"] == "adam on hopper"
    text = json.dumps(found)
    assert "hopper-17" not in text
    assert "/home/ada" not in text


def test_what_is_really_collected_names_neither(folder: Path) -> None:
    found = collect(folder, None, ("numpy", "pytest"))
    texts = words(found)
    assert socket.gethostname() not in texts
    assert getpass.getuser() not in texts
    assert not [
        text for text in texts if text.startswith("/") or str(folder) in text or str(Path.home()) in text
    ]


def test_without_git_the_commit_is_unknown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    found = collect(folder, None, ())
    assert (found["commit"], found["dirty"]) == ("unknown", "unknown")


def test_a_repository_around_ours_is_not_ours(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    inside = tmp_path / "unpacked"
    inside.mkdir()
    monkeypatch.setattr(provenance, "ROOT", inside)
    assert collect(folder, None, ())["commit"] == "unknown"


def test_commit_and_dirty(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "--quiet")
    monkeypatch.setattr(provenance, "ROOT", place.resolve())
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))  # as a hook exports it
    assert collect(folder, None, ())["commit"] == "unknown"
    commit(place)
    clean = collect(folder, None, ())
    assert (clean["commit"], clean["dirty"]) == (git(place, "rev-parse", "HEAD").strip(), False)
    (place / "new.py").touch()
    assert collect(folder, None, ())["dirty"] is True


def test_gpus_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = collect(folder, None, ())

    def output(command: list[str], environment: object = None) -> str | None:
        return GPU_LINES if command[0] == "nvidia-smi" else None

    monkeypatch.setattr(provenance, "_output", output)
    found = collect(folder, None, ())
    assert found["hardware"]["gpu"] == "2 x NVIDIA H200"
    assert found["hardware"]["driver"] == "580.95.05"
    assert found["clock"]["gpus"][1]["clocks.sm"] == "345 MHz"
    assert found["hardware_hash"] != plain["hardware_hash"] or plain["hardware"]["gpu"] == "2 x NVIDIA H200"


def test_hardware_hash_forgives_the_kernel_its_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for total in (8 * 2**30, 8 * 2**30 - 2**24, 16 * 2**30):
        memory = type("Memory", (), {"total": total})
        monkeypatch.setattr(provenance.psutil, "virtual_memory", lambda memory=memory: memory)
        hashes.append(collect(folder, None, ())["hardware_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_clock_that_cannot_be_read_is_unknown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise FileNotFoundError

    monkeypatch.setattr(provenance.psutil, "cpu_freq", none)
    assert collect(folder, None, ())["clock"]["cpu_mhz"] == "unknown"


def git(place: Path, *arguments: str) -> str:
    environment = {
        "PATH": "/usr/bin:/bin:/usr/local/bin",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "HOME": str(place),
    }
    command = ["git", "-C", str(place), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def commit(place: Path) -> None:
    (place / "a.py").write_text("")
    git(place, "add", "a.py")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    git(place, *author, "commit", "--quiet", "--message", "a")
