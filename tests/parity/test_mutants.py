"""The gate is itself tested: each deliberate defect dies by a number, and the campaign can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from results.errors import UserError
from suites import implementations
from suites.parity.mutants.__main__ import campaign, main
from suites.parity.mutants.mutation import HERE, LEVELS, Mutation, mutated, names, read, try_out

NUMPY, TORCH = read(HERE / "numpy.toml"), read(HERE / "torch.toml")

# The reference list, but for what breaks the harness (tests/parity/test_harness.py).
CELL = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 20}
LOSS_AND_GRADIENT = {21, 25, 27, 29, 30}
TRAINING = {32, 33, 34, 35, 36, 37, 38, 40, 41, 42, 44}
PRECISION = {47, 48}
ONE_LAYER = CELL | LOSS_AND_GRADIENT | TRAINING | PRECISION
FAMILY = {16, 17, 22, 26, 31, 45, 49}  # lengths, both directions, dropout, a decoder, what it writes
FUSED = {4, 7, 8, 10, 12}  # inside the kernel of a framework's own layer

SWAP, UNENDING = (next(mutation for mutation in NUMPY if mutation.number == n) for n in (1, 49))
HARMLESS = replace(SWAP, name="harmless", old=("def sigmoid(a):",), new=("def sigmoid(a):  # changed",))


def numbers(mutations: list[Mutation], variant: str) -> set[int]:
    return {mutation.number for mutation in mutations if mutation.number and mutation.variant == variant}


@pytest.mark.parametrize("mutation", NUMPY, ids=lambda mutation: mutation.name)
def test_every_mutation_dies_as_stated(mutation: Mutation) -> None:
    verdict = try_out("numpy", mutation)
    assert verdict.problem == "", verdict


def test_every_listed_mutation_is_there() -> None:
    assert numbers(NUMPY, "scratch") == ONE_LAYER | FAMILY
    assert numbers(TORCH, "scratch") == ONE_LAYER | FAMILY
    assert numbers(TORCH, "native") == (ONE_LAYER | FAMILY) - FUSED


def test_every_task_that_is_more_than_one_layer_and_every_level_has_mutations() -> None:
    tasks = {"sentiment", "names", "tagging", "seq2seq", "caption"}
    assert tasks < {mutation.task for mutation in NUMPY}
    assert {mutation.level for mutation in NUMPY} == set(LEVELS)


@pytest.mark.parametrize("impl", names())
def test_there_are_mutations_of_our_own(impl: str) -> None:
    own = {mutation.name for mutation in read(HERE / f"{impl}.toml") if not mutation.number}
    assert len(own) >= 12


@pytest.mark.parametrize("impl", names())
def test_every_text_is_in_its_file_once(impl: str) -> None:
    folder = implementations.find(impl).path
    for mutation in read(HERE / f"{impl}.toml"):
        assert mutated(mutation, folder) != (folder / mutation.file).read_text(encoding="utf-8")


# The campaign can fail.


def run(mutation: Mutation, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = campaign("numpy", [mutation])
    return code, capsys.readouterr().out


def test_a_mutation_that_dies_as_stated_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    code, table = run(SWAP, capsys)
    assert code == 0
    for word in ("1/1", "i and f swapped", "hidden.encoder", " / ", "killed", "1 of 1 died as stated"):
        assert word in table


def test_a_row_that_writes_is_sound_at_level_7(capsys: pytest.CaptureFixture[str]) -> None:
    code, table = run(UNENDING, capsys)
    assert code == 0
    for word in ("end-of-sequence token ignored", "tokens", "greedy", "on 1 sound rows"):
        assert word in table


def test_a_death_before_its_level_needs_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    late = replace(SWAP, level=3)
    code, table = run(late, capsys)
    assert code == 1
    assert "dies before level 3" in table
    code, table = run(replace(late, earlier="the forward pass shows it"), capsys)
    assert code == 0
    assert "killed early: the forward pass shows it" in table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"old": HARMLESS.old, "new": HARMLESS.new}, "lives"),
        ({"new": ("a_i, a_f, a_g, a_x = np",)}, "crashes: NameError"),
        ({"new": ("syntax error = np",)}, "crashes: UserError"),
        ({"new": ("a_i, a_f, a_g, a_o = None + np",)}, "crashes: TypeError"),
        ({"level": 0}, "dies later than at level 0"),
        ({"tensor": "logits"}, "names another tensor than logits"),
        ({"where": "carry random"}, "is seen elsewhere than at carry random"),
        ({"earlier": "no reason"}, "dies at level 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mutation_that_does_not_die_as_stated_fails(
    change: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, table = run(replace(SWAP, **change), capsys)  # type: ignore[arg-type]
    assert code == 1
    assert words in table
    assert "Not as stated: i and f swapped" in table


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("c_new = f * c + i * g", "c_new = np.nan * (f * c + i * g)", "not finite"),
        ("np.stack(hs, axis=1), state", "np.stack(hs), state", "wrong shape"),
        ("return logits, hidden", 'return logits.astype("f4"), hidden', "wrong dtype"),
    ],
)
def test_a_death_without_a_number_fails(old: str, new: str, problem: str) -> None:
    verdict = try_out("numpy", replace(SWAP, old=(old,), new=(new,)))
    assert verdict.problem == f"dies without a number: {problem}"
    assert verdict.level == 1


@pytest.mark.parametrize("old", ["not in the file", "np.tanh"], ids=["nowhere", "often"])
def test_a_text_that_is_not_there_once_is_named(old: str) -> None:
    with pytest.raises(UserError, match=r"'i and f swapped': expected the text .* once .* got it \d+ times"):
        campaign("numpy", [replace(SWAP, old=(old,))])


def test_a_row_that_fails_without_a_defect_is_no_ground(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The sound copy must pass: here the implementation is wrong before it is mutated."""
    wrong = tmp_path / "numpy"
    wrong.mkdir()
    for path in implementations.find("numpy").path.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        (wrong / path.name).write_text(text.replace("np.tanh(c_new)", "c_new"), encoding="utf-8")
    real = implementations.find
    monkeypatch.setattr(implementations, "find", lambda impl: real(str(wrong) if impl == "numpy" else impl))
    with pytest.raises(UserError, match="expected a sound row to mutate, got one that ends at level 1"):
        campaign("numpy", [SWAP])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--impl", "nump"], "Did you mean 'numpy'"),
        (["--impl", "numpy", "--only", "i and f swappd"], "Did you mean 'i and f swapped'"),
    ],
)
def test_mistakes_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_one_mutation_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--impl", "numpy", "--only", "no tanh on the cell"]) == 0
    assert "1 mutations of numpy" in capsys.readouterr().out


FILE = """
[[group]]
file = "scratch.py"
level = 1
tensor = "hidden"
{shared}
mutation = [{{ name = "a", old = "x", new = "y"{own} }}{more}]
"""


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"shared": 'lebel = "x"'}, "unknown key of a group 'lebel'. Did you mean 'level'"),
        ({"own": ", tensr = 1"}, "mutation 'a': unknown key 'tensr'. Did you mean 'tensor'"),
        ({"own": ', name = "b"'}, "expected a TOML file in UTF-8, got: Duplicate"),
        ({"more": ', { name = "a", old = "x", new = "z" }'}, "names that differ, got 'a' twice"),
        ({"own": ", level = 6"}, r"expected one of \(0, 1, 2, 3, 4, 5, 7\), got 6"),
        ({"own": ', tensor = ""'}, "expected the key 'tensor'"),
        ({"more": ', { name = "b", new = "z" }'}, "expected the key 'old'"),
        ({"more": ', { name = "b", old = ["x", "y"], new = "z" }'}, "as many texts in new as in old"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_file_is_told(parts: dict[str, str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text(FILE.format(**{"shared": "", "own": "", "more": ""} | parts), encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read(path)
