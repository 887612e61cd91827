"""Many rows: each proven, then timed, a fresh process for every sample group.

Groups run in an order of each pass's own over several passes, so that drift of the machine
hits all implementations alike. What has a record with the same key (spec, source, lock,
hardware) is not run again; a failure is a record too, and never counts as done.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from results import store
from results.record import Record
from suites import recording, seeds
from suites.bench import passthrough, quiet
from suites.bench.environments import Environment, tail
from suites.selection import Question

FAILED = "parity failed"
SETTINGS = ("-c", "pyproject.toml")  # ours: pytest would take those of a project around an --impl folder
PYTEST = ("--benchmark-disable-gc", "-p", "no:cacheprovider")

# what may differ between a parity row (tiny) and the timed row (any size) it stands for
PROVEN_BY = ("implementation", "variant", "task", "cell", "dtype", "device", "data")


@dataclass(frozen=True)
class Job:
    """One child process: a sample group of one pass, or the memory pass of a row."""

    kind: str  # "bench" or "memory"
    question: Question
    number: int  # of the pass

    @property
    def more(self) -> dict[str, int]:
        """What enters the cache key beside the row."""
        return {"passed": self.number} if self.kind == "bench" else {}

    def __str__(self) -> str:
        about = f"pass {self.number + 1}" if self.kind == "bench" else "memory"
        return f"{about:<7} {self.question.row}"


@dataclass
class Campaign:
    """The rows of all implementations, with the environment and the origin of each."""

    records: Path
    environments: dict[str, Environment]  # by folder name
    origins: dict[str, dict[str, Any]]
    questions: list[Question]
    passes: int
    blocks: int
    timeout: float
    handed_on: passthrough.Given = field(default_factory=dict)  # options of pytest-benchmark
    failed: list[str] = field(default_factory=list)
    worse: list[str] = field(default_factory=list)  # says pytest-benchmark

    @cached_property
    def name(self) -> str:
        """Names the rows that are measured side by side, as they are now: an interrupted
        run goes on under the same name, and times of different names are not paired."""
        rows = sorted(recording.key("row", q, self.origins[q.folder.name]) for q in self.questions)
        threads = sorted({environment.threads for environment in self.environments.values()})
        return hashlib.sha256(json.dumps([rows, threads]).encode()).hexdigest()[:16]

    def known(self) -> list[Record]:
        """The records so far; damaged ones are named and kept aside."""
        records, damaged = store.read_all(self.records)
        for file in damaged:
            print(f"damaged record kept aside: {file}", flush=True)
        return records

    def jobs(self) -> list[Job]:
        """Every job of the campaign in the order it runs: pass by pass, then memory."""
        timed = [
            Job("bench", question, n) for n in range(self.passes) for question in shuffled(self.questions, n)
        ]
        return timed + [Job("memory", question, 0) for question in shuffled(self.questions, self.passes)]

    def run(self) -> None:
        """Time every row that is proven; say why of each that is not."""
        records = self.known()
        done = {record["key"] for record in records if record["status"] == "ok"}
        verdicts = {question: self.verdict(question, records) for question in self.questions}
        for question, reason in verdicts.items():
            if reason:
                print(f"untimed  {question.row}: {reason}", flush=True)
                self.note(question, reason, records)
                if reason.startswith(FAILED):
                    self.failed.append(f"{question.row}: {reason}")
        jobs = [job for job in self.jobs() if not verdicts[job.question]]
        left = [job for job in jobs if self.key(job) not in done or (self.handed_on and job.kind == "bench")]
        if self.handed_on:
            print("pytest-benchmark's options ask for samples of now: every row is timed, measured or not.")
        if len(left) < len(jobs):
            print(f"{len(jobs) - len(left)} of {len(jobs)} groups are measured already and stay as they are.")
        with TemporaryDirectory() as parts:
            for line in self.progress(left, Path(parts)):
                print(line, flush=True)
            if "benchmark_json" in self.handed_on:
                passthrough.merge(Path(parts), self.handed_on["benchmark_json"])

    def progress(self, jobs: list[Job], parts: Path) -> Iterator[str]:
        """Run the jobs one by one; a line before each, a line with its outcome."""
        began = time.monotonic()
        watch = quiet.Watch(
            max((environment.threads for environment in self.environments.values()), default=1)
        )
        for n, job in enumerate(jobs):
            spent = time.monotonic() - began
            ahead = f", about {clock(spent / n * (len(jobs) - n))} left" if n else ""
            yield f"[{n + 1}/{len(jobs)}  {clock(spent)}{ahead}]  {job}"
            if job.kind == "bench":
                self.observe(watch, job, "before")
            status, reason = self.launch(job, parts)
            if status != "ok":
                self.failed.append(f"{job}: {status}: {reason}")
                body: dict[str, Any] = (
                    {"campaign": self.name, "pass": job.number} if job.kind == "bench" else {}
                )
                self.write(job.kind, job.question, status, reason, body, **job.more)
                yield f"    {status}: {reason}"
            if job.kind == "bench" and all(later.kind != "bench" for later in jobs[n + 1 : n + 2]):
                self.observe(watch, job, "after")

    def observe(self, watch: quiet.Watch, job: Job, when: str) -> None:
        """Keep a sample of the machine itself, before or after a group."""
        body = {"campaign": self.name, "pass": job.number, "when": when, **watch.sample()}
        self.write("quiet", job.question, "ok", "", body, passed=job.number, when=when)

    def launch(self, job: Job, parts: Path) -> tuple[str, str]:
        """Run one child; ("ok", "") if it left its record, else the status and why."""
        row, environment = job.question.row, self.environments[job.question.folder.name]
        before = set(self.records.glob(f"{job.kind}-*.json"))
        try:
            done = environment.run(*self.child(job, parts), timeout=self.timeout, timed=job.kind == "bench")
        except subprocess.TimeoutExpired:
            return "timeout", f"not finished after {self.timeout:g} s"
        left = not set(self.records.glob(f"{job.kind}-*.json")) <= before
        if self.handed_on and job.kind == "bench":
            print(done.stdout.partition("\nTraceback (most")[0], flush=True)
            if left and done.returncode != 0:  # the samples stand; a comparison with others failed
                self.worse.append(f"{job}: {tail(done.stdout, lines=1)}")
                return "ok", ""
        if done.returncode != 0:
            return "error", f"exit code {done.returncode} ({row}):\n{tail(done.stdout)}"
        return ("ok", "") if left else ("error", f"the child ended without a record:\n{tail(done.stdout)}")

    def child(self, job: Job, parts: Path) -> list[str]:
        """What python is given in the child."""
        row, threads = job.question.row, str(self.environments[job.question.folder.name].threads)
        own = ["--records", str(self.records), "--threads", threads, "--campaign", self.name]
        if job.kind == "memory":
            return ["-m", "suites.bench.memory", *own, *row_options(job.question)]
        own += ["--blocks", str(self.blocks), "--pass-number", str(job.number)]
        own += passthrough.of_group(self.handed_on, row, job.number, parts) or ["--benchmark-quiet"]
        module = ["-m", "pytest", *SETTINGS, "-q", *PYTEST, "suites/bench/test_group.py"]
        return [*module, *own, *row_options(job.question)]

    def verdict(self, question: Question, records: list[Record]) -> str:
        """Why the row may not be timed, or nothing where it is proven here and now."""
        origin = self.origins[question.folder.name]
        proofs = [
            record for record in records if record["kind"] == "parity" and proves(record, question, origin)
        ]
        if not proofs:
            return f"{FAILED}: there is no record of it for this source and these versions"
        newest = proofs[-1]
        if newest["status"] == "passed":
            return ""
        if newest["status"] == "failed":
            return FAILED
        return f"{newest['status']}: {newest['reason']}"

    def note(self, question: Question, reason: str, records: list[Record]) -> None:
        """Keep an untimed row as a record, once."""
        key = self.key(Job("bench", question, 0))
        if not any(r["key"] == key and r["status"] == "untimed" and r["reason"] == reason for r in records):
            self.write("bench", question, "untimed", reason, {"campaign": self.name, "pass": 0}, passed=0)

    def key(self, job: Job) -> str:
        """The cache key of a job, from the origin that its environment stated."""
        origin = self.origins[job.question.folder.name]
        return recording.key(job.kind, job.question, origin, campaign=self.name, **job.more)

    def write(
        self, kind: str, question: Question, status: str, reason: str, body: dict[str, Any], **more: Any
    ) -> None:
        """A record that the parent writes for a row that could not: untimed, error, timeout."""
        origin = self.origins[question.folder.name]
        recording.write(
            self.records, kind, question, status, reason, body, origin, campaign=self.name, **more
        )


def prove(environment: Environment, arguments: list[str], records: Path) -> int:
    """Run the gate for an implementation in its environment, output shown; pytest's exit code."""
    own = ["-p", "no:cacheprovider", "--no-header", "--records", str(records)]
    return environment.stream("-m", "pytest", *SETTINGS, "suites/parity", *own, *arguments)


