"""Many rows, as a user runs them: proven, timed, resumed, interrupted; what fails is said and kept."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import suites.bench.__main__
from results import store
from results.errors import UserError
from results.record import Record
from suites import selection, spec
from suites.bench.__main__ import budget, gate_options, main, narrowed, of_one, parse, rows
from suites.bench.environments import Environment
from suites.implementations import IMPLS
from suites.recording import ROOT

STEP = "    def step(self, placed):\n"
ONE = [
    "--variant",
    "scratch",
    "--task",
    "adding",
    "--cell",
    "lstm",
    "--size",
    "tiny",
    "--passes",
    "1",
    "--blocks",
    "1",
    "--threads",
    "1",
]


def command(records: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "suites.bench", "--records", str(records), *arguments]


def bench(records: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(records, *arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def kept(records: Path) -> list[Record]:
    found, damaged = store.read_all(records)
    assert damaged == []
    return found


def copy(folder: Path, file: str, old: str, new: str) -> Path:
    """NumPy's implementation elsewhere, with one change."""
    shutil.copytree(IMPLS / "numpy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (folder / file).read_text(encoding="utf-8")
    assert source.count(old) == 1
    (folder / file).write_text(source.replace(old, new), encoding="utf-8")
    return folder


def test_prove_time_and_go_on(tmp_path: Path) -> None:
    first = bench(tmp_path, "--impl", "numpy", *ONE)
    assert first.returncode == 0, first.stdout + first.stderr
    records = kept(tmp_path)
    assert sorted(r["kind"] for r in records) == ["bench", "memory", "parity", "parity", "quiet", "quiet"]
    (timed,) = [r for r in records if r["kind"] == "bench"]
    assert timed["status"] == "ok"
    assert [block["what"] for block in timed["body"]["blocks"]] == [
        "train",
        "floor_train",
        "infer",
        "floor_infer",
    ]
    assert all(second > 0 for block in timed["body"]["blocks"] for second in block["seconds"])
    assert timed["body"]["tokens_per_step"] == 5 * 11

    again = bench(tmp_path, "--impl", "numpy", *ONE)
    assert again.returncode == 0
    assert "2 of 2 groups are measured already" in again.stdout
    assert len(kept(tmp_path)) == len(records)


def test_the_machine_is_watched_before_between_and_after_the_groups(tmp_path: Path) -> None:
    done = bench(tmp_path, "--impl", "numpy", *ONE, "--passes", "2")
    assert done.returncode == 0, done.stdout
    records = kept(tmp_path)
    bodies = [r["body"] for r in records if r["kind"] == "quiet"]
    assert [(body["when"], body["pass"]) for body in bodies] == [("before", 0), ("before", 1), ("after", 1)]
    assert {body["campaign"] for body in bodies} == {
        r["body"]["campaign"] for r in records if r["kind"] == "bench"
    }
    assert [body["seconds"] is None for body in bodies] == [True, False, False]


def test_a_row_that_fails_parity_is_not_timed(tmp_path: Path) -> None:
    folder = copy(tmp_path / "wrong", "scratch.py", "a_i, a_f, a_g, a_o = np", "a_f, a_i, a_g, a_o = np")
    done = bench(tmp_path / "records", "--impl", str(folder), *ONE)
    assert done.returncode == 1
    assert "level 1 (forward): hidden.encoder: error above tolerance" in done.stdout
    assert (
        "untimed  wrong scratch  adding/generated lstm float32 cpu  tiny T=11: parity failed" in done.stdout
    )
    (timed,) = [r for r in kept(tmp_path / "records") if r["kind"] == "bench"]
    assert (timed["status"], timed["reason"]) == ("untimed", "parity failed")
    assert "blocks" not in timed["body"]


def test_a_crash_is_a_record_with_its_reason_and_is_tried_again(tmp_path: Path) -> None:
    """The defect shows at the timed size only: the gate passes, the group cannot."""
    folder = copy(
        tmp_path / "fragile",
        "training.py",
        STEP,
        f"{STEP}        if self.task.size == 'small':\n            raise RuntimeError('out of luck')\n",
    )
    options = [*ONE, "--size", "small"]
    for attempt in (1, 2):
        done = bench(tmp_path / "records", "--impl", str(folder), *options)
        assert done.returncode == 1
        assert "RuntimeError: out of luck" in done.stdout
        failures = [r for r in kept(tmp_path / "records") if r["status"] == "error"]
        assert len(failures) == 2 * attempt  # the timed and the memory pass
        assert "out of luck" in failures[0]["reason"]


def test_a_group_that_hangs_is_given_up(tmp_path: Path) -> None:
    folder = copy(
        tmp_path / "slow",
        "training.py",
        STEP,
        f"{STEP}        if self.task.size == 'small':\n            import time; time.sleep(600)\n",
    )
    done = bench(tmp_path / "records", "--impl", str(folder), *ONE, "--size", "small", "--timeout", "3")
    assert done.returncode == 1
    measured = [r for r in kept(tmp_path / "records") if r["kind"] in ("bench", "memory")]
    assert [r["status"] for r in measured] == ["timeout", "timeout"]
    assert "timeout: not finished after 3 s" in done.stdout


def test_a_recompilation_voids_the_row(tmp_path: Path) -> None:
    """Planted: every call of the hook finds one more."""
    folder = copy(
        tmp_path / "jitted", "device.py", "    return 0\n", "    COUNT.append(1)\n    return len(COUNT)\n"
    )
    with (folder / "device.py").open("a", encoding="utf-8") as file:
        file.write("\n\nCOUNT = []\n")
    done = bench(tmp_path / "records", "--impl", str(folder), *ONE)
    assert done.returncode == 1
    (timed,) = [r for r in kept(tmp_path / "records") if r["kind"] == "bench"]
    assert timed["status"] == "error"
    assert "recompiled 1 time(s) inside the timed window" in timed["reason"]
    assert "blocks" not in timed["body"]


def test_a_decoding_is_timed_where_the_task_generates(tmp_path: Path) -> None:
    """The sample group alone: the gate is asked elsewhere."""
    group = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "suites/bench/test_group.py", "--blocks", "1"]
    asked = [
        "--impl",
        "numpy",
        "--variant",
        "scratch",
        "--task",
        "seq2seq",
        "--cell",
        "gru",
        "--size",
        "tiny",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, *group, *asked, "--records", str(tmp_path)],
        cwd=ROOT,
        env=Environment("numpy", sys.executable, "cpu", 1).variables(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (timed,) = kept(tmp_path)
    works = ("train", "floor_train", "infer", "floor_infer", "decode", "floor_decode")
    assert tuple(block["what"] for block in timed["body"]["blocks"]) == works
    assert timed["body"]["tokens_per_decode"] == 3 * 12
    assert timed["body"]["phases"]["first_decode_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "task", "cell"),
    [
        ([], "adding,char_lm", "lstm"),
        (["--full"], None, None),
        (["--full", "--task", "tagging"], "tagging", None),
        (["--full", "--cell", "rnn"], None, "rnn"),
        (["--cell", "rnn"], "adding,char_lm", "rnn"),
        (["--task", "sentiment"], "sentiment", "lstm"),
        (["--task", "forecast"], "forecast", "lstm"),
        (["--data", "tinyshakespeare"], None, "lstm"),  # the data say which tasks
    ],
)
def test_the_default_is_a_stated_choice(
    arguments: list[str], task: str | None, cell: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = parse(["--impl", "numpy", *arguments])
    found = narrowed(asked)
    assert (found.task, found.cell) == (task, cell)
    told = capsys.readouterr().out
    for name, value in (("task", task), ("cell", cell)):
        assert (f"--{name} {value}" in told) is (value != vars(asked)[name])
    assert ("--full takes every task and cell" in told) is (told != "")


@pytest.mark.parametrize(("more", "task"), [([], "adding,char_lm"), (["--full"], None)])
def test_a_run_takes_the_default_choice(
    monkeypatch: pytest.MonkeyPatch, more: list[str], task: str | None
) -> None:
    seen: list[str | None] = []

    def enough(options: argparse.Namespace) -> None:
        seen.append(options.task)
        raise UserError("enough")

    monkeypatch.setattr(suites.bench.__main__, "rows", enough)
    assert main(["--impl", "numpy", *more]) == 2
    assert seen == [task]


@pytest.mark.parametrize(
    ("rows", "passes", "blocks"), [(1, 10, 42), (5, 10, 38), (11, 5, 17), (22, 3, 8), (286, 3, 5)]
)
def test_fewer_rows_take_more_passes_and_blocks(rows: int, passes: int, blocks: int) -> None:
    assert budget(rows) == (passes, blocks)


@pytest.mark.parametrize(
    ("given", "words"),
    [((), "1 row(s), 10 passes of 42 blocks"), (("--passes", "2"), "1 row(s), 2 passes of 42")],
)
def test_the_budget_is_told_and_may_be_chosen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], given: tuple[str, ...], words: str
) -> None:
    asked = ["--impl", "numpy", "--variant", "scratch", "--task", "adding", "--cell", "rnn", "--parity-only"]
    assert main([*asked, "--dtype", "float32", "--records", str(tmp_path), *given]) == 0
    assert words in capfd.readouterr().out


