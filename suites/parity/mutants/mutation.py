"""Deliberate defects, as data, and what each must die of.

A mutation is a change of text in a copy of an implementation that passes. The gate
must then fail, by a number, at the level stated or before, and name the tensor stated.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from results.errors import UserError, unknown
from suites import implementations, spec
from suites.changes import replaced
from suites.implementations import Folder
from suites.interface import Unavailable
from suites.parity.comparator import NUMERIC, Finding
from suites.parity.ladder import Climb
from suites.parity.level import Level
from suites.parity.reference import Reference, reference

HERE = Path(__file__).parent
LEVELS = (0, 1, 2, 3, 4, 5, 7)  # those a row climbs
# what a group may set for all in it
SHARED = ("file", "level", "tensor", "where", "variant", "task", "cell", "dtype")

# What changed code can raise. None of them is a kill: a defect must be seen by its numbers.
CRASHES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, RuntimeError,
    TypeError, ValueError, Warning, Unavailable, UserError,
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One defect: in ``file``, each text of ``old`` becomes the one of ``new`` beside it."""

    name: str
    file: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    level: int  # at which it must be killed, or earlier
    tensor: str  # the start of the name of the first tensor that diverges
    number: int = 0  # in the reference list of mutations; 0 where it is not on it
    where: str = ""  # in what the gate says of the place: "step 2", "carry random"
    earlier: str = ""  # why it dies before its level, where it does
    variant: str = "scratch"
    task: str = "adding"
    cell: str = "lstm"
    dtype: str = "float64"

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What it is proven on."""
        return self.variant, self.task, self.cell, self.dtype


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation; ``problem`` is empty where it died as stated."""

    problem: str
    level: int | None = None  # at which it was killed
    told: Finding | None = None


def names() -> list[str]:
    """The implementations that have mutations."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def read(path: Path) -> list[Mutation]:
    """The mutations of a file: each with its group's settings. Raises UserError naming the mutation."""
    try:
        groups = tomllib.loads(path.read_text(encoding="utf-8"))["group"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a TOML file in UTF-8, got: {error}.") from None
    found = []
    for group in groups:
        for own in group["mutation"]:
            raw = {"variant": "scratch", **_shared(path, group), **own}
            found += [_mutation(path, {**raw, "variant": name}) for name in _texts(raw["variant"])]
    seen: set[tuple[str, str]] = set()
    for mutation in found:
        key = mutation.name, mutation.variant
        if key in seen:
            raise UserError(f"{path}: expected names that differ, got {mutation.name!r} twice.")
        seen.add(key)
    return found


def mutated(mutation: Mutation, folder: Path) -> str:
    """The file's text with the defect. Raises UserError where a text is not in it exactly once."""
    source = (folder / mutation.file).read_text(encoding="utf-8")
    follow = "Follow the file's change in suites/parity/mutants."
    for old, new in zip(mutation.old, mutation.new, strict=True):
        source = replaced(source, old, new, f"mutation {mutation.name!r}", mutation.file, follow)
    return source


@contextmanager
def copied(impl: str, mutation: Mutation | None = None) -> Iterator[Folder]:
    """A copy of the implementation, with the defect, as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="unrolled-") as temporary:
        folder = Path(temporary) / impl
        shutil.copytree(implementations.find(impl).path, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation is not None:
            (folder / mutation.file).write_text(mutated(mutation, folder), encoding="utf-8")
        yield implementations.find(str(folder))


def climb(folder: Folder, row: tuple[str, str, str, str]) -> list[Level]:
    """All levels that the folder reaches."""
    variant, task, cell, dtype = row
    build = implementations.builder(folder, variant)
    implementations.device_module(folder).configure("cpu", 1)
    return list(Climb(known(task, cell), dtype, lambda asked: build(asked, dtype, "cpu")).levels())


@lru_cache(maxsize=16)
def known(task: str, cell: str) -> Reference:
    """The reference, kept: mutations of one cell do not stand side by side."""
    return reference(spec.load(task, cell=cell), 0)


def check_sound(impl: str, row: tuple[str, str, str, str]) -> None:
    """Raise UserError unless the copy without a defect passes on this row."""
    with copied(impl) as folder:
        last = climb(folder, row)[-1]
    top = 7 if known(*row[1:3]).fixture.task.model.generates else 5
    if last.status == "failed" or last.level != top:
        raise UserError(
            f"{impl} {' '.join(row)}: expected a sound row to mutate, got one that ends at level "
            f"{last.level}, {last.status}. See `nox -s parity-{impl}-cpu`."
        )


def try_out(impl: str, mutation: Mutation) -> Verdict:
    """Apply the mutation to a copy, let it climb, and judge."""
    with copied(impl, mutation) as folder:
        try:
            levels = climb(folder, mutation.row)
        except CRASHES as error:
            return Verdict(f"crashes: {type(error).__name__}: {error}".splitlines()[0])
    return judge(mutation, levels)


def judge(mutation: Mutation, levels: list[Level]) -> Verdict:
    """Whether the mutation died as stated."""
    last = levels[-1]
    told = last.told
    if last.status != "failed" or told is None:
        return Verdict("lives")
    if told.problem not in NUMERIC:
        return Verdict(f"dies without a number: {told.problem}", last.level, told)
    if last.level > mutation.level:
        return Verdict(f"dies later than at level {mutation.level}", last.level, told)
    if (last.level < mutation.level) != bool(mutation.earlier):
        return Verdict(
            f"dies before level {mutation.level}, `earlier` gives no reason"
            if not mutation.earlier
            else f"dies at level {mutation.level}, `earlier` gives a reason why not",
            last.level,
            told,
        )
    if not told.tensor.startswith(mutation.tensor):
        return Verdict(f"names another tensor than {mutation.tensor}", last.level, told)
    if mutation.where not in told.where:
        return Verdict(f"is seen elsewhere than at {mutation.where}", last.level, told)
    return Verdict("", last.level, told)


def _shared(path: Path, group: dict[str, Any]) -> dict[str, Any]:
    shared = {key: value for key, value in group.items() if key != "mutation"}
    for key in shared:
        if key not in SHARED:
            raise UserError(f"{path}: {unknown('key of a group', key, SHARED)}")
    return shared


def _mutation(path: Path, raw: dict[str, Any]) -> Mutation:
    where = f"{path}: mutation {raw.get('name')!r}"
    known_keys = {field.name for field in fields(Mutation)}
    for key in raw:
        if key not in known_keys:
            raise UserError(f"{where}: {unknown('key', key, known_keys)}")
    for key in ("name", "file", "old", "new", "level", "tensor"):
        if raw.get(key, "") == "" and (key != "new" or key not in raw):
            raise UserError(f"{where}: expected the key {key!r}, got none.")
    if raw.get("level") not in LEVELS:
        raise UserError(f"{where}: level: expected one of {LEVELS}, got {raw.get('level')!r}.")
    texts = {key: _texts(raw[key]) for key in ("old", "new")}
    if len(texts["old"]) != len(texts["new"]):
        raise UserError(f"{where}: expected as many texts in new as in old, got {len(texts['new'])}.")
    return Mutation(**{**raw, **texts})


def _texts(value: str | list[str]) -> tuple[str, ...]:
    """One text, or several."""
    return (value,) if isinstance(value, str) else tuple(value)
