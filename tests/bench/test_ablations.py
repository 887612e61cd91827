"""Ablations are copies with a few texts replaced, which compute the same and are timed as any row is."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest

from results import store
from results.errors import UserError
from suites import implementations
from suites.bench.ablations import __main__ as ablations
from suites.bench.ablations.__main__ import WHOLE, Ablation, Change

TINY = ["--size", "tiny", "--passes", "1", "--blocks", "1", "--threads", "1"]


def differing(folder: Path, impl: str) -> list[str]:
    source = implementations.find(impl).path
    names = sorted(path.name for path in source.glob("*.py"))
    return filecmp.cmpfiles(source, folder, names, shallow=False)[1]


@pytest.mark.parametrize("impl", ablations.names())
def test_every_ablation_changes_the_files_that_it_names_and_no_other(impl: str, tmp_path: Path) -> None:
    known = ablations.read(impl)
    whole, *folders = ablations.copies(impl, known, tmp_path)
    assert (whole.name, differing(whole, impl)) == (WHOLE, [])
    assert len(folders) == len(known) > 0
    for folder, ablation in zip(folders, known, strict=True):
        assert folder.name == ablation.name
        assert differing(folder, impl) == sorted({change.file for change in ablation.changes})
        for name in differing(folder, impl):
            compile((folder / name).read_text(encoding="utf-8"), name, "exec")


@pytest.mark.parametrize("impl", ablations.names())
def test_every_ablation_has_its_line_on_the_page(impl: str) -> None:
    page = (implementations.find(impl).path / "TUNED.md").read_text(encoding="utf-8")
    for ablation in ablations.read(impl):
        assert f"`{ablation.name}`" in page, ablation.name


def test_a_text_that_has_moved_is_named(tmp_path: Path) -> None:
    gone = Ablation("without-it", "it", (Change("loops.py", "no such text", ""),))
    with pytest.raises(UserError, match=r"without-it.*once in loops\.py, got it 0 times.*numpy\.toml"):
        ablations.copies("numpy", [gone], tmp_path)
    with pytest.raises(UserError, match=r"once in nowhere\.py, got it 0 times"):
        ablations.copies("numpy", [Ablation("with-it", "it", (Change("nowhere.py", "x", ""),))], tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "nump"], "Did you mean 'numpy'"),
        (["--only", "without-table"], "Did you mean 'without-tables'"),
        (["--work", "a,b"], "without a comma"),
        (["--ony", "x"], "--only"),
    ],
)
def test_mistakes_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablations.main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tables]\nsays = 'x'\nchange = []\n", "begin with without- or with-, got 'tables'"),
        ("[with-x]\nsays = 'x'\n", "expected the keys says, change, got says"),
        ("[with-x]\nsays = 'x'\nchange = [{ file = 'a' }]\n", "expected the keys file, old, new, got file"),
        ("[with-x\n", "expected a TOML file"),
        ("[with-x]\nsays = 'x'\ndevice = 'gpus'\nchange = []\n", "unknown device 'gpus'"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(ablations, "HERE", tmp_path)
    with pytest.raises(UserError, match=words):
        ablations.read("numpy")


def test_what_says_something_on_a_gpu_alone_is_left_out_on_a_cpu_unless_named() -> None:
    known = ablations.read("torch")
    on_cpu, on_gpu = (
        [ablation.name for ablation in ablations.chosen(known, None, device)] for device in ("cpu", "gpu")
    )
    alone = ["without-cuda-graphs", "without-fused-adam-in-graphs", "with-torch-compile"]
    assert on_gpu == alone
    assert not {*on_cpu} & {*alone}
    assert [ablation.name for ablation in ablations.chosen(known, ",".join(alone), "cpu")] == alone


def test_where_none_says_something_they_are_named() -> None:
    """On a GPU JAX's LSTM is cuDNN's: every copy would be the whole once more."""
    with pytest.raises(UserError, match=r"--device gpu: expected .* got none\. --only names them: with"):
        ablations.chosen(ablations.read("jax"), None, "gpu")


def test_copies_are_proven_and_timed_beside_the_whole(tmp_path: Path) -> None:
    only = ["--only", "without-one-tanh,with-weights-turned", "--work", str(tmp_path)]
    assert ablations.main([*only, *TINY, "--task", "adding"]) == 0
    records, _ = store.read_all(tmp_path / "records")
    timed = {r["row"]["implementation"]: r["status"] for r in records if r["kind"] == "bench"}
    assert timed == dict.fromkeys((WHOLE, "without-one-tanh", "with-weights-turned"), "ok")
    proven = {r["row"]["implementation"] for r in records if (r["kind"], r["status"]) == ("parity", "passed")}
    assert proven == set(timed)
