"""One sample group: one row, built in this process, its phases apart, ready to be sampled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from results.errors import UserError
from suites import implementations, plain_device, tasks, weights
from suites.bench import bound, floor
from suites.interface import Array, Batch, Implementation
from suites.selection import Question
from suites.spec import Task

BATCHES = 8  # placed before timing and taken in turn, so that no step sees the same batch twice in a row
ROUND_S = (
    0.02  # a sample lasts about this long: 20 000 times the clock's 1 us, and short beside a burst of load
)
# Of a training step, which comes first in a turn, the first round was 17 % slower than the mean of the five,
# the last 7 % faster (66 groups of 5 turns, in the mean).
RUN_IN_S = 3 * ROUND_S
SETTLED = 0.05  # warm-up is over when a round is no more than 5 % faster than the best before it
WARM_UP_ROUNDS = (4, 40)  # at least, at most
LATE_SYNC = 0.25  # a result that arrives this share of a round after sync() was not waited for
SYNC_TRIES = 3
LATE_SYNC_S = 2e-3  # and at least this late: fetching a scalar takes microseconds

KERNELS = 8  # of the GPU's kernels, how many a record names
TOLD = 200  # characters of why there are none

WORK = {"train": "first_step_s", "infer": "first_infer_s", "decode": "first_decode_s"}  # and its first phase


class Void(Exception):
    """The samples mean nothing; the text says why."""


class MissingSync(Void):
    """``sync()`` came back before the work was done."""


class Unsteady(Void):
    """What ran was compiled anew, or took another path, while samples were taken."""


@dataclass
class Group:
    """The row's implementation with its placed batches, and how long each phase took."""

    question: Question
    impl: Implementation
    settings: dict[str, str]
    phases: dict[str, float]
    calls: dict[str, Callable[[Any], Any]]  # by work: what a placed batch is given to
    placed: list[Any]
    floors: dict[str, Callable[[], Any]]  # by work, "floor_" before it
    wait: Callable[[Any], None]  # for what a floor has begun
    bounds: dict[str, dict[str, Any]]  # by work, on a GPU: see bound.py
    tokens: dict[str, float]  # by work: what one iteration goes through, see tokens()
    compilations: Callable[[], int]  # of this process so far
    iterations: dict[str, int] = field(default_factory=dict)

    def target(self, what: str) -> Sample:
        """What one iteration of ``what`` runs: a key of ``calls`` or of ``floors``."""
        if what in self.calls:
            call, batches = self.calls[what], cycle(self.placed)
            return Sample(
                lambda: call(next(batches)), self.impl.sync, self.iterations.get(what, 1), self.impl.fetch
            )
        sample = Sample(self.floors[what], lambda: self.wait(sample.last), self.iterations.get(what, 1), None)
        return sample

    def kernels(self) -> dict[str, list[str]]:
        """By work, what the GPU ran for one iteration, longest first, or why that is not known; nothing
        where the framework does not tell."""
        device = implementations.device_module(self.question.folder)
        if self.question.row.device != "gpu" or not hasattr(device, "profile"):
            return {}

        def longest(call: Callable[[Any], Any]) -> list[str]:
            def once() -> None:
                call(self.placed[0])
                self.impl.sync()

            try:
                seconds = device.profile(once)
            except Exception as error:  # noqa: BLE001  # the samples are taken: no profiler may lose them
                return [f"not seen: {type(error).__name__}: {error}"[:TOLD]]
            return sorted(seconds, key=lambda name: -seconds[name])

        return {what: longest(call) for what, call in self.calls.items()}

    def warm_up(self, what: str) -> int:
        """Run until a round is no longer faster than those before; sets the iterations of a round.

        The block size comes from these rounds, after compilation. Returns how many it took.
        """
        least, most = WARM_UP_ROUNDS
        sample, times = self.target(what), [float("inf")]
        for n in range(1, most + 1):
            began = time.perf_counter()
            count = 0
            while time.perf_counter() - began < ROUND_S or count == 0:
                sample()
                sample.wait()
                count += 1
            times.append((time.perf_counter() - began) / count)
            if n >= least and times[-1] > (1 - SETTLED) * min(times[:-1]):
                break
        self.iterations[what] = max(1, round(ROUND_S / min(times)))  # the least disturbed round
        return n

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Around all samples of the group. Raises Unsteady where something was compiled meanwhile, or
        where the row fell back from the path it had taken."""
        path = self.impl.path()  # may compile for the two steps that it looks at
        count = self.compilations()
        yield
        more = self.compilations() - count
        if more > 0:
            raise Unsteady(f"recompiled {more} time(s) inside the timed window: expected all before it")
        if self.impl.path() != path:
            raise Unsteady(
                f"expected one path inside the timed window, got {path} before and {self.impl.path()} after"
            )


class Sample:
    """A callable for pytest-benchmark: ``iterations`` calls, the last of which waits for the device."""

    def __init__(
        self,
        call: Callable[[], Any],
        sync: Callable[[], None],
        iterations: int,
        fetch: Callable[[Any], Array] | None,
    ) -> None:
        self.call, self.wait, self.iterations, self.fetch = call, sync, iterations, fetch
        self.count, self.last = 0, None

    def __call__(self) -> None:
        self.last = self.call()
        self.count += 1
        if self.count % self.iterations == 0:
            self.wait()

    def run_in(self) -> None:
        """Work a while untimed: another process has had the caches."""
        began = time.perf_counter()
        while time.perf_counter() - began < RUN_IN_S:
            for _ in range(self.iterations):
                self()

    def measured(self, benchmark: Any, rounds: int) -> list[float]:
        """Seconds an iteration, of each round, by the ``benchmark`` fixture of pytest-benchmark.

        After the rounds that calls once more, for a result: that would be at work while the next is timed.
        """
        benchmark.pedantic(self, rounds=rounds, iterations=self.iterations, teardown=self.wait)
        return list(benchmark.stats.stats.data)

    def prove_sync(self, round_s: float) -> None:
        """Raise MissingSync if the last result of a round is never there right after ``sync()``.

        One more round, then the result is fetched and timed: where sync waited, it is a
        copy. A busy machine may delay a copy, but not each of several; a missing wait does.
        """
        if self.fetch is None:
            return
        late = min(self._lateness(self.fetch) for _ in range(SYNC_TRIES))
        if late > max(LATE_SYNC_S, LATE_SYNC * round_s):
            raise MissingSync(
                f"expected the result to be there after sync(), got it {late * 1e3:.1f} ms later at best "
                f"(a round lasts {round_s * 1e3:.1f} ms): sync() does not wait for the device"
            )

    def _lateness(self, fetch: Callable[[Any], Array]) -> float:
        """Seconds that the last result of one more round takes to fetch."""
        for _ in range(self.iterations - self.count % self.iterations):
            self()
        began = time.perf_counter()
        fetch(self.last)
        return time.perf_counter() - began


def build(question: Question, threads: int) -> Group:
    """Import, build, and the first call of each work: each phase timed apart.

    Raises Unavailable or UserError where the row cannot run.
    """
    row, task = question.row, question.task
    phases: dict[str, float] = {}
    with Phase(phases, "import_s"):
        device = implementations.device_module(question.folder)
        make = implementations.builder(question.folder, row.variant)
    settings = device.configure(row.device, threads)
    settings |= implementations.precise(question.folder, row.dtype, row.device)
    with Phase(phases, "build_s"):
        impl = make(task, row.dtype, row.device)
        impl.load(weights.cast(weights.initial(task, row.seed), row.kept))
    batches = [tasks.cast(batch, row.kept) for batch in islice(tasks.batches(task, row.seed), BATCHES)]
    placed = [impl.place(batch) for batch in batches]
    calls = {what: _call(impl, task, what) for what in work(task)}
    for what, call in calls.items():
        with Phase(phases, WORK[what]):
            call(placed[0])
            impl.sync()
    floors = {
        f"floor_{what}": device.floor(products(task, what, batches), row.dtype, row.device) for what in calls
    }
    wait = getattr(device, "wait", plain_device.wait)
    bounds = {}
    if row.device == "gpu" and hasattr(device, "copy"):
        for what in calls:
            size = bound.traffic(task, row.dtype, what, batches, decoded(task))
            runs = {"products": floors[f"floor_{what}"], "bytes": device.copy(size, row.device)}
            seconds = {by: bound.seconds(run, wait) for by, run in runs.items()}
            by = max(seconds, key=lambda by: seconds[by])
            floors[f"floor_{what}"] = runs[by]
            bounds[what] = {"by": by, "bytes": size, "seconds": seconds}
    counts = {what: tokens(task, what, batches) for what in calls}
    compilations = getattr(device, "compilations", plain_device.compilations)
    return Group(question, impl, settings, phases, calls, placed, floors, wait, bounds, counts, compilations)


def work(task: Task) -> list[str]:
    """What of the task is timed: a training step, inference, and decoding where it generates."""
    return [what for what in WORK if what != "decode" or task.model.generates]


def decoded(task: Task) -> int:
    """How many tokens a sequence is decoded to: S, of a language model T."""
    return task.target_length or task.length


def products(task: Task, what: str, batches: list[Batch]) -> list[floor.Product]:
    """The matrix products of one iteration of this work."""
    lengths = floor.valid_lengths(task, batches)
    if what == "decode":
        return floor.decoding(task, decoded(task), lengths)
    return floor.training(task, lengths) if what == "train" else floor.inference(task, lengths)


def tokens(task: Task, what: str, batches: list[Batch]) -> float:
    """The steps of a batch's sequences, of encoder and decoder together, padding left out, in the mean
    over the batches; of decoding the tokens that are chosen."""
    if what == "decode":
        return task.batch * decoded(task)
    return sum(sum(floor.valid_steps(task, batch)) for batch in batches) / len(batches)


def _call(impl: Implementation, task: Task, what: str) -> Callable[[Any], Any]:
    """What a placed batch is given to."""
    if what == "decode":
        return lambda placed: impl.decode(placed, decoded(task))
    return impl.step if what == "train" else impl.infer


def only(questions: list[Question]) -> Question:
    """A group is one row. Raises UserError where the options select several."""
    if len(questions) != 1:
        raise UserError(
            f"a sample group is one row in a process of its own: expected options that select one row, "
            f"got {len(questions)}. `python -m suites.bench` runs many."
        )
    return questions[0]


class Phase:
    """Times what is inside, into ``phases[name]``, in seconds."""

    def __init__(self, phases: dict[str, float], name: str) -> None:
        self.phases, self.name = phases, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.phases[self.name] = time.perf_counter() - self.began
