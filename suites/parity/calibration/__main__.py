"""Measure the gate's errors over seeds, and derive its constants (``nox -s calibrate``).

``measure`` climbs every selected row over all seeds and keeps a record a row, with the
distribution of every level's error. ``derive`` reads records alone, and compares each
constant of ``tolerances.toml`` with what they support.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from typing import Any

from results import store
from results.errors import UserError
from results.record import Record
from suites import implementations, recording, selection, spec
from suites.bench.__main__ import INTERRUPTED, parsed, positive
from suites.interface import Unavailable
from suites.parity import cache
from suites.parity.calibration import derive, measure
from suites.parity.tolerances import KAPPA_LIMIT
from suites.selection import Question

SIZE = "tiny"
SEEDS = "1-20"  # seed 0 is the gate's own
RECORDS = recording.ROOT / "results" / "records" / "calibration"
PUBLISHED = recording.ROOT / "results" / "calibration"
COLUMNS = "{:<18} {:>7} {:>11} {:>4} {:>8} {:>8} {:>7}  {:<15}  {}"
HEADER = ("constant", "stated", "comparisons", "rows", "0.999 <", "largest", "derived", "verdict", "whose")


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 only where no seed failed (measure), or where the constants are as derived (derive)."""
    try:
        options = parse(arguments)
        return measuring(options) if options.command == "measure" else deriving(options.records)
    except (UserError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on with the first unfinished row.", file=sys.stderr)
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for one that does not exist."""
    parser = argparse.ArgumentParser(prog="python -m suites.parity.calibration", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    of_measure = commands.add_parser("measure", help="climb the rows over all seeds, a record a row")
    for flag, text in selection.OPTIONS.items():
        if flag != "--seed":
            of_measure.add_argument(flag, help=text)
    add = of_measure.add_argument
    add("--seeds", default=SEEDS, help=f"numbers and ranges with commas, {SEEDS} by default")
    add("--levels", type=int, default=7, help="the highest level climbed: 3 leaves training out")
    add("--backwards", action="store_true", help="last rows first: for the second of two processes")
    add("--threads", type=positive, default=recording.usable_cores(), help="threads a row may use")
    add("--records", type=Path, default=RECORDS, help="folder of records")
    of_derive = commands.add_parser("derive", help="the constants that the records support")
    of_derive.add_argument("--records", type=Path, default=PUBLISHED, help="folder of records")
    return parsed(parser, arguments)


def measuring(options: argparse.Namespace) -> int:
    """Measure what has no record yet, a line a row; 1 where a seed failed."""
    questions = asked(options)
    seeds = measure.parsed_seeds(options.seeds)
    for folder in {question.folder for question in questions}:
        device = questions[0].row.device
        implementations.device_module(folder).configure(device, options.threads)
        cache.keep_compiled(folder, device)
    selection.check_data(questions)
    gc.freeze()  # as in the gate
    gc.set_threshold(100_000, 20, 20)
    measured = alarms = 0
    for number, question, body in measure.measured(questions, seeds, options.levels, options.records):
        measured += 1
        status, reason = measure.verdict(question, body)
        alarms += status == "failed"
        print(f"[{number}/{len(questions)}] {line(question, body)}", flush=True)
        if status == "failed":
            print(failed(reason, body), flush=True)
    kept = len(questions) - measured
    print(f"{measured} rows measured over {len(seeds)} seeds, {kept} kept, {alarms} with a false alarm.")
    return 1 if alarms else 0


def asked(options: argparse.Namespace) -> list[Question]:
    """The rows, of every implementation named, those of one task and cell together."""
    if not options.impl:
        raise UserError(f"--impl: expected one or more of {', '.join(implementations.names())}, got nothing.")
    found: list[Question] = []
    for impl in options.impl.split(","):
        chosen: dict[str, Any] = vars(options) | {"impl": impl}
        found += selection.questions(chosen.get, size=SIZE, dtypes=spec.DTYPES)
    order = list(dict.fromkeys((q.row.task, q.row.cell) for q in found))
    if options.backwards:
        order.reverse()
    return sorted(found, key=lambda q: order.index((q.row.task, q.row.cell)))


def line(question: Question, body: dict[str, Any]) -> str:
    """A row as one line: how many seeds passed, and the error nearest its tolerance."""
    row, levels = question.row, body["levels"]
    passed = sum(entry["status"] in ("passed", "horizon reached") for entry in body["seeds"])
    nearest = max(levels, key=lambda level: level["ratio"][-1], default=None)
    text = f"{row.implementation} {row.variant}, {row.task} {row.cell} {row.dtype}: "
    text += f"{passed} of {len(body['seeds'])} seeds pass in {body['seconds']:.0f} s"
    if nearest is None:
        return text
    worst = nearest["worst"]
    return (
        f"{text}; nearest {nearest['ratio'][-1]:.2f} of its tolerance, level {nearest['level']} "
        f"({worst['tensor']}, {worst['where']}, seed {worst['seed']})"
    )


def deriving(folder: Path) -> int:
    """Print what the records support; 1 where a constant cannot stay, or a false alarm was seen."""
    records = derive.counting(store.read_all(folder, keep_aside=False)[0])
    if not records:
        raise UserError(f"--records {folder}: expected calibration records, got none. Run `measure` first.")
    print(COLUMNS.format(*HEADER))
    constants = derive.derive(records)
    for found in constants:
        print(COLUMNS.format(*cells(found)))
    print(*about(records), sep="\n")
    false = derive.alarms(records)
    for record, entry in false:
        row = " ".join(str(record["row"][part]) for part in ("implementation", "variant", "task", "cell"))
        print(f"false alarm: {row} {record['row']['dtype']}, seed {entry['seed']}: {entry['text']}")
    failed_rows = any(record["status"] == "failed" for record in records)
    return 1 if failed_rows or any(found.problem for found in constants) else 0


def cells(found: derive.Derived) -> tuple[object, ...]:
    """A constant as a row of the table."""
    measured = f"{found.quantile:.2g}", f"{found.largest:.3g}", f"{found.derived:g}"
    counts = found.comparisons, found.rows
    return found.name, f"{found.stated:g}", *counts, *measured, found.problem or "holds", found.whose


def about(records: list[Record]) -> list[str]:
    """What else the records say: false alarms, the spread over seeds, conditioning, refused fixtures."""
    seeds = derive.per_seed(records)
    spread = sorted(seeds.values())
    kappa, whose = derive.kappas(records)
    refused = derive.refusals(records)
    false = len(derive.alarms(records))
    low, middle, high = spread[0], spread[len(spread) // 2], spread[-1]
    return [
        f"{len(records)} rows, {len(seeds)} seeds, {false} false alarms: {false / len(seeds):g} a seed",
        f"largest error / tolerance of a seed, over all rows: {low:.2f} to {high:.2f}, median {middle:.2f}",
        f"largest condition number {kappa:.3g} ({whose}); a fixture above {KAPPA_LIMIT:g} is refused",
        f"{len(refused)} fixtures refused",
        *(f"  {which}: {why}" for which, why in refused.items()),
    ]


def failed(reason: str, body: dict[str, Any]) -> str:
    """Every failure of a row, in the gate's own words."""
    texts = [f"seed {entry['seed']}: {entry.get('text', '')}" for entry in measure.failures(body)]
    return "\n".join([f"  {reason}", *(text.replace("\n", "\n  ") for text in texts)])


if __name__ == "__main__":
    sys.exit(main())
