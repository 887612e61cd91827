"""Arrows run one way: impls -> suites.spec, suites.interface; suites -> results; reports -> results."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("suites", "impls", "results", "reports", "tests")

# who may import what of ours; a folder may always import itself, an implementation only relatively
ALLOWED = {
    "results": ("results",),
    "reports": ("reports", "results"),
    "suites": ("suites", "results"),
    "impls": ("suites.spec", "suites.interface"),
}


def imported(source: str) -> list[str]:
    """The absolute modules that a source imports, ``from a import b`` as ``a`` and ``a.b``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def strays(room: str, source: str) -> list[str]:
    """Imports of ours that the room may not make."""
    ours = [name for name in imported(source) if name.split(".")[0] in ROOMS]
    return [
        name for name in ours if not any((name + ".").startswith(allowed + ".") for allowed in ALLOWED[room])
    ]


def climbs(source: str) -> list[int]:
    """Lines of relative imports that leave the folder."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.level > 1
    ]


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_run_one_way(room: str) -> None:
    sources = sorted((ROOT / room).rglob("*.py"))
    assert sources
    found = {str(path.relative_to(ROOT)): strays(room, path.read_text(encoding="utf-8")) for path in sources}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_implementation_leaves_its_folder() -> None:
    for path in sorted((ROOT / "impls").rglob("*.py")):
        assert climbs(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("impls", "import suites.parity"),
        ("impls", "from suites import tasks"),
        ("impls", "from impls.numpy import scratch"),
        ("suites", "import impls.torch"),
        ("suites", "from reports import tables"),
        ("reports", "from suites.spec import Task"),
        ("results", "import suites"),
        ("results", "from tests import x"),
    ],
)
def test_a_stray_import_is_seen(room: str, source: str) -> None:
    assert strays(room, source)


def test_a_climb_is_seen() -> None:
    assert climbs("from ..numpy import scratch") == [1]
