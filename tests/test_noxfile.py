"""The sessions and their environments hold together, and workflows and README name what exists."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from nox.command import CommandFailed
from packaging.requirements import Requirement

from suites.bench import environments

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    """The noxfile as a module."""
    spec = importlib.util.spec_from_file_location("noxfile_under_test", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sessions() -> dict[str, dict[str, Any]]:
    """What nox knows, by name; none is selected unless asked for, so ask for all."""
    done = run_nox("--list", "--json", "--keywords", "ci or not ci")
    assert done.returncode == 0, done.stderr
    found = {entry["session"]: entry for entry in json.loads(done.stdout)}
    assert found
    return found


def run_nox(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# Sessions


def test_every_session_says_what_it_does(sessions: dict[str, dict[str, Any]]) -> None:
    assert [name for name, entry in sessions.items() if not entry["description"]] == []


def test_the_sessions_are_those_of_the_design(sessions: dict[str, dict[str, Any]]) -> None:
    cpu = {
        f"{kind}-{fw}-cpu"
        for kind in ("parity", "bench", "train")
        for fw in ("numpy", "torch", "jax", "tensorflow")
    }
    gpu = {
        f"{kind}-{fw}-gpu" for kind in ("parity", "bench", "train") for fw in ("torch", "jax", "tensorflow")
    }
    assert set(sessions) == cpu | gpu | {
        "ablations",
        "parity-on-request",
        "compare",
        "gpu-visit",
        "report",
        "report-check",
        "calibrate",
        "browser",
        "curves",
        "diagnose",
        "diff",
        "overhead",
        "profile",
        "reproduce",
        "trials",
        "frameworks",
        "own-layer",
        "mutants",
        "tests",
        "lint",
        "lock",
    }
    ci = {name for name, entry in sessions.items() if "ci" in entry["tags"]}
    assert ci == {
        "parity-on-request",
        *(name for name in cpu if name.startswith("parity-")),
        "lint",
        "tests",
        "browser",
        "mutants",
        "frameworks",
        "own-layer",
        "report-check",
    }


def test_without_a_venv_none_is_made(tmp_path: Path) -> None:
    done = run_nox("--no-venv", "--install-only", "--envdir", str(tmp_path), "--session", "tests")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("[!.]*")) == []


def test_a_missing_package_is_named(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Requirement("numpy"), Requirement("unrolled-has-no-such-package>=1")]
    monkeypatch.setattr(noxfile, "requirements", lambda _: asked)
    with pytest.raises(
        noxfile.Missing, match=r"expected unrolled-has-no-such-package in .*got no such package"
    ):
        noxfile.check_installed("torch")


def test_a_python_without_a_release_is_named(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    noxfile.check_offered("torch")
    monkeypatch.setattr(noxfile, "requirements", lambda _: [Requirement("numpy")])
    with pytest.raises(noxfile.Missing, match="a Python that PyTorch has a release for"):
        noxfile.check_offered("torch-gpu")


# Environments


class Recorder:
    """Stands for a nox session: keeps the commands, and fails where it is told to."""

    def __init__(self, folder: Path) -> None:
        self.cache_dir = folder / ".cache"
        self.commands: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.posargs: list[str] = []
        self.says = ""  # what a command prints
        self.warnings: list[str] = []
        self._runner = SimpleNamespace(global_config=SimpleNamespace(force_venv_backend=None))

    def run_install(self, *command: str, **_: Any) -> None:
        words = " ".join(command)
        self.commands.append(words)
        for part, error in self.fails.items():
            if part in words:
                raise error
        if "virtualenv" in command:
            folder = Path(command[-1])
            for python in (folder / "bin" / "python", folder / "Scripts" / "python.exe"):
                python.parent.mkdir(parents=True, exist_ok=True)
                python.touch()

    def run(self, *command: str, **settings: Any) -> str:
        self.run_install(*command, **settings)
        return self.says

    def log(self, _: str) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def error(self, text: str) -> None:
        raise SystemExit(text)


@pytest.mark.parametrize(("answer", "there"), [(None, False), ("", False), ("GPU 0: NVIDIA H200", True)])
def test_a_machine_without_a_gpu_downloads_no_cuda(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None, there: bool
) -> None:
    if answer is not None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '%s' '{answer}'\n", encoding="utf-8")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    noxfile.check_gpu("torch")
    if there:
        noxfile.check_gpu("torch-gpu")
    else:
        with pytest.raises(noxfile.Missing, match="expected an NVIDIA GPU, got none"):
            noxfile.check_gpu("torch-gpu")


@pytest.mark.parametrize(("driver", "old"), [("570.86", True), ("580.65.06", False), ("N/A", False)])
def test_a_driver_too_old_for_the_lock_downloads_no_cuda(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, old: bool
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '%s\\n' '{driver}'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    noxfile.check_gpu("tensorflow-gpu")
    for name in noxfile.DRIVERS:
        if old:
            with pytest.raises(noxfile.Missing, match=r"driver of 580 or later.*CUDA 13, got 570: renew"):
                noxfile.check_gpu(name)
        else:
            noxfile.check_gpu(name)


def test_an_environment_is_made_once(noxfile: ModuleType, tmp_path: Path) -> None:
    session = Recorder(tmp_path)
    assert noxfile.make(session, "lock") == noxfile.make(session, "lock")
    assert len(session.commands) == 2  # virtualenv, pip


def test_an_interrupted_environment_is_made_again(noxfile: ModuleType, tmp_path: Path) -> None:
    session = Recorder(tmp_path)
    noxfile.make(session, "lock")
    (tmp_path / "lock" / noxfile.STAMP).write_text("of another lock")
    for part in (" pip ", " virtualenv "):
        session.fails = {part: KeyboardInterrupt()}
        with pytest.raises(KeyboardInterrupt):
            noxfile.make(session, "lock")
        assert not (tmp_path / "lock" / noxfile.STAMP).exists()
    session.fails, session.commands = {}, []
    noxfile.make(session, "lock")
    noxfile.make(session, "lock")
    assert len(session.commands) == 2


@pytest.mark.parametrize(("code", "reported"), [(1, True), (2, False)])
def test_failed_rows_are_reported_mistakes_are_not(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reported: bool
) -> None:
    session = Recorder(tmp_path)
    session.posargs = ["--records", "elsewhere"]
    session.fails = {"suites.bench": CommandFailed(f"Returned code {code}")}
    monkeypatch.setattr(noxfile, "interpreter", lambda *_: sys.executable)
    with pytest.raises(CommandFailed):
        noxfile.compare(session)
    assert any("-m reports --records elsewhere" in command for command in session.commands) is reported


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_the_main_job_measures_nothing(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    session = Recorder(tmp_path)
    session.posargs = ["--full", flag]
    monkeypatch.setattr(noxfile, "interpreter", lambda *_: "python")
    noxfile.compare(session)
    assert session.commands == ["python -m suites.bench --help"]


@pytest.mark.parametrize(
    ("session_of", "posargs", "module"),
    [("compare", ["--device", "gpu"], "suites.bench"), ("gpu_visit", [], "suites.bench.visit")],
)
def test_on_a_gpu_the_frameworks_of_a_gpu_are_compared(
    noxfile: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    session_of: str,
    posargs: list[str],
    module: str,
) -> None:
    """One that cannot be had is left out; what leads and writes the report runs in NumPy's environment."""

    def interpreter(_: Any, name: str, needs: str) -> str:
        if name == "jax-gpu":
            raise noxfile.Missing("expected what it needs")
        return f"py-{name}"

    session = Recorder(tmp_path)
    session.posargs = posargs
    monkeypatch.setattr(noxfile, "interpreter", interpreter)
    getattr(noxfile, session_of)(session)
    named = "--python torch=py-torch-gpu --python tensorflow=py-tensorflow-gpu"
    asked = " ".join([f"py-numpy -m {module} {named}", *posargs])
    assert session.commands == [asked, "py-numpy -m reports"]
    assert session.warnings == ["jax is left out: expected what it needs"]


