"""``python -m reports``: the report of the records, as a folder: pages, figures and tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import edition, folder, published
from reports.report import Report
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
        if options.renew:
            return _renew(options, root)
        records, damaged = _read(options.records or [root / "results" / "records"], root)
        sources = edition.extract(ROOT)  # of the code that runs here
        if options.publish is not None:
            place = published.publish(records, options.publish, root, sources)
        else:
            place = options.out or root / "reports" / "latest"
            folder.write(place, Report(records, damaged, sources=sources).files())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {place / 'README.md'} and index.html beside it from {len(records)} records")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("--records", metavar="DIR", type=Path, nargs="+", action="extend",
                        help="folders of records (default: results/records)")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write (default: reports/latest)")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true",
                        help="compare every published report with what its records give")  # fmt: skip
    either.add_argument("--renew", action="store_true",
                        help="write every published report anew from its records")  # fmt: skip
    either.add_argument("--publish", metavar="NAME", help="keep the records and the report under this name")
    return parser


def _renew(options: argparse.Namespace, root: Path) -> int:
    if options.records or options.out:
        raise UserError(
            "--renew writes reports/published from results/published: leave --records and --out out."
        )
    for place in published.renew(root):
        print(f"wrote {place.relative_to(root)}")
    return 0


def _check(options: argparse.Namespace, root: Path) -> int:
    if options.records or options.out:
        raise UserError(
            "--check compares reports/published with results/published: leave --records and --out out."
        )
    count, differences = published.differences(root)
    for text in differences:
        print(text.rstrip("\n"))
    print(f"{count} published report(s), {len(differences)} file(s) that differ from what the records give")
    return 1 if differences else 0


def _read(folders: Sequence[Path], root: Path) -> tuple[list[Record], list[Damaged]]:
    """The records of all folders, each once; damaged ones are named on stderr."""
    records: dict[str, Record] = {}
    damaged: list[Damaged] = []
    for place in folders:
        # What is published is committed: never moved, never cleaned.
        ours = not place.resolve().is_relative_to((root / "results" / "published").resolve())
        found, bad = store.read_all(place, keep_aside=ours)
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