def test_what_is_proven_is_what_is_timed() -> None:
    options = narrowed(parse(["--impl", "numpy"]))
    asked = gate_options(vars(options))
    given = dict(zip([flag.removeprefix("--") for flag in asked[::2]], asked[1::2], strict=True))
    proven = selection.questions(({"impl": "numpy"} | given).get, size="tiny", dtypes=spec.DTYPES)
    _, timed = rows(options)
    pairs = {("adding", "lstm"), ("char_lm", "lstm")}
    assert {(q.row.task, q.row.cell) for q in timed} == pairs
    assert {(q.row.task, q.row.cell) for q in proven} == pairs


def test_a_proof_stays_at_its_own_size() -> None:
    options = narrowed(parse(["--impl", "numpy", "--batch", "1", "--hidden", "9", "--length", "8"]))
    asked = gate_options(vars(options))
    assert {"--batch", "--hidden", "--length", "--size"}.isdisjoint(asked)


def test_of_the_variants_asked_for_each_takes_those_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    options = narrowed(parse(["--impl", "numpy,torch", "--task", "adding", "--variant", "native,tuned"]))
    _, timed = rows(options)
    assert [(q.row.implementation, q.row.variant) for q in timed] == [
        ("numpy", "tuned"),
        ("torch", "native"),
        ("torch", "tuned"),
    ]
    assert gate_options(of_one(options, "numpy"))[:2] == ["--variant", "tuned"]
    rows(narrowed(parse(["--impl", "numpy,torch", "--task", "adding", "--variant", "native"])))
    assert "numpy: left out, for it has no variant native" in capsys.readouterr().out


