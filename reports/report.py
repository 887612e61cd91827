"""The report: from records to the files of a folder, the same bytes from the same records."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import csvs, edition, figures, quiet, tables
from reports.figures import Figure
from reports.html import page as html
from reports.machines import Machine, machines
from reports.markdown import brief, escape, table
from reports.rows import Row, digest, select
from reports.sections import SECTIONS, Section, Table
from results.record import Record
from results.store import Damaged

TITLE = "Unrolled: recurrent networks, proven equal, then timed"

TIMED = """\
## What is timed, and what is not

- **Timed**: a training step (forward, backward, clip, optimiser) and inference (the logits from a zero \
state), the batch already on the device; where a task generates, greedy decoding. Every sample ends in the \
implementation's own `sync()`.
- **Not timed**: making or loading the data, moving it to the device or back. Import, build and the first \
step (tracing, compilation) are stated apart; memory is a run of its own.
- **A row is timed only after its parity gate has passed**: it computes what the float64 oracle computes.

How to read the numbers:

- A time is the median of the rounds of a pass, and the geometric mean of these over the passes. A pass is \
a fresh process; the order of the implementations changes from pass to pass.
- Intervals are 95 % intervals by Student's t over the passes; of a single pass, a bootstrap of its rounds. \
No more digits are printed than the interval supports.
- "tokens/s" counts the steps of the sequences, those of the decoder too, and no padding; in decoding, the \
tokens chosen.
- "x GEMM floor" is the time over that of only the matrix products that the model cannot do without, at \
its shapes, in its own framework, paired by block; of ragged sequences, those of their mean length. \
"x NumPy's" is the time over the same products in NumPy, whose row measured them in the same passes: one \
floor for all. "x fastest" is paired round by round in each pass, with its 98 % interval: where that \
contains 1 it says *not separable*, as of equal rows 49 in 50. \
Nothing is compared across specs, dtypes, devices, numbers of threads or machines.
- *noisy*: the samples' interquartile range exceeds 10 % of their median.
- An *id* leads to the records of a number (`tables/records.csv`): `nox -s reproduce -- ID` measures it again.
"""
FILES = """\
## Files

