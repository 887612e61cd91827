"""Records to look at: everything that a page can hold, and many of them."""

from __future__ import annotations

import copy
from typing import Any

from results import record as sealing
from results.record import Record
from tests.reports.conftest import Maker

EVIL = "<script>alert(1)</script>"
IMG = "<img src=x onerror=alert(2)>"
END = "</script><script>alert(3)</script>"
CELLS = ("rnn", "lstm", "gru", "gru_reset_before")
WHO = {
    ("numpy", "scratch"): 9e-3,
    ("torch", "scratch"): 7e-3,
    ("torch", "native"): 2e-3,
    ("jax", "scratch"): 2.5e-3,
    ("jax", "native"): 2.6e-3,
    ("tensorflow", "native"): 5e-3,
}


def mixed() -> list[Record]:
    """Rows of every fate on two machines: proven, failed, deviating, void, skipped, and some that trained."""
    make, records = Maker(), []
    for (implementation, variant), step in WHO.items():
        for task, cell in (("adding", "gru"), ("adding", "lstm"), ("char_lm", "lstm")):
            what: dict[str, Any] = {
                "implementation": implementation, "variant": variant, "task": task, "cell": cell,
            }  # fmt: skip
            records += row(make, step, **what)
            records += [followed(make, **what, dtype="float32"), make.parity(dtype="float64", **what)]
        records += curve(make, step, implementation=implementation, variant=variant)
        records += trained(make, implementation=implementation, variant=variant)
    records += row(make, 1e-3, passes=1, cpu="Another CPU", implementation="torch", variant="native")
    records += fates(make)
    return records


def fates(make: Maker) -> list[Record]:
    """What did not go well."""
    link = {"id": "no-reset-before", "link": "https://example.org/layer"}
    names: dict[str, Any] = {"implementation": "torch", "variant": "native"}
    return [
        make.parity("deviates", deviation=link, cell="gru_reset_before", **names),
        make.parity("failed", error=3e-9, cell="rnn", **names),
        make.bench(cell="rnn", **names),
        make.parity("skipped", implementation="mxnet", variant="native"),
        make.parity(digest="other data", implementation="own", variant="native", task="adding", cell="gru"),
        make.bench(implementation="unproven", variant="native", task="adding", cell="gru"),
    ]


def evil() -> list[Record]:
    """Names that a browser would run if it were let."""
    make, records = Maker(), []
    for name in (EVIL, IMG, END, '"><svg onload=alert(4)>', "a & b's `c`"):
        what: dict[str, Any] = {"implementation": name, "variant": name, "task": name, "data": name}
        records += row(make, 2e-3, **what)
        records += trained(make, **what)
    records += curve(make, 2e-3, implementation=EVIL, variant=END)
    records.append(make.parity("failed", reason=EVIL, tensor=END, implementation=IMG, variant="native"))
    return records


def thousand() -> list[Record]:
    """A thousand records, in the proportions of a full campaign."""
    make = Maker()
    records = [item for who in WHO for item in curve(make, WHO[who], implementation=who[0], variant=who[1])]
    tasks = ("adding", "char_lm", "sentiment", "seq2seq", "names", "tagging")
    for task in tasks:
        for cell in CELLS:
            for (implementation, variant), step in WHO.items():
                what: dict[str, Any] = {
                    "implementation": implementation, "variant": variant, "task": task, "cell": cell,
                }  # fmt: skip
                records += row(make, step, passes=3, **what)
                if cell == "lstm":
                    records += trained(make, **what)
    assert len(records) >= 1000, len(records)
    return records[:1000]


def row(make: Maker, step: float, passes: int = 3, **what: Any) -> list[Record]:
    """Proven, timed, decoding too, its memory taken, the machine watched."""
    place = {"cpu": what.pop("cpu")} if "cpu" in what else {}
    drifts = [1.0, 1.03, 0.98][:passes]
    timed = [
        make.bench(number, step, drift, decode=2 * step, model={"generates": True}, **what, **place)
        for number, drift in enumerate(drifts)
    ]
    asked = {**what, **place, "model": {"generates": True}}
    return [
        make.parity(**asked), *timed, make.memory(peak_mib=1e4 * step, **asked), make.quiet(**asked),
    ]  # fmt: skip


def followed(make: Maker, **what: Any) -> Record:
    """A climb to level 5, with its horizon; of another seed than the rows."""
    made = copy.deepcopy(make.parity(seed=1, **what))
    repeat = {"steps": 100, "equal": True, "difference": 0.0, "tensor": "", "step": None}
    level = {"level": 5, "name": "trajectory", "of": 100, "steps": 100, "inside": 24, "horizon": 24}
    level |= {"losses": [1.0, 0.5], "repeat": repeat}
    made["body"]["levels"].append(made["body"]["levels"][2] | level | {"status": "horizon reached"})
    made["body"]["settings"] = {"threads": "2"}
    made["digest"] = sealing.digest(made)
    return made


def trained(make: Maker, **what: Any) -> list[Record]:
    """To quality, over a few seeds."""
    reached = [(0.2, 0.02 + 0.001 * seed, 1.2e-3 + 1e-5 * seed) for seed in range(2)]
    return [
        record
        for seed, held in enumerate(reached)
        for record in (
            make.parity(size="full", seed=seed, **what),
            make.training(held_out=held, size="full", seed=seed, **what),
        )
    ]


def curve(make: Maker, step: float, **what: Any) -> list[Record]:
    """Points along T."""
    records = [make.parity(size="tiny", length=11, **what)]
    for length in (25, 100, 400):
        asked: dict[str, Any] = {"length": length, "size": "small, B = 32", "batch": 32, **what}
        records.append(make.bench(step=step * length / 50, campaign="curves", **asked))
        records.append(make.memory(peak_mib=40 + length / 10, **asked))
    return records
