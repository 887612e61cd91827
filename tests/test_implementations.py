"""Finding implementations: by name, by path, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.errors import UserError
from suites import implementations, spec
from suites.interface import Unavailable

BUILD = "def build(task, dtype, device):\n    return helper.NAME\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    (path / "scratch.py").write_text("from . import helper\n" + BUILD, encoding="utf-8")
    (path / "helper.py").write_text("NAME = 'mine'\n", encoding="utf-8")
    return path


def test_those_of_the_project() -> None:
    assert implementations.names() == ["jax", "numpy", "tensorflow", "torch"]
    assert implementations.find("numpy").variants == ["scratch", "tuned", "remat"]
    assert implementations.find("torch").variants == ["scratch", "native", "tuned", "remat"]
    assert implementations.find("torch").usual == ["scratch", "native", "tuned"]


def test_a_folder_that_has_but_a_variant_on_request_has_it(folder: Path) -> None:
    (folder / "scratch.py").rename(folder / "remat.py")
    assert implementations.find(str(folder)).usual == ["remat"]


def test_a_folder_elsewhere_with_relative_imports(folder: Path) -> None:
    found = implementations.find(str(folder))
    assert (found.name, found.variants) == ("mine", ["scratch"])
    assert implementations.builder(found, "scratch")(spec.load("adding"), "float32", "cpu") == "mine"
    assert implementations.device_module(found).PACKAGES == ("numpy",)
    assert implementations.deviations(found) == []


def test_a_copy_does_not_pass_for_the_original(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "scratch.py").write_text(BUILD, encoding="utf-8")
    assert implementations.find(str(tmp_path / "torch")).name == "torch-elsewhere"


def test_a_missing_framework_is_unavailable_with_its_name(folder: Path) -> None:
    (folder / "native.py").write_text("import no_such_framework\n" + BUILD, encoding="utf-8")
    with pytest.raises(Unavailable, match="needs the package 'no_such_framework', not installed"):
        implementations.builder(implementations.find(str(folder)), "native")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "def biuld(task, dtype, device): ...\n",
            r"expected a function build\(task, dtype, device\), got none",
        ),
        ("build = 3\n", "got int"),
        ("def build(:\n", r"native.py, line 1"),
        ("from . import nowhere\n", "nowhere"),
    ],
)
def test_a_broken_module_is_named(folder: Path, source: str, words: str) -> None:
    (folder / "native.py").write_text(source, encoding="utf-8")
    with pytest.raises((UserError, ImportError), match=words):
        implementations.builder(implementations.find(str(folder)), "native")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("troch", "Did you mean 'torch'"),
        ("no/such/folder", "expected a folder, got none"),
        ("suites", "expected one of scratch.py, native.py, tuned.py, remat.py"),
    ],
)
def test_what_is_no_implementation(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        implementations.find(name)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("id = 3", "id: expected a text, got 3"),
        ('id = "a"\nvariant = "native"\nreason = "r"\nlink = "here"', "link: expected an https address"),
        (
            'id = "a"\nvariant = "native"\nreason = "r"\nlink = "https://x"\ncells = ["lsmt"]',
            r"cells: expected a list out of rnn.*got \['lsmt'\]",
        ),
    ],
)
def test_a_wrong_deviation_is_named(folder: Path, entry: str, words: str) -> None:
    (folder / "deviations.toml").write_text("[[deviation]]\n" + entry, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        implementations.deviations(implementations.find(str(folder)))


@pytest.mark.parametrize("name", implementations.names())
def test_the_projects_own_deviations_are_whole(name: str) -> None:
    for stated in implementations.deviations(implementations.find(name)):
        assert stated.variant in implementations.find(name).variants