def proves(record: Record, question: Question, origin: dict[str, Any]) -> bool:
    """Whether a parity record speaks of this row, as its source, versions and hardware are now."""
    row, have = question.row.record(), record["provenance"]
    same = all(record["row"][name] == row[name] for name in PROVEN_BY)
    return same and all(
        have[name] == origin[name] for name in ("source", "lock", "versions", "hardware_hash")
    )


def row_options(question: Question) -> list[str]:
    """The options that select just this row."""
    row = question.row
    values = {
        "--variant": row.variant,
        "--task": question.asked,
        "--cell": row.cell,
        "--dtype": row.dtype,
        "--size": question.task.size,
        "--data": row.data,
        "--length": str(row.length),
        "--batch": str(question.task.batch),
        "--hidden": str(question.task.model.hidden),
        "--seed": str(row.seed),
    }
    return [part for pair in values.items() for part in pair]


def shuffled(questions: list[Question], number: int) -> list[Question]:
    """Rows that will be compared (one task, cell, dtype) side by side, in an order of each pass's own.

    Side by side, so that a burst of load hits them alike; shuffled from a named
    seed, so that none always follows the same neighbour.
    """
    together: dict[tuple[str, str, str], list[Question]] = {}
    for question in questions:
        row = question.row
        together.setdefault((row.task, row.cell, row.dtype), []).append(question)
    found: list[Question] = []
    for name, rows in sorted(together.items()):
        rows = sorted(rows, key=lambda question: (question.row.implementation, question.row.variant))
        order = seeds.permutation(seeds.generator(number, "order", *name), len(rows))
        found += [rows[at] for at in order]
    return found


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
