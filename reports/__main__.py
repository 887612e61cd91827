"""``python -m reports``: the report of the records, as Markdown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import published
from reports.report import render
from results import store
from results.errors import UserError
from results.record import Record
from results.store import Damaged

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command and return its exit code: 0 done, 1 a published report differs, 2 a mistake."""
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            return _check(options, root)
        records, damaged = _read(options.records or [root / "results" / "records"], root)
        if options.publish is not None:
            page = published.publish(records, options.publish, root)
        else:
            page = options.out or root / "reports" / "latest.md"
            published.write(page, render(records, damaged))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {page} from {len(records)} records")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("--records", metavar="DIR", type=Path, nargs="+", action="extend",
                        help="folders of records (default: results/records)")  # fmt: skip
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="where to write (default: reports/latest.md)"
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true",
                        help="compare every published report with what its records give")  # fmt: skip
    either.add_argument("--publish", metavar="NAME", help="keep the records and the report under this name")
    return parser


def _check(options: argparse.Namespace, root: Path) -> int:
    if options.records or options.out:
        raise UserError(
            "--check compares reports/published with results/published: leave --records and --out out."
        )
    count, differences = published.differences(root)
    for text in differences:
        print(text.rstrip("\n"))
    print(f"{count} published report(s), {len(differences)} that differ from their records")
    return 1 if differences else 0


def _read(folders: Sequence[Path], root: Path) -> tuple[list[Record], list[Damaged]]:
    """The records of all folders, each once; damaged ones are named on stderr."""
    records: dict[str, Record] = {}
    damaged: list[Damaged] = []
    for folder in folders:
        # What is published is committed: never moved, never cleaned.
        ours = not folder.resolve().is_relative_to((root / "results" / "published").resolve())
        found, bad = store.read_all(folder, keep_aside=ours)
        records |= {record["id"]: record for record in found}
        damaged += bad
    for item in damaged:
        print(f"damaged: {item}", file=sys.stderr)
    if not records:
        names = ", ".join(str(folder) for folder in folders)
        raise UserError(
            f"{names}: expected records, got none. Measure first: `nox -s compare`, or, for parity alone, "
            "`nox -s parity-numpy-cpu`; or name another folder with --records."
        )
    return list(records.values()), damaged


if __name__ == "__main__":
    sys.exit(main())
