"""The report: from records to one Markdown page, the same page from the same records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from reports import break_even, quality, quiet, scaling, speed, tables
from reports.equivalence import equivalence
from reports.markdown import brief, escape, table
from reports.rows import Row, digest, select
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
- Intervals are 95 % percentile bootstrap intervals: passes are resampled, and rounds within each; for few \
passes they are widened by Student's t. No more digits are printed than the interval supports.
- "tokens/s" counts the steps of the sequences, those of the decoder too, and no padding; in decoding, the \
tokens chosen.
- "x GEMM floor" is the time over that of only the matrix products that the model cannot do without, at \
its shapes, paired by block; of ragged sequences, those of their mean length. "x fastest" is paired by \
pass. Where its interval contains 1 it says *not separable*. Nothing is compared across specs, dtypes, \
devices, numbers of threads or machines.
- *noisy*: the samples' interquartile range exceeds 10 % of their median.
"""

PARITY = (
    "In brackets the largest error over its tolerance, over all tensors of all levels: up to 1 passes. "
    "*Deviates*: the framework's own layer cannot hold the mathematics, as stated, and the gate failed "
    "as it must."
)
LEVELS = (
    "The row nearest to its tolerance: error, in brackets error over tolerance. "
    "Rows that deviate or are void are left out."
)
TRAJECTORIES = (
    "*Steps inside the envelope*: how long training kept to the oracle's within the tolerance of its level "
    "(in float32 a multiple of the oracle's own float32 error), of the row that was followed least; >= where "
    "it never left. Past the step at which the oracle's own error is too large to tell anything, no row is "
    "followed. *Twice in a process*: the same training once more, every loss, parameter and moment to the "
    "bit. *In several processes*: the losses of all records under the same key. What is not equal: by the "
    "largest relative difference, from the first step that differs, of the row that differs most."
)
QUALITY = (
    "Trained to the steps that the spec states, from the same weights over the same batches; the metrics are "
    "those of held-out data, the task's own first. *Optimum*: the best of it that any model can expect; "
    "*short of it*: by how much of that the row is worse; *baseline*: an answer that knows the mean, or how "
    "often each answer comes, and no more. Seconds hold the making of batches, and are no timing."
)
CURVES = (
    "The same training by several rows: over the points that all have, the largest difference between "
    "two of them, in brackets its share of their mean."
)
EQUIVALENCE = (
    "Level 6: the same spec trained from the same seeds; each seed's held-out metric less the reference's, "
    "the mean of these differences with its 90 % t interval. *Equivalent*: the whole interval lies within "
    "the margin, which is where two one-sided tests both reject at 5 % (p is the greater of theirs). "
    "*Different*: all of it lies outside. *Not shown* is neither: no difference found is no equality. The "
    "margin is part of the spec, so it was stated before the run. A training without a result rules "
    "*equivalent* out; why it has none is told above. Every line is a test of its own."
)
QUIET = (
    "Between the sample groups, with nothing of ours running, a fixed matrix product and a memory copy were "
    "timed: the median over these samples, their interquartile range over it, the slowest over the fastest. "
    "*Used by others*, *stolen* (by a hypervisor): shares of our cores' time, the groups' own included. "
    "A campaign is not quiet past {} of spread of the product, {} used by others, {} stolen, or where a core "
    "was slowed for its heat."
).format(*(f"{100 * limit:.0f} %" for limit in (quiet.SPREAD, quiet.OTHERS, quiet.STEAL)))
KINDS = {"train": "Training", "infer": "Inference", "decode": "Greedy decoding"}


def render(records: Iterable[Record], damaged: Sequence[Damaged] = (), name: str = "") -> str:
    """The page. It holds no time but the records' own, no path, and no number without a source."""
    rows, left_out = select(records)
    parts = [f"# {TITLE}{f' ({escape(name)})' if name else ''}", quiet.stamp(rows), TIMED, _data(rows)]
    machines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        machines[row.hardware].append(row)
    order = sorted(machines, key=lambda key: (_machine(machines[key][0]), key))
    for number, key in enumerate(order, 1):
        parts += _section(number, machines[key])
    parts.append(_left_out(left_out, damaged))
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def used(records: Iterable[Record]) -> list[Record]:
    """The records that the page rests on."""
    return [record for row in select(records)[0] for record in row.records]


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


def _section(number: int, rows: Sequence[Row]) -> list[str]:
    """One machine."""
    parts = [f"## Machine {number}: {_machine(rows[0])}", table(tables.measured(rows))]
    matrices = tables.parity_matrices(rows)
    if matrices:
        parts += ["### Parity", PARITY]
    else:
        parts.append("### Parity\n\nNo row was put to the gate on this machine.")
    for task, matrix in matrices.items():
        parts += [f"#### Parity: {escape(task)}", table(matrix)]
    errors = tables.level_errors(rows)
    if not errors.empty:
        parts += ["### Error per level", LEVELS, table(errors)]
    followed = tables.trajectories(rows)
    if not followed.empty:
        parts += ["### Training step by step", TRAJECTORIES, table(followed)]
    states = quiet.table_of(rows)
    if not states.empty:
        parts += ["### Was the machine quiet?", QUIET, table(states)]
    on_curves = {id(row) for row in scaling.points(rows)}
    alone = [row for row in rows if id(row) not in on_curves]
    for what, title in KINDS.items():
        parts += _throughput(what, title, alone)
    starts = speed.startup(alone)
    if not starts.empty:
        parts += ["### Import, build and first step", "Seconds, the median over passes.", table(starts)]
    parts += break_even.sections(alone)
    memory = tables.memory(alone)
    if not memory.empty:
        parts += ["### Memory of training", "Measured in a run of its own.", table(memory)]
    parts += scaling.sections(rows)
    trained = quality.trained(rows)
    if not trained.empty:
        parts += ["### Training to quality", QUALITY, table(trained)]
    curves = quality.curves(rows)
    if not curves.empty:
        parts += ["#### Learning curves side by side", CURVES, table(curves)]
    equal = equivalence(rows)
    if not equal.empty:
        parts += ["#### Quality equivalence (level 6)", EQUIVALENCE, table(equal)]
    return parts


def _throughput(what: str, title: str, rows: Sequence[Row]) -> list[str]:
    parts = []
    for group in speed.groups(rows):
        if what == "decode" and not group.generates:
            continue
        timed = speed.timings(group, what)
        frame = speed.throughput(group, what, timed)
        note = [speed.LATENCY] if "ms per token" in frame else []
        parts += [f"#### {title}: {group.title}", table(frame), *note, speed.fastest(timed)]
    return [f"### {title}", *parts] if parts else []


def _machine(row: Row) -> str:
    hardware: dict[str, Any] = row.any["provenance"]["hardware"]
    platform = row.any["provenance"]["platform"]
    parts = [
        hardware["cpu"],
        f"{hardware['cores']} cores used at most",
        f"{hardware['memory_bytes'] / 2**30:.0f} GiB",
        "no GPU" if hardware["gpu"] == "none" else f"{hardware['gpu']} (driver {hardware['driver']})",
        f"{platform.get('system', '')} {platform.get('machine', '')}".strip(),
    ]
    return escape(", ".join(part for part in parts if part))


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
        parts.append(f"**{len(damaged)} damaged record(s)** were kept aside, unread:\n\n{table(lines)}")
    return "\n\n".join(parts)
