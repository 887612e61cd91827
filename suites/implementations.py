"""Find an implementation by name (a folder of ``impls/``) or by path, at run time.

Nothing of ``impls`` is imported by name in the code of ``suites``: a folder that
lives elsewhere is a citizen like the rest.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from results.errors import UserError, unknown
from suites import precision
from suites.interface import Implementation, Unavailable
from suites.spec import CELLS, Task

IMPLS = Path(__file__).parent.parent / "impls"
VARIANTS = ("scratch", "native", "tuned", "remat")
ON_REQUEST = ("remat",)  # of the variants, those that a command takes only where it is asked to
PLAIN_DEVICE = "suites.plain_device"

Build = Callable[[Task, str, str], Implementation]


@dataclass(frozen=True)
class Deviation:
    """Where a framework's own layer cannot hold the canonical mathematics."""

    id: str
    variant: str
    cells: tuple[str, ...]
    reason: str
    link: str


@dataclass(frozen=True)
class Folder:
    """One implementation: its name in records, where it lies, its import name."""

    name: str
    path: Path
    package: str

    @property
    def variants(self) -> list[str]:
        """The variants that the folder holds, in the project's order."""
        return [variant for variant in VARIANTS if (self.path / f"{variant}.py").is_file()]

    @property
    def usual(self) -> list[str]:
        """Those that a command takes where none is asked for."""
        return [variant for variant in self.variants if variant not in ON_REQUEST] or self.variants


def names() -> list[str]:
    """The implementations of this project."""
    return sorted(path.parent.name for path in IMPLS.glob("*/scratch.py"))


def find(impl: str) -> Folder:
    """The implementation of that name, or in that folder. Raises UserError."""
    if impl in names():
        return Folder(impl, IMPLS / impl, f"impls.{impl}")
    path = Path(impl)
    if not path.is_dir():
        if "/" in impl or "\\" in impl:
            raise UserError(f"--impl {impl}: expected a folder, got none. See suites/interface.py.")
        raise unknown("implementation", impl, names())
    path = path.resolve()
    name = path.name if path.name not in names() else f"{path.name}-elsewhere"
    folder = Folder(name, path, _package(path))
    if not folder.variants:
        raise UserError(
            f"--impl {impl}: expected one of {', '.join(f'{v}.py' for v in VARIANTS)} in the folder, "
            f"got none. See suites/interface.py."
        )
    return folder


def builder(folder: Folder, variant: str) -> Build:
    """The variant's ``build``, its precision set first. Raises UserError, or Unavailable where a package
    is missing; ``build`` raises it for a declared precision that the folder does not offer."""
    if variant not in folder.variants:
        raise UserError(f"{folder.name}: {unknown('variant', variant, folder.variants)}")
    module = _module(folder, variant)
    build = getattr(module, "build", None)
    if not callable(build):
        raise UserError(
            f"{folder.path / variant}.py: expected a function build(task, dtype, device), got "
            f"{'none' if build is None else type(build).__name__}. See suites/interface.py."
        )

    def made(task: Task, dtype: str, device: str) -> Implementation:
        precise(folder, dtype, device)
        found: Implementation = build(task, precision.kept(dtype), device)
        return found

    return made


def precise(folder: Folder, dtype: str, device: str) -> dict[str, str]:
    """Set what products are rounded to from now on, and say what was read back. Raises Unavailable."""
    set_flags = getattr(device_module(folder), "precise", None)
    if set_flags is not None:
        found: dict[str, str] = set_flags(dtype, device)
        return found
    if dtype in precision.DECLARED:
        raise Unavailable(f"{folder.name} does not offer {dtype}: its device.py has no function precise")
    return {}


def device_module(folder: Folder) -> Any:
    """The folder's ``device.py``, or the plain one (CPU, NumPy) where it has none."""
    if (folder.path / "device.py").is_file():
        return _module(folder, "device")
    return importlib.import_module(PLAIN_DEVICE)


def keep_compiled(folder: Folder, where: Path) -> None:
    """Have what the framework compiles kept there from now on, where the folder's ``device.py`` can."""
    keep = getattr(device_module(folder), "keep_compiled", None)
    if keep is not None:
        keep(where)


def bare(folder: Folder) -> Any:
    """The folder's ``bare.py``. Raises UserError where it has none."""
    if not (folder.path / "bare.py").is_file():
        raise UserError(f"--bare: expected {folder.path / 'bare.py'}, got none. See suites/interface.py.")
    return _module(folder, "bare")


def deviations(folder: Folder) -> list[Deviation]:
    """What ``deviations.toml`` states, checked. Raises UserError naming the file and the key."""
    path = folder.path / "deviations.toml"
    if not path.is_file():
        return []
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a TOML file in UTF-8, got: {error}.") from None
    return [_deviation(path, number, entry) for number, entry in enumerate(raw.get("deviation", []))]


def deviation(folder: Folder, variant: str, cell: str) -> Deviation | None:
    """The deviation stated for this variant and cell, if there is one."""
    for stated in deviations(folder):
        if stated.variant == variant and cell in stated.cells:
            return stated
    return None


def _deviation(path: Path, number: int, entry: dict[str, Any]) -> Deviation:
    where = f"{path}: deviation {number + 1}"
    for key in ("id", "variant", "reason", "link"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise UserError(f"{where}: {key}: expected a text, got {entry.get(key)!r}.")
    if not entry["link"].startswith("https://"):
        raise UserError(f"{where}: link: expected an https address, got {entry['link']!r}.")
    cells = entry.get("cells")
    if not isinstance(cells, list) or not cells or not set(cells) <= set(CELLS):
        raise UserError(f"{where}: cells: expected a list out of {', '.join(CELLS)}, got {cells!r}.")
    return Deviation(entry["id"], entry["variant"], tuple(cells), entry["reason"], entry["link"])


def _module(folder: Folder, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{folder.package}.{name}")
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == folder.package or missing.startswith(folder.package + "."):
            raise UserError(f"{folder.path / name}.py: {error}.") from None
        raise Unavailable(
            f"{folder.name} needs the package {missing!r}, which is not installed in {sys.prefix}; "
            f"`nox -s parity-{folder.name}-cpu` makes an environment that has it"
            if folder.path.parent == IMPLS
            else f"{folder.path / name}.py needs the package {missing!r}, not installed in {sys.prefix}"
        ) from None
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}.") from None


def _package(path: Path) -> str:
    """Make the folder importable under a name of its own, so that its relative imports work."""
    package = f"unrolled_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if package not in sys.modules:
        module = ModuleType(package)
        module.__path__ = [str(path)]
        sys.modules[package] = module
    return package
