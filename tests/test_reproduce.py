"""From a fresh measurement to its ids, and from an id to the same number again, as a user goes."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from results import ids, lookup, store
from results.errors import UserError
from results.lookup import Found
from results.record import Record
from suites import reproduce

ROOT = Path(__file__).parent.parent
ROW = ("--impl", "numpy", "--variant", "scratch", "--task", "adding", "--cell", "rnn", "--dtype", "float32")
SIZED = ("--size", "tiny", "--threads", "1")


def run(*arguments: str, code: int = 0) -> str:
    """A module, as nox runs it; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of every kind that a measurement leaves: one tiny row, proven, timed, weighed, trained."""
    folder = tmp_path_factory.mktemp("measured")
    own = ("--records", str(folder), *ROW, *SIZED)
    run("suites.bench", *own, "--passes", "2", "--blocks", "1")
    run("suites.train", *own)
    return folder


def named(folder: Path, what: str) -> str:
    """The id of the one number of this kind."""
    records = [record for record in store.read_all(folder)[0] if record["kind"] == ids.KINDS[what]]
    (name,) = {ids.of(record, what) for record in records}
    return name


def test_every_field_of_a_fresh_record_is_documented(measured: Path) -> None:
    module = _fields_test()
    records = store.read_all(measured, keep_aside=False)[0]
    assert {record["kind"] for record in records} == {"parity", "bench", "memory", "training", "quiet"}
    assert {path for record in records for path in module.missing(record)} == set()


def _fields_test() -> ModuleType:
    """tests/results/test_fields.py, whose walk over a record serves here too."""
    spec = importlib.util.spec_from_file_location(
        "fields_test", ROOT / "tests" / "results" / "test_fields.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_number_is_measured_again_and_judged(measured: Path, tmp_path: Path) -> None:
    new = ("--new", str(tmp_path / "new"))
    asked = (named(measured, "train"), "--records", str(measured))
    assert "suites.bench" in run("suites.reproduce", *asked, *new)
    records = store.read_all(tmp_path / "new")[0]
    assert next(r for r in records if r["kind"] == "parity")["created"] <= min(
        r["created"] for r in records if r["kind"] == "bench"
    )
    assert sorted(r["body"]["pass"] for r in records if r["kind"] == "bench") == [0, 1]
    assert {ids.threads(r) for r in records if r["kind"] == "bench"} == {"1"}
    done = subprocess.run(
        [sys.executable, "-m", "reports.reproduced", *asked, *new],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Which of the two depends on the machine of now; that they say so does not.
    word = {0: "reproduced: ", 1: "not within the interval: "}[done.returncode]
    assert done.stdout.splitlines()[-1].startswith(word)
    for text in ("then  ", "now   ", "now over then: time "):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("what", "said"), [("quality", "reproduced: to the bit"), ("parity", "reproduced: passed again")]
)
def test_what_does_not_hang_on_speed_comes_out_the_same(
    measured: Path, tmp_path: Path, what: str, said: str
) -> None:
    asked = (named(measured, what), "--records", str(measured), "--new", str(tmp_path / "new"))
    run("suites.reproduce", *asked)
    assert said in run("reports.reproduced", *asked)


def test_memory_is_weighed_several_times(measured: Path, tmp_path: Path) -> None:
    asked = (named(measured, "memory"), "--records", str(measured), "--new", str(tmp_path / "new"))
    run("suites.reproduce", *asked)
    kinds = Counter(record["kind"] for record in store.read_all(tmp_path / "new")[0])
    assert kinds == {"parity": 1, "memory": reproduce.MEMORY_RUNS}


# Without measuring


@pytest.fixture
def published() -> list[Record]:
    """The records of the first published report: of an older source and spec."""
    return store.read_all(ROOT / "results" / "published" / "2026-11-cpu-2-cores", keep_aside=False)[0]


def options(**given: Any) -> Any:
    return reproduce.parse(["x", "--new", "nowhere", *(f"--{key}={value}" for key, value in given.items())])


def of(records: list[Record], implementation: str, kind: str = "bench") -> Record:
    found = [r for r in records if r["row"]["implementation"] == implementation and r["kind"] == kind]
    return copy.deepcopy(found[0])


@pytest.mark.parametrize("implementation", ["numpy", "torch", "jax", "tensorflow"])
def test_the_row_of_a_record_is_asked_again(published: list[Record], implementation: str) -> None:
    record = of(published, implementation)
    question = reproduce.asked(options(), record)
    assert question.row.record() == record["row"]
    assert (
        not reproduce.gained(record, question)
        or "the spec states more since" in reproduce.gained(record, question)[0]
    )


def test_what_a_spec_has_gained_is_said(published: list[Record]) -> None:
    record = of(published, "numpy")
    question = reproduce.asked(options(), record)
    record["spec"].pop("schedule")
    record["spec"]["model"].pop("hidden")
    (line,) = reproduce.gained(record, question)
    assert "model.hidden" in line
    assert "schedule.steps" in line


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("training.clip", 0.5, r"the question is another now: spec\.training\.clip: 0\.5, now "),
        ("training.betas", [0.9, 0.99], r"spec\.training\.betas"),
        ("training.warmth", 3, r"spec\.training\.warmth: 3, now gone"),
        ("size", "huge", r"this checkout cannot ask that: .*'huge'.*git checkout COMMIT"),
    ],
)
def test_another_question_is_refused(published: list[Record], path: str, value: Any, said: str) -> None:
    record = of(published, "numpy")
    *way, last = path.split(".")
    target = record["spec"]
    for step in way:
        target = target[step]
    target[last] = value
    said = said.replace("COMMIT", record["provenance"]["commit"][:12])
    with pytest.raises(UserError, match=said):
        reproduce.asked(options(), record)


def test_an_implementation_of_elsewhere_needs_its_folder(published: list[Record], tmp_path: Path) -> None:
    record = of(published, "numpy")
    record["row"]["implementation"] = "mine"
    with pytest.raises(UserError, match="--impl PATH"):
        reproduce.asked(options(), record)
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scratch.py").write_text("", encoding="utf-8")
    assert reproduce.asked(options(impl=tmp_path / "mine"), record).folder.path == tmp_path / "mine"
    with pytest.raises(UserError, match="expected a folder of the name mine"):
        reproduce.asked(options(impl=tmp_path / "other"), record)


def test_a_task_of_elsewhere_is_asked_by_its_file(published: list[Record]) -> None:
    record = of(published, "numpy")
    file = ROOT / "suites" / "tasks" / record["row"]["task"] / "task.toml"
    assert reproduce.asked(options(task=file), record).asked == str(file)


def test_a_gate_that_does_not_pass_weighs_nothing(
    published: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = of(published, "numpy", "memory")
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(reproduce, "said", lambda _, *arguments: ran.append(arguments) or 1)
    given = options()
    given.new = tmp_path
    with pytest.raises(UserError, match="not proven here and now"):
        reproduce.reproduce(given, Found("a-memory", [record], [tmp_path]))
    assert [arguments[1] for arguments in ran] == ["suites.bench"]


def test_a_run_that_leaves_nothing_is_said(
    published: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "said", lambda *_: 1)
    given = options()
    given.new = tmp_path
    with pytest.raises(UserError, match="expected a new record of kind bench, got none"):
        reproduce.reproduce(given, Found("a-train", [of(published, "numpy")], [tmp_path]))


def test_an_interrupt_is_handed_on(
    published: list[Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Found("a-train", [of(published, "numpy")], [tmp_path])
    monkeypatch.setattr(reproduce, "said", lambda *_: reproduce.INTERRUPTED)
    monkeypatch.setattr(lookup, "look_up", lambda _: found)
    assert reproduce.main(["a", "--new", str(tmp_path)]) == reproduce.INTERRUPTED
    assert "measures anew" in capsys.readouterr().err


def test_mistakes_are_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, said in (
        (["zz", "--new", str(tmp_path)], "unknown id 'zz'"),
        (["zz", "--new", str(tmp_path), "--pases", "3"], "Did you mean --passes"),
    ):
        assert reproduce.main(arguments) == 2
        assert said in capsys.readouterr().err


def test_the_environment_of_an_id(published: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    name = ids.of(of(published, "torch"), "train")
    assert reproduce.main([name, "--environment"]) == 0
    assert capsys.readouterr().out.split() == ["torch"]