[index.html](index.html) is this report as one page to filter and sort, which asks no network. The numbers \
of the tables, unrounded, with the ids of their records:
"""


@dataclass(frozen=True)
class Report:
    """Records, and what follows from them: no time but theirs, no path, no number without a source."""

    records: Sequence[Record]
    damaged: Sequence[Damaged] = ()
    name: str = ""
    sources: Mapping[str, Any] | None = None  # of the parallel edition; without them it is not made

    @functools.cached_property
    def selected(self) -> tuple[list[Row], int]:
        """The rows, and how many older records were left out."""
        return select(self.records)

    @property
    def used(self) -> list[Record]:
        """The records that the report rests on."""
        return [record for row in self.selected[0] for record in row.records]

    @functools.cached_property
    def machines(self) -> list[Machine]:
        """Its sections."""
        return machines(self.selected[0])

    @functools.cached_property
    def figures(self) -> dict[str, Figure]:
        """By name."""
        return figures.charts(self.selected[0])

    @functools.cached_property
    def tables(self) -> dict[str, bytes]:
        """The CSV files, by name."""
        return csvs.files(self.machines)

    def markdown(self) -> str:
        """The page for a code host."""
        rows, left_out = self.selected
        title = f"# {TITLE}{f' ({escape(self.name)})' if self.name else ''}"
        parts = [title, quiet.stamp(rows), TIMED, _data(rows)]
        for machine in self.machines:
            parts += [f"## Machine {machine.number}: {escape(machine.name)}", *self._machine(machine)]
        parts += [_left_out(left_out, self.damaged), self._files()]
        return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"

    def files(self) -> dict[str, bytes]:
        """The folder: each file by its path in it."""
        rows, left_out = self.selected
        page = html.render(rows, self.damaged, self.name, left_out, self.figures)
        beside = (
            {} if self.sources is None else {"parallel.html": edition.render(self.sources, rows, self.name)}
        )
        return {
            "README.md": self.markdown().encode(),
            "index.html": page.encode(),
            **{path: text.encode() for path, text in beside.items()},
            **{f"figures/{name}.svg": figures.svg(figure) for name, figure in self.figures.items()},
            **{f"tables/{name}.csv": text for name, text in self.tables.items()},
        }

    def _machine(self, machine: Machine) -> Iterator[str]:
        """Section by section; what is missing is listed last."""
        drawn = [figure for figure in self.figures.values() if figure.machine == machine.number]
        overview = [figure for figure in drawn if figure.kind == "overview"]
        absent = [] if overview else ["- *The overview*: no row was timed beside its GEMM floor."]
        yield from map(_figure, overview)
        for section in SECTIONS:
            shown = [figure for figure in drawn if figure.kind == section.kind]
            made = section.tables(machine)
            if made:
                yield from _section(section, made, shown)
            if not made or (section.drawn and not shown):
                what = "" if not made else "The figure of "
                absent.append(f"- {what}*{section.title}*: {section.missing}.")
        if absent:
            yield "### Not on this page\n\nWhat the records do not hold:\n\n" + "\n".join(absent)

    def _files(self) -> str:
        lines = [f"- [tables/{name}.csv](tables/{name}.csv): {csvs.TABLES[name][1]}" for name in self.tables]
        return FILES + "\n" + "\n".join(lines)


def render(records: Iterable[Record], damaged: Sequence[Damaged] = (), name: str = "") -> str:
    """The Markdown page alone."""
    return Report(list(records), damaged, name).markdown()


def used(records: Iterable[Record]) -> list[Record]:
    """The records that a report of these rests on."""
    return Report(list(records)).used


def _section(section: Section, made: Sequence[Table], shown: Sequence[Figure]) -> Iterator[str]:
    """Heading and text, the figures, then table by table."""
    yield f"### {section.title}" if section.title else ""
    yield section.text
    yield from map(_figure, shown)
    for part in made:
        yield f"#### {part.title}" if part.title else ""
        yield table(part.frame)
        yield part.note


def _figure(figure: Figure) -> str:
    image = f"![{escape(figure.alt)}](figures/{figure.name}.svg)"
    return f"{image}\n\n*{escape(figure.title)}.* {escape(figure.caption)}"


def _data(rows: Sequence[Row]) -> str:
    """Whether all implementations were asked the same, to the bit."""
    drawn = [row for row in rows if digest(row)]
    cases = {(row.any["fingerprint"], row["seed"]) for row in drawn}
    names = {row["implementation"] for row in drawn}
    void = [row for row in drawn if row.void]
    head = "## Data and initial weights"
    if not drawn:
        return f"{head}\n\nNo row got as far as level 0: nothing is known of them."
    if not void:
        text = (
            f"SHA-256 of data and weights: compared over {len(names)} implementation(s) in "
            f"{len(cases)} case(s) (spec and seed), no difference."
        )
        return f"{head}\n\n{text}"
    lines = [{**tables.who(row), **tables.asked(row), "SHA-256": digest(row)[: tables.SHORT]} for row in void]
    text = "These rows are **void**: they drew other data or weights than most, or no majority agreed."
    return f"{head}\n\n{text}\n\n{table(lines)}"


def _left_out(older: int, damaged: Sequence[Damaged]) -> str:
    """What is not in the page, so that nothing is missing unseen."""
    parts = ["## Left out"]
    parts.append(
        f"{older} older record(s) of rows above were left out: "
        "of an earlier spec, source, lock or version, or repeated since."
        if older
        else "No older records of these rows were there."
    )
    if damaged:
        lines = [{"file": escape(bad.file.name), "what is wrong": brief(bad.reason)} for bad in damaged]
        parts.append(f"**{len(damaged)} record(s)** could not be read:\n\n{table(lines)}")
    return "\n\n".join(parts)
