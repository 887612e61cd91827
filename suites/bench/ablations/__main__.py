"""What each means is worth: ``python -m suites.bench.ablations`` (first half of ``nox -s ablations``).

An ablation is a copy of the implementation in which a few texts are replaced: *without* what makes
``tuned`` fast, or *with* what was tried and not kept. ``<impl>.toml`` names them. Each is proven and timed
as any comparison is, in turn with the implementation as it is, by ``python -m suites.bench``; what is
timed computes the same, and a run that was interrupted goes on. ``python -m reports.ablations`` writes the
ratios.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.errors import UserError, unknown
from suites import implementations, recording
from suites.bench import __main__ as bench
from suites.changes import replaced
from suites.selection import DEVICES

HERE = Path(__file__).parent
WORK = recording.ROOT / ".cache" / "ablations"
WHOLE = "as-it-is"  # the copy in which nothing is replaced
KINDS = ("without", "with")
VARIANT = "tuned"
HANDED_ON = (
    *("task", "cell", "size", "data", "length", "batch", "hidden", "seed", "device"),
    *("passes", "blocks", "threads", "timeout"),
)
KEYS = ("says", "change")
ON_ONE = "device"  # a key that may stand beside them: where it says something, and is taken by default
OF_A_CHANGE = ("file", "old", "new")


@dataclass(frozen=True)
class Change:
    """In a file of the implementation, one text in place of another."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Ablation:
    """A copy's name, which says whether something is left out or put in; what; how; and on which device
    alone it says something, where it does not on all."""

    name: str
    says: str
    changes: tuple[Change, ...]
    device: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Make the copies and run; the exit code is that of ``python -m suites.bench``."""
    try:
        options = parse(arguments)
        ablations = chosen(read(options.impl), options.only, options.device or "cpu")
        folders = copies(options.impl, ablations, options.work / "impls")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return bench.main(comparison(options, folders))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; those of a comparison have its defaults. Raises UserError for one that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.bench.ablations", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--impl", default="numpy", help=f"{', '.join(names())}; numpy by default")
    add("--only", help="of its ablations these, by their names and with commas; by default all of the device")
    add("--task", default="char_lm", help="char_lm by default")
    add("--cell", default="lstm", help="lstm by default")
    add("--size", default="S", help="S by default")
    for name in HANDED_ON[3:]:
        add(f"--{name}", help="as for a comparison")
    add("--work", type=Path, help="folder of the copies and their records")
    options = bench.parsed(parser, arguments)
    if options.impl not in names():
        raise unknown("implementation", options.impl, names())
    options.work = (options.work or WORK / options.impl).absolute()
    if "," in str(options.work):  # --impl takes a list
        raise UserError(f"--work {options.work}: expected a path without a comma, got one with.")
    return options


def names() -> list[str]:
    """The implementations that have ablations."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def read(impl: str) -> list[Ablation]:
    """The ablations of an implementation. Raises UserError naming the one that is not as it must be."""
    path = HERE / f"{impl}.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a TOML file in UTF-8, got: {error}.") from None
    return [_ablation(path, name, raw) for name, raw in tables.items()]


def chosen(known: list[Ablation], only: str | None, device: str) -> list[Ablation]:
    """Those that are named, else all that say something on this device. Raises UserError."""
    if only is None:
        found = [ablation for ablation in known if ablation.device in ("", device)]
        if not found:
            raise UserError(
                f"--device {device}: expected ablations that say something there, got none. "
                f"--only names them: {', '.join(ablation.name for ablation in known)}."
            )
        return found
    by_name = {ablation.name: ablation for ablation in known}
    for name in only.split(","):
        if name not in by_name:
            raise unknown("ablation", name, by_name)
    return [by_name[name] for name in dict.fromkeys(only.split(","))]


def copies(impl: str, ablations: list[Ablation], work: Path) -> list[Path]:
    """The implementation as it is and a copy for each ablation: the same whenever they are made, so that
    what is measured stays measured. Raises UserError where a text is not where it should be."""
    source = implementations.find(impl).path
    follow = f"Follow the file's change in suites/bench/ablations/{impl}.toml."
    folders = []
    for ablation in [Ablation(WHOLE, "", ()), *ablations]:
        folder = work / ablation.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for change in ablation.changes:
            file = folder / change.file
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            told = f"ablation {ablation.name}"
            changed = replaced(text, change.old, change.new, told, change.file, follow)
            file.write_text(changed, encoding="utf-8")
        folders.append(folder)
    return folders


def comparison(options: argparse.Namespace, folders: list[Path]) -> list[str]:
    """What ``python -m suites.bench`` is asked."""
    command = ["--impl", ",".join(map(str, folders)), "--variant", VARIANT]
    command += ["--records", str(options.work / "records")]
    for name in HANDED_ON:
        value = getattr(options, name)
        if value is not None:
            command += [f"--{name}", value]
    return command


def _ablation(path: Path, name: str, raw: dict[str, Any]) -> Ablation:
    """Raises UserError for keys that do not exist, and for a name that does not say which kind it is."""
    if name.partition("-")[0] not in KINDS:
        raise UserError(f"{path}: expected names that begin with without- or with-, got {name!r}.")
    device = raw.pop(ON_ONE, "")
    if device not in ("", *DEVICES):
        raise UserError(f"{path}: {name}: {unknown('device', device, DEVICES)}")
    _check(path, name, raw, KEYS)
    for change in raw["change"]:
        _check(path, name, change, OF_A_CHANGE)
    return Ablation(name, raw["says"], tuple(Change(**change) for change in raw["change"]), device)


def _check(path: Path, name: str, raw: dict[str, Any], keys: tuple[str, ...]) -> None:
    if set(raw) != set(keys):
        got = ", ".join(raw) or "none"
        raise UserError(f"{path}: {name}: expected the keys {', '.join(keys)}, got {got}.")


if __name__ == "__main__":
    sys.exit(main())
