"""Many rows: each proven, then timed, a fresh process for every sample group.

A sample group is one row in one pass. The groups of a pass that are compared sit at one table
and take turns, block by block (``table.py``), so that drift of the machine hits all alike; on a
GPU, of which one process may take the whole memory, each has a table of its own. What has a record
with the same key (spec, source, lock, hardware) is not run again: where a pass was interrupted,
the rest of a table sits alone, and pairs of it with what was there before were measured apart.
A failure is a record too, and never counts as done.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from results import store
from results.record import Record
from suites import recording
from suites.bench import gpu, order, passthrough, quiet, turns
from suites.bench.environments import Environment, tail
from suites.bench.proof import FAILED, SETTINGS, proves
from suites.bench.table import Ended, Table
from suites.selection import Question

SAMPLES = 5  # of the machine itself in a pass of a table, at most
PYTEST = ("--benchmark-disable-gc", "-p", "no:cacheprovider")


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

    @property
    def on_gpu(self) -> bool:
        """Whether anything runs on a GPU, of which one process may take the whole memory."""
        return any(environment.device == "gpu" for environment in self.environments.values())

    def known(self) -> list[Record]:
        """The records so far; damaged ones are named and kept aside."""
        records, damaged = store.read_all(self.records)
        for file in damaged:
            print(f"damaged record kept aside: {file}", flush=True)
        return records

    def jobs(self) -> list[Job]:
        """Every job of the campaign in the order it runs: pass by pass, then memory."""
        timed = [
            Job("bench", question, n)
            for n in range(self.passes)
            for question in order.shuffled(self.questions, n)
        ]
        return timed + [
            Job("memory", question, 0) for question in order.shuffled(self.questions, self.passes)
        ]

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
            self.measure(left, Path(parts))
            if "benchmark_json" in self.handed_on:
                passthrough.merge(Path(parts), self.handed_on["benchmark_json"])

    def measure(self, jobs: list[Job], parts: Path) -> None:
        """Run the jobs, table by table, then the memory passes one by one."""
        progress = Progress(len(jobs))
        threads = max((environment.threads for environment in self.environments.values()), default=1)
        watched = self.on_gpu and gpu.answers()
        if self.on_gpu and not watched:
            print(f"There is no {gpu.TOOL}: nobody says whether the GPU is free, or slowed down.", flush=True)
        watch = quiet.Watch(threads, watched)
        timed = [job for job in jobs if job.kind == "bench"]
        largest = 1 if self.on_gpu else order.LARGEST
        for jobs_of_table in order.tables(
            timed, lambda job: (job.number, order.asked(job.question.row)), largest
        ):
            if watched:  # none of ours works now
                gpu.check_free()
            self.at_table(jobs_of_table, parts, progress, watch)
            progress.over(len(jobs_of_table))
        if timed:
            self.observe(watch, timed[-1], "after")
        for job in jobs[len(timed) :]:  # one at a time: two side by side, and TensorFlow's peak is 5 % higher
            progress.begin(job)
            self.remember(job, self.of_memory(job))
            progress.over(1)

    def at_table(self, jobs: list[Job], parts: Path, progress: Progress, watch: quiet.Watch) -> None:
        """Time rows that are compared: each gets ready while the others wait, then all work in turn."""
        number, about = jobs[0].number, order.asked(jobs[0].question.row)
        with Table(self.timeout) as table:
            for job in jobs:
                progress.begin(job)
                environment = self.environments[job.question.folder.name]
                self.ended(job, table.seat(job, environment, self.child(job, parts)))
            if len(table.seats) > 1:
                progress.turns(number, self.blocks, len(table.seats))
            for block in count():
                at_work = table.at_work
                if not at_work:
                    break
                if block % -(-self.blocks // SAMPLES) == 0 and (block == 0 or len(jobs) > 1):
                    self.observe(watch, jobs[0], "before")
                in_turn = order.turns(at_work, number, block, about)
                for position, job in enumerate(in_turn):
                    self.ended(job, table.turn(job, position, len(in_turn)))
            for job, ended in table.dismiss().items():
                self.ended(job, ended)

    def observe(self, watch: quiet.Watch, job: Job, when: str) -> None:
        """Keep a sample of the machine itself, before blocks of a table or after all, while none works."""
        body = {"campaign": self.name, "pass": job.number, "when": when, **watch.sample()}
        self.write("quiet", job.question, "ok", "", body, passed=job.number, when=when)
        turns.settle()

    def ended(self, job: Job, ended: Ended | None) -> None:
        """Take note where a sample group ended."""
        if ended is None:
            return
        if self.handed_on and ended.code is not None:
            print(ended.output.partition("\nTraceback (most")[0], flush=True)
            if ended.recorded and ended.code != 0:  # the samples stand; a comparison with others failed
                self.worse.append(f"{job}: {tail(ended.output, lines=1)}")
                return
        self.remember(job, ended)

    def of_memory(self, job: Job) -> Ended:
        """Run a memory pass."""
        environment = self.environments[job.question.folder.name]
        try:
            done = environment.run(*self.child(job, Path()), timeout=self.timeout)
        except subprocess.TimeoutExpired:
            return Ended(None, "", False)
        return Ended(done.returncode, done.stdout, done.returncode == 0)

    def remember(self, job: Job, ended: Ended) -> None:
        """Say and keep why a child left no record, where it left none."""
        if ended.code is None:
            status, reason = "timeout", f"not finished after {self.timeout:g} s"
        elif ended.code != 0:
            status, reason = "error", f"exit code {ended.code} ({job.question.row}):\n{tail(ended.output)}"
        elif not ended.recorded:
            status, reason = "error", f"the child ended without a record:\n{tail(ended.output)}"
        else:
            return
        self.failed.append(f"{job}: {status}: {reason}")
        body: dict[str, Any] = {"campaign": self.name, "pass": job.number} if job.kind == "bench" else {}
        self.write(job.kind, job.question, status, reason, body, **job.more)
        print(f"    {status}: {reason}", flush=True)

    def child(self, job: Job, parts: Path) -> list[str]:
        """What python is given in the child."""
        row, threads = job.question.row, str(self.environments[job.question.folder.name].threads)
        own = ["--records", str(self.records), "--threads", threads, "--campaign", self.name]
        if job.kind == "memory":
            return ["-m", "suites.bench.memory", *own, *row_options(job.question)]
        own += ["--blocks", str(self.blocks), "--pass-number", str(job.number)]
        own += passthrough.of_group(self.handed_on, row, job.number, parts) or ["--benchmark-quiet"]
        module = ["-m", "pytest", *SETTINGS, "-q", "-x", *PYTEST, "suites/bench/test_group.py"]
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


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """Says which group begins, how many there are, and how long it will take by those that are over."""

    def __init__(self, groups: int) -> None:
        self.groups, self.begun, self.done = groups, 0, 0
        self.began = self.last = time.monotonic()

    def begin(self, job: Job) -> None:
        """A group starts."""
        self.begun += 1
        self._say(str(job))

    def turns(self, number: int, blocks: int, rows: int) -> None:
        """All groups of a table are ready."""
        self._say(f"pass {number + 1}  blocks 1 to {blocks} of {rows} rows, in turn")

    def over(self, groups: int) -> None:
        """So many have ended."""
        self.done += groups
        self.last = time.monotonic()

    def _say(self, text: str) -> None:
        now, ahead = time.monotonic(), ""
        if self.done:
            each = (self.last - self.began) / self.done
            left = max(0.0, each * (self.groups - self.done) - (now - self.last))
            ahead = f", about {clock(left)} left"
        print(f"[{self.begun}/{self.groups}  {clock(now - self.began)}{ahead}]  {text}", flush=True)
