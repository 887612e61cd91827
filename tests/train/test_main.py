"""Training to quality as a user runs it: proven first, one whole record, mistakes and failures told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results import store
from results.record import Record
from suites import spec
from suites.implementations import IMPLS
from suites.recording import ROOT
from suites.train.__main__ import chosen, main, parse

ONE = ["--task", "adding", "--cell", "lstm", "--size", "tiny", "--threads", "1"]
STEP = "    def step(self, placed):\n"
# What shows only in training, by the length asked for: the gate runs at another.
DEFECTS = f"""{STEP}        if self.task.length == 12 and self.steps == 30:
            raise RuntimeError("out of luck")
        if self.task.length == 13 and self.steps == 30:
            self.params = {{name: w * np.nan for name, w in self.params.items()}}
        if self.task.length == 14 and self.steps == 30:
            import time
            time.sleep(60)
"""


def command(folder: Path | str, records: Path, *arguments: str) -> list[str]:
    own = ["--impl", str(folder), "--records", str(records), *ONE]
    return [sys.executable, "-m", "suites.train", *own, *arguments]


def train(folder: Path | str, records: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, records, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def kept(records: Path, kind: str = "training") -> list[Record]:
    found, damaged = store.read_all(records)
    assert damaged == []
    return [record for record in found if record["kind"] == kind]


def copy(folder: Path, file: str, old: str, new: str) -> Path:
    """NumPy's implementation elsewhere, with one change."""
    shutil.copytree(IMPLS / "numpy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (folder / file).read_text(encoding="utf-8")
    assert source.count(old) == 1
    (folder / file).write_text(source.replace(old, new), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An implementation that is proven and trained at its own length, and its records."""
    place = tmp_path_factory.mktemp("fragile")
    folder, records = copy(place / "fragile", "training.py", STEP, DEFECTS), place / "records"
    done = train(folder, records)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fragile: 1 rows to prove" in done.stdout
    assert "[60/60" in done.stdout
    assert "after 60 steps" in done.stdout
    assert "optimum 0, baseline 0.1667 (squared error)" in done.stdout
    return folder, records


def test_a_proven_row_leaves_one_whole_record(fragile: tuple[Path, Path]) -> None:
    _, records = fragile
    assert [record["status"] for record in kept(records, "parity")] == ["passed"]
    record = kept(records)[0]
    assert record["status"] == "ok"
    assert [point["step"] for point in record["body"]["curve"]] == [0, 20, 40, 60]
    assert record["spec"]["schedule"] == {"steps": 60, "every": 20, "batches": 4}
    assert record["body"]["final"]["squared error"] == record["body"]["curve"][-1]["held_out"]


@pytest.mark.parametrize(
    ("length", "words", "points"),
    [
        ("12", "RuntimeError: out of luck", None),
        ("13", "training diverged: the training loss is nan", [0, 20]),
    ],
)
def test_a_failure_is_a_record_with_its_reason(
    fragile: tuple[Path, Path], length: str, words: str, points: list[int] | None
) -> None:
    folder, records = fragile
    done = train(folder, records, "--length", length)
    assert done.returncode == 1, done.stdout
    assert "proven already" in done.stdout
    assert words in done.stdout + done.stderr
    (record,) = [r for r in kept(records) if r["row"]["length"] == int(length)]
    assert record["status"] == "error"
    assert words in record["reason"]
    assert [point["step"] for point in record["body"].get("curve", [])] == (points or [])


def interruptible() -> None:
    """A shell's background jobs ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupted_training_leaves_nothing_and_says_what_to_do(fragile: tuple[Path, Path]) -> None:
    folder, records = fragile
    before = sorted(records.parent.rglob("*.json"))
    with subprocess.Popen(
        command(folder, records, "--length", "14"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    ) as run:
        assert run.stdout is not None
        assert any(line.startswith("[20/60") for line in run.stdout)
        time.sleep(0.2)
        os.killpg(run.pid, signal.SIGINT)
        _, complaint = run.communicate(timeout=60)
        assert run.returncode == 130
    assert "Interrupted: nothing of this training is kept" in complaint
    assert "The same command starts it again" in complaint
    assert "Traceback" not in complaint
    assert sorted(records.parent.rglob("*.json")) == before
    assert not list(records.glob(".*"))


def test_a_row_that_fails_parity_is_not_trained(tmp_path: Path) -> None:
    folder = copy(tmp_path / "wrong", "scratch.py", "a_i, a_f, a_g, a_o = np", "a_f, a_i, a_g, a_o = np")
    done = train(folder, tmp_path / "records")
    assert done.returncode == 1
    assert "level 1 (forward): hidden.encoder: error above tolerance" in done.stdout
    assert (
        "untrained  wrong scratch  adding/generated lstm float32 cpu  tiny T=11: parity failed" in done.stdout
    )
    (record,) = kept(tmp_path / "records")
    assert (record["status"], record["reason"], record["body"]) == ("untimed", "parity failed", {})


@pytest.mark.parametrize("task", spec.names())
def test_every_task_has_a_size_to_train_at(task: str) -> None:
    found = chosen(parse(["--impl", "numpy", "--task", task]))
    assert found.row.size == "small"
    assert found.row.cell == spec.cells(task)[0]


@pytest.mark.parametrize(
    ("arguments", "row"),
    [
        (
            ["--impl", "torch", "--task", "adding"],
            ("native", "adding", "lstm", "float32", "small", "generated"),
        ),
        (
            ["--impl", "numpy", "--task", "char_lm"],
            ("scratch", "char_lm", "lstm", "float32", "small", "markov"),
        ),
        (
            ["--impl", "jax", "--data", "tinyshakespeare"],
            ("native", "char_lm", "lstm", "float32", "paper", "tinyshakespeare"),
        ),
        (
            ["--impl", "jax", "--data", "tinyshakespeare", "--size", "tiny", "--variant", "scratch"],
            ("scratch", "char_lm", "lstm", "float32", "tiny", "tinyshakespeare"),
        ),
    ],
)
def test_what_is_not_asked_for_is_chosen(arguments: list[str], row: tuple[str, ...]) -> None:
    found = chosen(parse(arguments)).row
    assert (found.variant, found.task, found.cell, found.dtype, found.size, found.data) == row


def test_the_real_text_has_the_published_settings() -> None:
    """char-rnn's: one layer of 128, batch and length 50, Adam 2e-3, clip 5, 95 % read."""
    task = chosen(parse(["--impl", "torch", "--data", "tinyshakespeare"])).task
    assert (task.model.hidden, task.batch, task.length, task.training.stateful) == (128, 50, 50, True)
    assert (task.training.optimiser, task.training.learning_rate, task.training.clip) == ("adam", 2e-3, 5.0)
    assert task.data.options["training_share"] == 0.95


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "numpy"], f"expected one task to train, got {', '.join(spec.names())}"),
        (["--impl", "numpy", "--task", "adding", "--cell", "lstm,gru"], "select one row to train, got 2"),
        (["--task", "adding"], "--impl: expected one of"),
        (["--impl", "nunpy", "--task", "adding"], "Did you mean 'numpy'"),
        (["--impl", "numpy", "--task", "addin"], "Did you mean 'adding'"),
        (["--impl", "numpy", "--task", "adding", "--size", "smal"], "Did you mean 'small'"),
        (["--impl", "numpy", "--task", "adding", "--stepps", "3"], "unknown option '--stepps'"),
    ],
)
def test_mistakes_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_framework_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "scratch.py").write_text("import no_such_framework\n", encoding="utf-8")
    assert main(["--impl", str(folder), "--task", "adding", "--records", str(tmp_path)]) == 2
    assert "mine cannot run here" in (complaint := capsys.readouterr().err)
    assert "needs the package 'no_such_framework'" in complaint
    assert not list(tmp_path.glob("*.json"))