def test_what_a_report_needs_is_not_needed_to_measure(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU machine without a package index may have no altair: what was measured there is kept."""

    def interpreter(_: Any, name: str, needs: str) -> str:
        if needs == "reports":
            raise noxfile.Missing("expected altair")
        return f"py-{name}"

    session = Recorder(tmp_path)
    monkeypatch.setattr(noxfile, "interpreter", interpreter)
    noxfile.gpu_visit(session)
    assert [command.split()[2] for command in session.commands] == ["suites.bench.visit"]
    assert session.warnings == [
        "no report is written: expected altair. The records are kept, for `nox -s report` elsewhere"
    ]


@pytest.mark.parametrize(
    ("posargs", "environment"),
    [
        ([], "numpy"),
        (["--impl", "torch"], "torch"),
        (["--impl", "torch", "--device", "gpu"], "torch-gpu"),
        (["--impl", "numpy", "--device", "gpu"], "numpy"),  # which says that it has none
        (["--impl", "../layer"], "numpy"),
    ],
)
def test_what_is_measured_runs_where_its_framework_is(
    noxfile: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    posargs: list[str],
    environment: str,
) -> None:
    session = Recorder(tmp_path)
    session.posargs = posargs
    monkeypatch.setattr(noxfile, "interpreter", lambda _, name, needs: f"py-{name}")
    noxfile.overhead(session)
    assert session.commands == [" ".join([f"py-{environment} -m suites.bench.overhead", *posargs])]


def test_without_a_gpu_nothing_is_compared_on_it(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    session = Recorder(tmp_path)
    with pytest.raises(SystemExit, match="nothing can be compared on the GPU"):
        noxfile.gpu_visit(session)
    assert len(session.warnings) == 3
    assert all("expected an NVIDIA GPU, got none (there is no nvidia-smi)" in w for w in session.warnings)
    assert session.commands == []


def test_a_number_is_measured_in_its_own_environment_and_judged_in_that_of_reports(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Recorder(tmp_path)
    session.posargs = ["3f09c2ab71-train", "--passes", "5"]
    session.says = "damaged: a file\ntorch-gpu\n"
    needed: list[tuple[str, ...]] = []
    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    monkeypatch.setattr(
        noxfile, "interpreter", lambda _, name, needs: needed.append((name, needs)) or f"py-{name}"
    )
    noxfile.reproduce(session)
    assert needed == [("numpy", "reports"), ("torch-gpu", "torch-gpu")]
    (new,) = (tmp_path / ".cache" / "reproduce").iterdir()
    asked = "3f09c2ab71-train --passes 5"
    assert session.commands == [
        f"py-numpy -m suites.reproduce {asked} --environment",
        f"py-torch-gpu -m suites.reproduce {asked} --new {new}",
        f"py-numpy -m reports.reproduced {asked} --new {new}",
    ]


@pytest.mark.parametrize("posargs", [[], ["--help"], ["3f", "-h"]])
def test_reproducing_nothing_is_help(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, posargs: list[str]
) -> None:
    session = Recorder(tmp_path)
    session.posargs = posargs
    monkeypatch.setattr(noxfile, "interpreter", lambda *_: "python")
    noxfile.reproduce(session)
    assert session.commands == [" ".join(["python -m suites.reproduce", *(posargs or ["--help"])])]


# Workflows and README


def named(text: str) -> tuple[set[str], set[str]]:
    """The sessions and the tags that the commands in a text name."""
    return set(re.findall(r"nox -s ([\w-]+)", text)), set(re.findall(r"nox -t ([\w-]+)", text))


def commands(workflow: dict[str, Any]) -> str:
    """Every command of a workflow, for every combination of its matrix."""
    found = []
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for values in itertools.product(*matrix.values()):
            chosen = dict(zip(matrix, values, strict=True))
            for step in job["steps"]:
                found.append(
                    re.sub(r"\$\{\{ *matrix\.(\w+) *\}\}", lambda m, c=chosen: c[m[1]], step.get("run", ""))
                )
    return "\n".join(found)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_names_only_sessions_that_exist(path: Path, sessions: dict[str, dict[str, Any]]) -> None:
    names, tags = named(commands(yaml.safe_load(path.read_text(encoding="utf-8"))))
    assert names
    assert names <= set(sessions)
    assert tags <= {tag for entry in sessions.values() for tag in entry["tags"]}


def test_a_session_on_a_gpu_has_the_settings_of_what_is_timed(noxfile: ModuleType) -> None:
    assert noxfile.GPU_SETTINGS == environments.GPU
    assert noxfile.SETTINGS.items() >= environments.SOON_IDLE.items()


def test_the_workflows_prove_every_framework() -> None:
    names = set()
    for path in WORKFLOWS:
        names |= named(commands(yaml.safe_load(path.read_text(encoding="utf-8"))))[0]
    assert names >= {"parity-numpy-cpu", "parity-torch-cpu", "parity-jax-cpu", "parity-tensorflow-cpu"}


def test_the_readme_names_only_sessions_that_exist(sessions: dict[str, dict[str, Any]]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names, tags = named(readme)
    assert "compare" in names
    assert names <= set(sessions)
    assert tags == {"ci"}
    assert "\n<!-- test-command -->\n```" in readme, "which command does .ci/run take?"
