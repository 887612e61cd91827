"""Which rows a command is about: the options that every command shares, and the rows they select."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from results.errors import UserError, unknown
from suites import implementations, precision, spec, tasks
from suites.spec import Task

DEVICES = ("cpu", "gpu")

# flag, help; every one takes a value, and several may be given with commas
OPTIONS = {
    "--impl": "implementation: numpy, torch, jax, tensorflow, or the path of a folder",
    "--device": "cpu (default) or gpu",
    "--variant": "scratch, native, tuned, of these all that the folder has by default; remat",
    "--task": "task by name, or the path of a TOML file; all by default",
    "--cell": "rnn, lstm, gru, gru_reset_before; all of the task by default",
    "--dtype": "float32, float64; declared: tf32, bf16",
    "--size": "a size of the task file: tiny, small, paper",
    "--data": "a data source of the task file; its first by default",
    "--length": "sequence length T, in place of the size's own",
    "--batch": "sequences in a batch B, likewise",
    "--hidden": "width H of the hidden state, likewise",
    "--seed": "seed of data and weights, 0 by default",
}


@dataclass(frozen=True)
class Row:
    """One line of every table: who answers what."""

    implementation: str
    variant: str
    task: str
    cell: str
    dtype: str
    device: str
    size: str  # with the B and H that are not its own: "small, B = 1"
    data: str
    length: int
    seed: int

    @property
    def kept(self) -> str:
        """The dtype of its arrays."""
        return precision.kept(self.dtype)

    def record(self) -> dict[str, Any]:
        """The row as a record keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        asked = f"{self.task}/{self.data} {self.cell} {self.dtype} {self.device}  {self.size} T={self.length}"
        return f"{self.implementation} {self.variant}  {asked}" + (f" seed {self.seed}" if self.seed else "")


@dataclass(frozen=True)
class Question:
    """A row with what it takes to run it."""

    row: Row
    task: Task
    folder: implementations.Folder
    asked: str  # the task as it was asked for: its name, or the path of a TOML file


def add_options(add: Callable[..., Any]) -> None:
    """Declare the shared options through an ``add_argument`` or pytest's ``addoption``."""
    for flag, text in OPTIONS.items():
        add(flag, default=None, help=text)


def questions(
    get: Callable[[str], str | None],
    *,
    size: str,
    dtypes: tuple[str, ...],
    valid: tuple[str, ...] = precision.PRECISIONS,
) -> list[Question]:
    """The rows that the options select, in a fixed order.

    ``get`` returns an option's text by its name without dashes. ``size``, ``dtypes``
    are the command's defaults, ``valid`` the dtypes that it knows. Raises UserError for every name that does
    not exist.
    """
    impl = get("impl")
    if not impl:
        raise UserError(
            f"--impl: expected one of {', '.join(implementations.names())} or a folder, got nothing."
        )
    folder = implementations.find(impl)
    device = one_of("device", get("device") or "cpu", DEVICES)
    variants = _several(get("variant"), folder.usual, "variant", folder.variants)
    chosen_dtypes = _several(get("dtype"), dtypes, "dtype", valid)
    seed = _integer("seed", get("seed"), 0)
    found = []
    for name, cell in tasks_and_cells(get):
        task, sized = _task(get, name, cell, get("size") or size)
        for variant in variants:
            for dtype in chosen_dtypes:
                asked = (task.name, cell, dtype, device, sized, task.data.name, task.length, seed or 0)
                found.append(Question(Row(folder.name, variant, *asked), task, folder, name))
    return found


def check_data(questions: list[Question]) -> None:
    """Make the first batch of each data source, downloading it where need be.

    Raises UserError where it cannot be had: once, before anything runs.
    """
    distinct = {(q.row.task, q.row.data, q.row.length, q.task.batch, q.row.seed): q for q in questions}
    for question in distinct.values():
        next(tasks.batches(question.task, question.row.seed))


def tasks_and_cells(get: Callable[[str], str | None]) -> list[tuple[str, str]]:
    """The (task, cell) pairs that the options select.

    Where ``--task`` is not given, the tasks that have the ``--data`` and the ``--cell`` asked for.
    """
    asked, data = get("task"), get("data")
    names = asked.split(",") if asked else spec.names()
    if data and not asked:
        sources = {name: spec.data_names(name) for name in names}
        names = [name for name in names if data in sources[name]]
        if not names:
            raise unknown("data source", data, sorted({s for have in sources.values() for s in have}))
    pairs = [
        (name, cell) for name in names for cell in _several(get("cell"), spec.cells(name), "cell", spec.CELLS)
    ]
    return pairs if asked else [(name, cell) for name, cell in pairs if cell in spec.cells(name)]


def _task(get: Callable[[str], str | None], name: str, cell: str, size: str) -> tuple[Task, str]:
    """The task with what the options put in place of its size's own, and the name of that size for a row."""
    length, batch, hidden = (_integer(what, get(what), None) for what in ("length", "batch", "hidden"))
    own = spec.load(name, cell=cell, size=size, data=get("data"), length=length)
    if batch is None and hidden is None:
        return own, size
    task = spec.load(name, cell=cell, size=size, data=get("data"), length=length, batch=batch, hidden=hidden)
    sized = [size]
    sized += [f"B = {task.batch}"] if task.batch != own.batch else []
    sized += [f"H = {task.model.hidden}"] if task.model.hidden != own.model.hidden else []
    return task, ", ".join(sized)


def one_of(what: str, name: str, valid: tuple[str, ...] | list[str]) -> str:
    """The name, if it is valid. Raises UserError with the nearest one that is."""
    if name not in valid:
        raise unknown(what, name, valid)
    return name


def _several(
    text: str | None,
    default: list[str] | tuple[str, ...],
    what: str,
    valid: list[str] | tuple[str, ...] | None = None,
) -> list[str]:
    """The names in a comma-separated option, or the default."""
    if text is None:
        return list(default)
    return [one_of(what, name, valid or default) for name in text.split(",")]


def _integer(what: str, text: str | None, default: int | None) -> int | None:
    if text is None:
        return default
    if not text.isdecimal():
        raise UserError(f"--{what}: expected a whole number, got {text!r}.")
    return int(text)
