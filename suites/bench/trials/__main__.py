"""Measure the measuring: ``python -m suites.bench.trials`` (first half of ``nox -s trials``).

One row under several names: ``a`` and ``b`` are the same, the others are slower by planted shares
(``--slower``: 3, 5 and 10 % by default). They are proven and timed as any comparison is, by
``python -m suites.bench``, in as many passes as all repeats take together: each repeat is so many
passes of one long run, which resumes, and shows what is left. ``python -m reports.trials`` says how
often the intervals erred.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from results.errors import UserError
from suites import implementations, recording, selection
from suites.bench import __main__ as bench

EQUAL = ("a", "b")
SLOWER = (3, 5, 10)  # per cent
REPEATS = 20
SLOWED = Path(__file__).parent / "slowed.py"
WORK = recording.ROOT / ".cache" / "trials"
PLANTED = "\n\nfrom . import slowed\n\nbuild = slowed.by({share}, build)\n"
HANDED_ON = ("task", "cell", "size", "data", "length", "seed", "device", "blocks", "threads", "timeout")


def main(arguments: list[str] | None = None) -> int:
    """Plant and run; the exit code is that of ``python -m suites.bench``."""
    try:
        options = parse(arguments)
        folders, variant = plant(options.impl, options.variant, options.slower, options.work / "impls")
        command = comparison(options, folders, variant)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return bench.main(command)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; those of a comparison have its defaults. Raises UserError for one that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.bench.trials", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--impl", default="numpy", help="the implementation that is planted, or its folder")
    add("--variant", help="its variant; the first that it has by default")
    add("--task", default="adding", help="adding by default")
    add("--cell", default="lstm", help="lstm by default")
    for name in HANDED_ON[2:]:
        add(f"--{name}", help="as for a comparison")
    add("--slower", type=per_cents, default=SLOWER, help="planted per cents, as 3,5,10 (the default)")
    add("--passes", type=bench.positive, help="passes of a repeat; those of a comparison by default")
    add("--repeats", type=bench.positive, default=REPEATS, help=f"{REPEATS} by default")
    add("--work", type=Path, help="folder of the planted rows and their records")
    options = bench.parsed(parser, arguments)
    options.passes = options.passes or bench.budget(len(EQUAL) + len(options.slower))[0]
    options.work = (options.work or WORK / Path(options.impl).name).absolute()
    if "," in str(options.work):  # --impl takes a list
        raise UserError(f"--work {options.work}: expected a path without a comma, got one with.")
    return options


def per_cents(text: str) -> tuple[int, ...]:
    """Of ``3,5,10``, in rising order and each once. Raises ArgumentTypeError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 100 for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole per cents from 1 to 100, as 3,5,10, got {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def plant(impl: str, variant: str | None, slower: Sequence[int], work: Path) -> tuple[list[Path], str]:
    """A copy of the implementation for each share, its variant slowed down, and which. Raises UserError.

    The copies are the same whenever they are made, so that what is measured stays measured.
    """
    source = implementations.find(impl)
    chosen = selection.one_of("variant", variant or source.variants[0], source.variants)
    folders = []
    shares = dict.fromkeys(EQUAL, 0.0) | {f"slower-{share}": share / 100 for share in slower}
    for name, share in shares.items():
        folder = work / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source.path, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        shutil.copyfile(SLOWED, folder / SLOWED.name)
        with (folder / f"{chosen}.py").open("a", encoding="utf-8") as file:
            file.write(PLANTED.format(share=share))
        folders.append(folder)
    return folders, chosen


def comparison(options: argparse.Namespace, folders: list[Path], variant: str) -> list[str]:
    """What ``python -m suites.bench`` is asked."""
    command = ["--impl", ",".join(map(str, folders)), "--records", str(options.work / "records")]
    command += ["--variant", variant, "--passes", str(options.passes * options.repeats)]
    for name in HANDED_ON:
        value = getattr(options, name)
        if value is not None:
            command += [f"--{name}", value]
    return command


if __name__ == "__main__":
    sys.exit(main())
