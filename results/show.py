"""One number of a report, followed to its samples: ``python -m results.show ID``.

Prints the files of its records, the row, where and with what it was measured, its phases and samples in
short, and the command that measures it again. Exit code 0; 2 on a mistake.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from results import commands, ids, locks, lookup
from results.errors import UserError
from results.lookup import ROOT, Found
from results.record import Record


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Look up, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m results.show", description=__doc__.splitlines()[0])
    lookup.add_options(parser)
    parser.add_argument("--json", action="store_true", help="the records themselves, with every raw sample")
    options = parser.parse_args(arguments)
    try:
        found = lookup.look_up(options, root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found.records, indent=1, sort_keys=True))
    else:
        print("\n".join(page(found, root)))
    return 0


def page(found: Found, root: Path) -> Iterator[str]:
    """The lines."""
    record = found.newest
    yield f"{found.id}: {ids.in_words(record)}"
    yield from _section("Records, oldest first", _records(found, root))
    yield from _section("Where it comes from", _origin(record, root))
    yield from _section("What was asked", [json.dumps(record["spec"], sort_keys=True)])
    yield from _section("How it ran", _how(record))
    yield from _section("What came out", _outcome(found))
    again = [commands.session(found.records), f"nox -s reproduce -- {found.id}"]
    yield from _section("Measure it again; and see whether it comes out the same", again)


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> list[str]:
    held = list(lines)
    return ["", title, *(f"  {line}" for line in held)] if held else []


def _records(found: Found, root: Path) -> Iterator[str]:
    for record, file in zip(found.records, found.files, strict=True):
        file = file.relative_to(root) if file.is_relative_to(root) else file
        reason = f": {record['reason'].splitlines()[0]}" if record["reason"] else ""
        yield f"{record['created']}  {record['status']}{reason}  {file}"


def _origin(record: Record, root: Path) -> Iterator[str]:
    origin = record["provenance"]
    hardware, blas = origin["hardware"], [pool.get("internal_api", "?") for pool in origin["blas"]]
    dirty = {True: ", with changes that no commit holds", False: "", "unknown": ", perhaps changed"}
    yield f"commit       {origin['commit']}{dirty[origin['dirty']]}"
    yield f"source       {origin['source']}"
    yield f"lock         {origin['lock']}"
    yield f"versions     {', '.join(f'{name} {text}' for name, text in sorted(origin['versions'].items()))}"
    yield f"now          {locks.Locks(root).age(record)}"
    yield (
        f"hardware     {hardware['cpu']}, {hardware['cores']} cores, "
        f"{hardware['memory_bytes'] / 2**30:.1f} GiB, GPU: {hardware['gpu']}, driver: {hardware['driver']} "
        f"({origin['hardware_hash'][:12]})"
    )
    yield f"system       {', '.join(f'{name} {text}' for name, text in sorted(origin['platform'].items()))}"
    yield f"variables    {' '.join(f'{k}={v}' for k, v in sorted(origin['threads'].items())) or 'none set'}"
    yield f"BLAS         {', '.join(blas) or 'unknown'}"
    yield f"clock        {json.dumps(origin['clock'], sort_keys=True)}"


def _how(record: Record) -> Iterator[str]:
    body = record["body"]
    for name in ("path", "settings"):
        if body.get(name):
            yield f"{name:<12} {', '.join(f'{key} {text}' for key, text in sorted(body[name].items()))}"
    for name, seconds in sorted(body.get("phases", {}).items()):
        unit = "s" if name.endswith("_s") else "rounds"
        yield f"{name.removesuffix('_s'):<12} {seconds:.4g} {unit}"


def _outcome(found: Found) -> Iterator[str]:
    """By kind; nothing of a record that came to no number but why."""
    body = found.newest["body"]
    if found.what in ids.TIMED:
        for record in found.records:
            yield from _samples(record, found.what)
    elif found.what == "memory" and "peak_bytes" in body:
        baseline, peak = body["baseline_bytes"], body["peak_bytes"]
        yield f"baseline     {baseline} bytes"
        yield f"peak         {peak} bytes, {peak - baseline} over it"
        yield from (f"{name:<12} {size} bytes" for name, size in sorted(body["device_peak"].items()))
    elif found.what == "parity":
        for level in body.get("levels", []):
            error, tolerance = (_number(level[name]) for name in ("error", "tolerance"))
            yield (
                f"level {level['level']} {level['name']}: {level['status']}, error {error} of {tolerance} "
                f"({level['tensor']}, {level['where']})"
            )
    elif body.get("curve"):
        yield from (f"{name} {value!r}" for name, value in sorted(body["final"].items()))
        steps = body["curve"][-1]["step"]
        yield f"{len(body['curve'])} points of the curve, {steps} steps, {body['seconds']:.1f} s"


def _samples(record: Record, what: str) -> Iterator[str]:
    """Median and range of the rounds, of the work and of the floor beside it."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    blocks: dict[str, set[int]] = defaultdict(set)
    for block in record["body"].get("blocks", []):
        by_kind[block["what"]] += block["seconds"]
        blocks[block["what"]].add(block["block"])
    for name in (what, f"floor_{what}"):
        if name in by_kind:
            low, middle, high = (1e3 * f(by_kind[name]) for f in (min, statistics.median, max))
            about = f"pass {record['body']['pass'] + 1}, {name}"
            count = f"{len(by_kind[name])} rounds in {len(blocks[name])} blocks"
            yield f"{about:<22} median {middle:.4g} ms, {low:.4g} to {high:.4g} ms ({count})"


def _number(value: float | str | None) -> str:
    return "none" if value is None else value if isinstance(value, str) else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
