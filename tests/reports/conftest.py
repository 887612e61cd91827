"""Synthetic records with the noise of a real machine: passes drift, rounds scatter, some stall."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results import record, store
from results.record import Record

BLOCKS, ROUNDS = 5, 5
BATCH, LENGTH, HIDDEN = 50, 50, 64
STEP_S = 2e-3
FLOOR_S = 4e-4
DECODED = 12


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


class Maker:
    """Makes records of one campaign; each is stamped a second after the one before."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.clock = 0

    def record(self, kind: str, status: str, reason: str, body: dict[str, Any], **what: Any) -> Record:
        row = {
            "implementation": "torch",
            "variant": "native",
            "task": "adding",
            "cell": "lstm",
            "dtype": "float32",
            "device": "cpu",
            "size": "small",
            "data": "generated",
            "length": LENGTH,
            "seed": 0,
        }
        row |= {name: what.pop(name) for name in list(what) if name in row}
        spec = {
            "name": row["task"],
            "size": row["size"].partition(",")[0],
            "batch": what.pop("batch", BATCH),
            "length": row["length"],
            "model": {"cell": row["cell"], "hidden": HIDDEN, **what.pop("model", {})},
        }
        made = record.new(
            kind=kind,
            row=row,
            status=status,
            reason=reason,
            spec=spec,
            fingerprint=sha(spec),
            key=sha((kind, row)),
            provenance=self.provenance(row["implementation"], **what),
            body=body,
        )
        self.clock += 1
        hours, rest = divmod(self.clock, 3600)
        made["created"] = f"2026-11-20T{hours:02d}:{rest // 60:02d}:{rest % 60:02d}Z"
        made["id"] = sha((self.clock, row))[:32]  # a uuid4 would make every run of a test another
        made["digest"] = record.digest(made)
        return record.verify(made)

    def provenance(
        self,
        implementation: str,
        source: str = "one",
        lock: str = "one",
        version: str = "1.2.3",
        cpu: str = "A CPU",
        dirty: bool = False,
    ) -> dict[str, Any]:
        return {
            "source": sha((implementation, source)),
            "commit": "c0ffee" + "0" * 34,
            "dirty": dirty,
            "lock": sha((implementation, lock)),
            "versions": {"python": "3.11.7", implementation: version},
            "platform": {"system": "Linux", "machine": "x86_64"},
            "hardware": {"cpu": cpu, "cores": 2, "memory_bytes": 2**33, "gpu": "none", "driver": "none"},
            "hardware_hash": sha(cpu),
            "threads": {"OMP_NUM_THREADS": "2"},
            "blas": [],
            "clock": {"load_average": [0.1, 0.1, 0.1]},
        }

    def parity(
        self,
        status: str = "passed",
        reason: str = "",
        error: float = 1e-15,
        tensor: str = "head.W_hq",
        digest: str = "data",
        deviation: dict[str, str] | None = None,
        **what: Any,
    ) -> Record:
        """A climb to level 3, where a row that does not pass falls off."""
        names = ("data and weights", "forward", "loss", "gradients")
        levels = []
        for number, name in enumerate(names):
            fell = number == 3 and status in ("failed", "deviates")
            levels.append(
                {
                    "level": number,
                    "name": name,
                    "status": "failed" if fell else "passed",
                    "error": record.number(1e3 * error if fell else (error if number else 0.0)),
                    "tolerance": 1e-14 if number else 0.0,
                    "tensor": tensor,
                    "where": "carry zero",
                    "origin": "64 u kappa",
                    "detail": "",
                }
            )
        body: dict[str, Any] = {"levels": [] if status == "skipped" else levels, "digest": sha(digest)}
        if deviation is not None:
            body["deviation"] = deviation
        if status != "passed" and not reason:
            reason = f"{status} for a reason"
        return self.record("parity", status, reason, body, **what)

    def bench(
        self,
        number: int = 0,
        step: float = STEP_S,
        drift: float = 1.0,
        scatter: float = 0.01,
        campaign: str = "campaign",
        threads: str = "2",
        blocks: int = BLOCKS,
        decode: float | None = None,
        **what: Any,
    ) -> Record:
        """One pass: ``drift`` is what the machine did to all of it, ``scatter`` to each round."""
        gathered = []
        works = [("train", step), ("floor_train", FLOOR_S), ("infer", step / 3), ("floor_infer", FLOOR_S / 3)]
        if decode is not None:
            works += [("decode", decode), ("floor_decode", FLOOR_S / 2)]
        for block in range(blocks):
            slow = drift * (1 + 0.02 * self.rng.standard_normal())  # what a block and its floor share
            for kind, seconds in works:
                rounds = seconds * slow * np.exp(scatter * self.rng.standard_normal(ROUNDS))
                rounds[0] *= 1.5 if self.rng.random() < 0.05 else 1.0
                gathered.append(
                    {"what": kind, "block": block, "iterations": 10, "seconds": [float(s) for s in rounds]}
                )
        body: dict[str, Any] = {
            "campaign": campaign,
            "pass": number,
            "phases": {"import_s": 1.25, "build_s": 0.05, "first_step_s": 0.75, "first_infer_s": 0.25},
            "blocks": gathered,
            "tokens_per_step": BATCH * LENGTH,
            "path": {"kernel": "scan", "compiled": "jit"},
            "settings": {"threads": threads},
        }
        if decode is not None:
            body["phases"] |= {"first_decode_s": 0.5}
            body["tokens_per_decode"] = BATCH * DECODED
        return self.record("bench", "ok", "", body, **what)

    def memory(self, peak_mib: float = 96.0, **what: Any) -> Record:
        body = {
            "baseline_bytes": 200 * 2**20,
            "peak_bytes": int((200 + peak_mib) * 2**20),
            "steps": 3,
            "device_peak": {},
            "settings": {"threads": "2"},
        }
        return self.record("memory", "ok", "", body, **what)

    def quiet(
        self,
        matmul: float = 1e-3,
        others: float | None = 0.005,
        steal: float | None = 0.0,
        seconds: float | None = 5.0,
        throttled: int | None = None,
        gpu: dict[str, Any] | None = None,
        campaign: str = "campaign",
        **what: Any,
    ) -> Record:
        """A sample of the machine before a group."""
        body = {
            "campaign": campaign,
            "pass": 0,
            "when": "before",
            "matmul_s": [matmul, matmul, 3 * matmul],
            "copy_s": [5e-4, 5e-4, 6e-4],
            "load_average": [1.5, 1.0, 0.5],
            "cpu_mhz": 2600.0,
            "throttled": throttled,
            "seconds": seconds,
            "steal": steal,
            "others": others,
        }
        if gpu is not None:
            said = {"sm_mhz": 1980.0, "memory_mhz": 2619.0, "temperature_c": 41.0, "power_w": 120.0}
            body["gpu"] = said | {"memory_used_mib": 600.0, "slowed": []} | gpu
        return self.record("quiet", "ok", "", body, **what)

    def training(
        self,
        held_out: tuple[float, ...] = (0.2, 0.01, 1.25e-3),
        loss: tuple[float, ...] = (0.1, 0.005),
        optimum: float | None = 0.0,
        threads: str = "2",
        metric: str = "squared error",
        **what: Any,
    ) -> Record:
        """Trained to quality: a point each 100 steps."""
        points = zip(held_out, (None, *loss), strict=True)
        curve = [
            {"step": 100 * n, "loss": mean, "held_out": value, "seconds": 1.5 * n}
            for n, (value, mean) in enumerate(points)
        ]
        body = {
            "metric": metric,
            "optimum": optimum,
            "baseline": 1 / 6,
            "curve": curve,
            "final": {"another": 4.0, metric: held_out[-1]},
            "predictions": 3200,
            "seconds": curve[-1]["seconds"],
            "evaluation_seconds": 0.5,
            "path": {"kernel": "scan"},
            "settings": {"threads": threads},
        }
        return self.record("training", "ok", "", body, **what)

    def row(
        self,
        passes: int = 5,
        drifts: list[float] | None = None,
        step: float = STEP_S,
        scatter: float = 0.01,
        **what: Any,
    ) -> list[Record]:
        """Parity that passed, timing in several passes, memory."""
        drifts = drifts or [1.0] * passes
        timed = [self.bench(number, step, drift, scatter, **what) for number, drift in enumerate(drifts)]
        return [self.parity(**what), *timed, self.memory(**what)]


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def keep() -> Callable[[Path, list[Record]], list[Path]]:
    """Writes records to a folder."""

    def write(folder: Path, records: list[Record]) -> list[Path]:
        return [store.write(folder, item) for item in records]

    return write


@pytest.fixture(scope="session")
def everything() -> list[Record]:
    """Records of every kind that a report has a section or a figure for."""
    made = Maker()
    records = []
    rows = (("numpy", "scratch", 0.01, 9e-3), ("torch", "native", 0.1, 2e-3), ("jax", "tuned", 1.0, 1.6e-3))
    for name, variant, start, step in rows:
        who = {"implementation": name, "variant": variant}
        records += [made.parity(**who), made.quiet(**who), made.memory(90 + 1e3 * step, **who)]
        for number in range(2):
            timed = made.bench(number, step, **who)
            timed["body"]["phases"] |= {"build_s": 0.25 * start, "first_step_s": 0.75 * start}
            records.append(timed)
        for length in (10, 400):
            at = {**who, "length": length, "campaign": "curves"}
            records += [made.bench(number, step * length / 50, **at) for number in range(2)]
            records.append(made.memory(0.5 * length, **who, length=length))
        records += [made.training(seed=seed, length=20, **who) for seed in range(2)]
        decoding = {**who, "task": "char_lm", "model": {"generates": True}}
        records += [made.parity(**decoding), made.bench(0, step, decode=2 * step, **decoding)]
    return records