@pytest.mark.parametrize("impls", ["numpy", "numpy,torch"])
def test_a_variant_that_none_has_is_a_mistake(impls: str) -> None:
    known = "native" if "torch" in impls else "tuned"
    with pytest.raises(UserError, match=f"unknown variant 'tunned'.*{known}"):
        rows(narrowed(parse(["--impl", impls, "--variant", "tuned,tunned"])))


def test_the_help_says_what_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    for words in ("adding, char_lm by default", "lstm by default", "--full takes them all"):
        assert words in told
    assert "all by default" not in told.replace("all that the folder has by default", "")


def interruptible() -> None:
    """A shell's background jobs ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    options = ["--impl", "numpy", *ONE, "--passes", "3"]
    with subprocess.Popen(
        command(tmp_path, *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    ) as run:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not list(tmp_path.glob("bench-*.json")):
            time.sleep(0.05)
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(how)
        output = run.communicate(timeout=60)[0]
        if how == signal.SIGINT:
            assert run.returncode == 130
            assert "Interrupted. What was finished is kept" in output
            assert "Traceback" not in output
        assert psutil.wait_procs(started, timeout=60)[1] == []  # nothing is left behind
    finished = len([r for r in kept(tmp_path) if r["kind"] == "bench"])
    assert finished >= 1
    done = bench(tmp_path, *options)
    assert done.returncode == 0, done.stdout
    assert "of 4 groups are measured already" in done.stdout
    assert len({r["key"] for r in kept(tmp_path) if r["kind"] == "bench"}) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "nunpy"], "Did you mean 'numpy'"),
        (["--impl", "numpy", "--task", "addin"], "Did you mean 'adding'"),
        (["--impl", "numpy", "--cell", "lsmt"], "Did you mean 'lstm'"),
        (["--impl", "numpy", "--pases", "2"], "Did you mean --passes"),
        (["--impl", "numpy", "--passes", "0"], "above zero"),
        (["--impl", "numpy", "--device", "gpu"], "CPU only"),
        (["--impl", "."], "expected one of scratch.py"),
        (["--python", "torch=/nowhere/python"], "NAME=EXECUTABLE"),
        ([], "expected --impl NAME"),
    ],
)
def test_mistakes_are_told_without_a_traceback(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = bench(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
