"""The page "Prove your own layer", run as it stands: its files, its commands, its outputs.

Its layer is PyTorch's, so the walk is done in that environment (`nox -s own-layer`); what
needs no framework is also done by `nox -s tests`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

from suites.recording import ROOT

PAGE = (ROOT / "suites" / "parity" / "README.md").read_text(encoding="utf-8")
# What was measured; indices and counts are not. Of more than a minute pytest says "61.00s (0:01:01)".
NUMBER = re.compile(r"-?\d+\.\d+s \(\d+:\d\d:\d\d\)|-?\d+\.\d+s\b|-?\d+\.\d+(?:e[-+]\d+)?|\d+:\d\d")
MEASURED = ("expected", "got", "error")  # the same on every machine, but for rounding


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """What the page's gate commands select, after ``--``."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [
        shlex.split(line.split(" -- ")[1]) for line in lines if line.startswith("nox -s parity-torch-cpu")
    ]


def written(block: str, folder: Path) -> tuple[Path, str]:
    """The file that a block is about, by its first line, and the rest of the block."""
    first, _, rest = block.partition("\n")
    named = re.match(r"# my_layer/(\w+\.py)", first)
    assert named, f"expected the block's first line to name its file, got {first!r}"
    return folder / named[1], rest


def patched(text: str, difference: str) -> str:
    """The text after a diff without line numbers; what it takes away must stand there once."""
    lines = difference.splitlines(keepends=True)
    old = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
    new = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
    assert text.count(old) == 1, f"expected once, got {text.count(old)} times:\n{old}"
    return text.replace(old, new)


def same(shown: str, told: str) -> bool:
    """Whether a line says what the page shows: the same words, and measured numbers within 1 %."""
    if (
        "  ok  " in shown
    ):  # which tensor of a passed level comes nearest to its tolerance hangs on the machine
        return "  ok  " in told and shown.split()[:3] == told.split()[:3]
    if NUMBER.sub("#", shown) != NUMBER.sub("#", told):
        return False
    if not shown.strip().startswith(MEASURED):
        return True
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(told), strict=True)
    return all(float(b) == pytest.approx(float(a), rel=0.01) for a, b in pairs)


def first_missing(shown: str, told: str) -> str | None:
    """The first line of the page's output that the gate's does not have, in this order."""
    rest = iter(told.splitlines())
    for line in filter(str.strip, shown.splitlines()):
        if not any(same(line, other) for other in rest):
            return line
    return None


def gate(folder: Path, selected: list[str]) -> subprocess.CompletedProcess[str]:
    """The gate with the page's options, its folder replaced by ours."""
    options = [str(folder) if option == "../my_layer" else option for option in selected]
    assert str(folder) in options
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "pyproject.toml",
        "suites/parity",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-n", "0"]  # rows in the page's order
    command += ["--records", str(folder.parent / "records"), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_example_goes_from_failing_to_passing(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the page's layer is PyTorch's: nox -s own-layer")
    folder = tmp_path / "my_layer"
    folder.mkdir()
    for block in blocks("python"):
        path, text = written(block, folder)
        path.write_text(text, encoding="utf-8")
    try_again, at_last = commands()
    walk = zip_longest([None, *blocks("diff")], [try_again, try_again, at_last], blocks("text"), [1, 1, 0])
    for difference, selected, shown, exit_code in walk:
        if difference is not None:
            path, text = written(difference, folder)
            path.write_text(patched(path.read_text(encoding="utf-8"), text), encoding="utf-8")
        done = gate(folder, selected)
        told = done.stdout + done.stderr
        assert done.returncode == exit_code, told
        missing = first_missing(shown, told)
        assert missing is None, f"the page shows, and the gate does not say:\n{missing}\n\n{told}"


def test_the_diffs_apply_to_the_files(tmp_path: Path) -> None:
    files = dict(written(block, tmp_path) for block in blocks("python"))
    for block in blocks("diff"):
        path, text = written(block, tmp_path)
        files[path] = patched(files[path], text)
    for path, text in files.items():
        compile(text, path.name, "exec")
    assert {path.name for path in files} == {"layer.py", "native.py"}


@pytest.mark.parametrize(
    ("shown", "told", "alike"),
    [
        ("  error      1.057e+00", "  error      1.058e+00", True),
        ("  error      1.057e+00", "  error      1.257e+00", False),
        ("  tolerance  4.212e-14 (64 u kappa)", "  tolerance  3.9e-14 (64 u kappa)", True),
        ("level 1 (forward): hidden.encoder: x", "level 1 (forward): logits: x", False),
        ("  where      index [4, 6], first at t = 0", "  where      index [4, 6], first at t = 1", False),
        ("  level 1  forward  error 0.0e+00  ok  h", "  level 1  forward  error 9.0e-01  x   h", False),
        ("4 passed, 2 skipped in 4.15s", "4 passed, 2 skipped in 9.01s", True),
        ("4 passed, 2 skipped in 4.15s", "4 passed, 2 skipped in 98.92s (0:01:38)", True),
        ("4 passed, 2 skipped in 4.15s", "5 passed, 2 skipped in 4.15s", False),
    ],
)  # fmt: skip
def test_the_outputs_are_compared(shown: str, told: str, alike: bool) -> None:
    assert same(shown, told) is alike
    assert (first_missing(shown, f"before\n{told}\nafter") is None) is alike


def test_a_diff_must_fit() -> None:
    with pytest.raises(AssertionError, match="expected once, got 0 times"):
        patched("a\nb\n", " a\n-c\n+d\n")
    assert patched("a\n\nb\n", " a\n\n-b\n+c\n") == "a\n\nc\n"


def test_the_workflow_is_one_that_can_be_trusted() -> None:
    yaml = pytest.importorskip("yaml", reason="nox -s tests")
    (block,) = blocks("yaml")
    workflow = yaml.safe_load(block)
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
    assert all(given["persist-credentials"] is False for given in checkouts)
    assert [
        bool(re.fullmatch("[0-9a-f]{40}", str(given["ref"]))) for given in checkouts if "ref" in given
    ] == [True]
    assert any("--no-venv -s parity-torch-cpu" in step.get("run", "") for step in job["steps"])
