"""Each environment has a group and a lock that meets it; each room imports only what its group holds."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from importlib import metadata
from pathlib import Path

import nox
import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
ENVIRONMENTS = sorted(set(GROUPS) - {"harness", "reports"})
ROOMS = ("suites", "impls", "results", "reports", "tests")
MACHINES = [
    {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    {"sys_platform": "linux", "platform_machine": "aarch64", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
]
PYTHONS = [
    {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.1"} for minor in (11, 12, 13, 14)
]


def requirements(group: str) -> list[Requirement]:
    return [Requirement(text) for text in nox.project.dependency_groups({"dependency-groups": GROUPS}, group)]


# Locks


def pins(text: str) -> list[Requirement]:
    """The pins of a lock. Raises ValueError for a line that names no exact version, a host or a path."""
    found = []
    for line in text.splitlines():
        if "://" in line or re.search(r"(^|[\s@'\"])([A-Za-z]:[\\/]|[\\/~.]*[\\/])", line):
            raise ValueError(f"a host or a path: {line}")
        if line.lstrip().startswith("#"):
            continue
        try:
            pin = Requirement(line)
        except InvalidRequirement as error:
            raise ValueError(f"no requirement: {line}") from error
        if pin.url or pin.extras or not re.fullmatch(r"==[^*,]+", str(pin.specifier)):
            raise ValueError(f"no exact version: {line}")
        found.append(pin)
    return found


def unmet(asked: list[Requirement], pinned: list[Requirement]) -> list[str]:
    """Each requirement that not exactly one pin meets, on some machine and Python."""
    found = []
    for machine, python in itertools.product(MACHINES, PYTHONS):
        where = machine | python
        here = [pin for pin in pinned if pin.marker is None or pin.marker.evaluate(where)]
        for wish in asked:
            if wish.marker is not None and not wish.marker.evaluate(where):
                continue
            versions = [
                str(pin.specifier).removeprefix("==")
                for pin in here
                if canonicalize_name(pin.name) == canonicalize_name(wish.name)
            ]
            if len(versions) != 1 or not wish.specifier.contains(versions[0], prereleases=True):
                found.append(f"{wish}: {versions} on {where}")
    return found


def test_every_environment_has_a_lock_and_every_lock_an_environment() -> None:
    assert sorted(path.stem for path in (ROOT / "locks").glob("*.txt")) == ENVIRONMENTS


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_lock_meets_its_group(name: str) -> None:
    assert unmet(requirements(name), pins((ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "lock", ["", "numpy==1.22.0", "numpy==1.26.4\nnumpy==2.0.0", "numpy==2.0.0 ; os_name == 'nt'"]
)
def test_an_unmet_group_is_seen(lock: str) -> None:
    assert unmet([Requirement("numpy>=1.23")], pins(lock))


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "--index-url https://example.org/simple",
        "--find-links wheels",
        "numpy @ file:///wheels/numpy.whl",
        "./wheels/numpy.whl",
        "# made from /home/someone/pyproject.toml",
        r"# made from C:\work\pyproject.toml",
    ],
)
def test_a_loose_line_of_a_lock_is_seen(line: str) -> None:
    with pytest.raises(ValueError, match=r"no requirement|no exact version|a host or a path"):
        pins(line)


def test_the_group_of_the_oracle_is_free_to_be_old() -> None:
    """NumPy 1.23 must stay possible: environments with old pins are to come."""
    harness = {r.name: r for r in map(Requirement, GROUPS["harness"])}
    assert "1.23.5" in harness["numpy"].specifier


# Imports


def outside(source: str, group: str) -> list[str]:
    """Modules that a source imports from distributions that the group does not name."""
    held = {canonicalize_name(r.name) for r in requirements(group)}
    known = metadata.packages_distributions()
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        for module in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - set(ROOMS):
            if held.isdisjoint(canonicalize_name(name) for name in known.get(module, [module])):
                found.append(module)
    return found


@pytest.mark.parametrize(
    ("folder", "group"),
    [
        ("suites", "harness"),
        ("results", "harness"),
        ("reports", "reports"),
        ("tests", "numpy"),
        ("impls/numpy", "harness"),
        ("impls/torch", "torch"),
        ("impls/jax", "jax"),
        ("impls/tensorflow", "tensorflow"),
    ],
)
def test_a_room_imports_what_its_group_names(folder: str, group: str) -> None:
    """A package that only happens to be installed is missing after the next change of a lock."""
    sources = sorted((ROOT / folder).rglob("*.py"))
    assert sources
    found = {str(path): outside(path.read_text(encoding="utf-8"), group) for path in sources}
    assert {path: modules for path, modules in found.items() if modules} == {}


def test_a_stray_package_is_seen() -> None:
    assert outside("import pandas", "harness") == ["pandas"]
    assert outside("from torch.nn import LSTM", "jax") == ["torch"]
    assert (
        outside("import json\nimport suites.spec\nfrom . import cells\nimport numpy as np", "harness") == []
    )
