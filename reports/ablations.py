"""What each means is worth: ``python -m reports.ablations --records DIR``, the end of ``nox -s ablations``.

The records are those of ``suites/bench/ablations``: an implementation as it is, and copies of it *without*
one of its means, or *with* one that was not kept. A line says what a copy's time is over that of the whole,
paired round by round in each pass. The exit code is 2 on a mistake, and 1 where a copy was not timed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import measured, speed
from reports.markdown import NOTHING, escape, table
from reports.measured import Group
from reports.rows import Row, select
from results import store
from results.errors import UserError
from results.record import Record

WHOLE = "as-it-is"  # as suites/bench/ablations names it
WORKS = {"train": "training step", "infer": "inference", "decode": "greedy decoding"}
TEXT = (
    "Time over that of the implementation as it is, paired round by round in each pass, with the 98 % "
    "interval. *without*: one of its means left out, above 1 where it pays; *with*: one put in that was not "
    "kept, below 1 where it would pay."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, write, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reports.ablations", description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, required=True, help="folder of the ablations' records")
    parser.add_argument("--out", type=Path, help="file that the page is written to, too")
    options = parser.parse_args(arguments)
    try:
        text, whole = page(store.read_all(options.records)[0])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text, end="")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    return 0 if whole else 1


def page(records: Sequence[Record]) -> tuple[str, bool]:
    """The page, and whether every copy was timed. Raises UserError without the implementation as it is."""
    rows, _ = select(records)
    groups = [group for group in measured.groups(rows) if group.rows[0].bench]
    if not any(row["implementation"] == WHOLE for group in groups for row in group.rows):
        raise UserError("expected records of `nox -s ablations`, got none of an implementation as it is.")
    parts, untimed = ["# What each means is worth\n", TEXT + "\n"], False
    for group in groups:
        copies = [row for row in group.rows if row["implementation"] != WHOLE]
        lines = [_line(group, row) for row in sorted(copies, key=_order)]
        untimed |= any(NOTHING in line.values() for line in lines)
        parts += [f"## {escape(group.title)}\n", table(lines) + "\n"]
    return "\n".join(parts), not untimed


def _order(row: Row) -> tuple[bool, str]:
    """What is left out before what is put in."""
    return not row["implementation"].startswith("without-"), row["implementation"]


def _line(group: Group, row: Row) -> dict[str, str]:
    """A copy's ratios by work; where it was not timed, why."""
    cells = {"copy": escape(row["implementation"])}
    for what, title in WORKS.items():
        if what != "decode" or group.generates:
            cells[title] = _ratio(group, row, what)
    failed = row.verdict or any(text == NOTHING for text in cells.values())
    return cells | {"notes": speed.why_untimed(row, group.threads) if failed else ""}


def _ratio(group: Group, row: Row, what: str) -> str:
    """Over the whole, or a dash."""
    timed = {item.row["implementation"]: item for item in measured.timings(group, what)}
    item, whole = timed.get(row["implementation"]), timed.get(WHOLE)
    return NOTHING if item is None or whole is None else speed.ratio(item.over(whole))


if __name__ == "__main__":
    sys.exit(main())
