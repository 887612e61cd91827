"""The spec: what is asked, frozen, typed, read from TOML, hashed.

A task file (``suites/tasks/<task>/task.toml``) holds the model, the training
settings, named sizes and named data sources; :func:`load` picks one of each and
returns a :class:`Task`. Two rows are comparable where their tasks are equal,
which is where their :func:`fingerprint` is.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from results.errors import UserError, unknown

TASKS = Path(__file__).parent / "tasks"
SCHEMA = TASKS / "task.schema.json"

CELLS = ("rnn", "lstm", "gru", "gru_reset_before")
GATES = {"rnn": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}
DTYPES = ("float32", "float64")
WIRINGS = ("encoder", "encoder_decoder", "decoder")
LARGEST = 65_536  # of B, T, H; as task.schema.json has it
PAD, BOS, EOS = 0, 1, 2  # of a decoder's tokens: padding, begin and end of a sequence


@dataclass(frozen=True)
class Model:
    """The network: an encoder, a decoder, or both, of stacked recurrent layers, and a linear head."""

    cell: str  # one of CELLS
    wiring: str  # one of WIRINGS
    inputs: str  # "features" or "tokens"
    features: int  # I of feature inputs; F of the feature vector of a "decoder"; 0 for tokens
    vocabulary: int  # V; 0 for features
    embedding: int  # E, of the encoder's and the decoder's tokens; 0 where there are none
    hidden: int  # H
    layers: int  # L, of the encoder and of the decoder
    bidirectional: bool  # whether the encoder's layers run both ways
    dropout: float  # p, between the encoder's layers; 0 for none
    ragged: bool  # whether sequences have lengths of their own
    outputs: int  # O; V for a language model
    head: str  # "final" or "every"
    loss: str  # "squared_error", "cross_entropy" or "binary_cross_entropy"
    generates: bool  # whether it can go on by itself: ``decode``

    @property
    def input_width(self) -> int:
        """I: the width of x_t as the first layer of the encoder sees it."""
        return self.embedding if self.inputs == "tokens" else self.features

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of the encoder's layers; D of them."""
        return ("fwd", "bwd") if self.bidirectional else ("fwd",)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the state of one layer is made of."""
        return ("h", "c") if self.cell == "lstm" else ("h",)

    @property
    def width(self) -> int:
        """D*H: the width of the hidden states that the head reads."""
        return len(self.directions) * self.hidden


@dataclass(frozen=True)
class Training:
    """How the parameters move."""

    optimiser: str  # "adam" or "sgd"
    learning_rate: float
    clip: float  # threshold of the global gradient norm
    betas: tuple[float, float]  # Adam's decay rates
    epsilon: float  # Adam's, after bias correction and outside the root
    stateful: bool  # the carry goes from batch to batch, the gradient is cut


@dataclass(frozen=True)
class Schedule:
    """How long the task is trained to quality, and how it is looked at on the way."""

    steps: int  # training steps
    every: int  # steps from one evaluation to the next; divides ``steps``
    batches: int  # held-out batches of an evaluation; all that there are where there are fewer


@dataclass(frozen=True)
class Data:
    """Where the batches come from."""

    name: str
    options: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Task:
    """One task at one size on one data source: all that an implementation is asked."""

    name: str
    size: str
    batch: int  # B
    length: int  # T, of the inputs; the longest where they are ragged
    target_length: int  # S, of a decoder's tokens; 0 without a decoder
    model: Model
    training: Training
    schedule: Schedule
    data: Data
    margin: float | None = None  # of the primary metric: differences within it are none; None: not stated


def names() -> list[str]:
    """The tasks that exist."""
    return sorted(path.parent.name for path in TASKS.glob("*/task.toml"))


def fingerprint(task: Task) -> str:
    """SHA-256 of the whole spec: equal where two rows answer the same question."""
    text = json.dumps(asdict(task), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(
    task: str,
    *,
    cell: str | None = None,
    size: str = "tiny",
    data: str | None = None,
    length: int | None = None,
    batch: int | None = None,
    hidden: int | None = None,
) -> Task:
    """Read a task by name, or by the path of a TOML file of the same form.

    ``cell``, ``data`` default to the file's first; ``length``, ``batch``, ``hidden`` stand in
    place of the size's own T, B, H.
    Raises UserError that names the file, the key, what was expected and what was found.
    """
    path = _find(task)
    raw = read(path)
    cell = _choose("cell", cell, raw["cells"], path)
    sizes, sources = raw["sizes"], raw["data"]
    sized = dict(sizes[_choose("size", size, list(sizes), path)])
    for name, value, least in (("length", length, 1), ("batch", batch, 1), ("hidden", hidden, 1)):
        if value is not None:
            sized[name] = _bounded(name, value, least)
    source_name = _choose("data source", data, list(sources), path)
    source = dict(sources[source_name])
    model = _model(raw["model"], cell, sized, source)
    settings = raw["training"]
    training = Training(
        optimiser=settings["optimiser"],
        learning_rate=float(settings["learning_rate"]),
        clip=float(settings["clip"]),
        betas=(float(settings["betas"][0]), float(settings["betas"][1])),
        epsilon=float(settings["epsilon"]),
        stateful=settings["stateful"],
    )
    schedule = Schedule(sized["steps"], sized["evaluate_every"], sized["held_out_batches"])
    _cross_check(model, training, path, size, source_name)
    if schedule.steps % schedule.every:
        raise UserError(
            f"{path}: sizes.{size}.evaluate_every: expected a divisor of steps = {schedule.steps}, "
            f"got {schedule.every}."
        )
    return Task(
        name=raw["name"],
        size=size,
        batch=sized["batch"],
        length=sized["length"],
        target_length=_target_length(model, sized, path, size),
        model=model,
        training=training,
        schedule=schedule,
        data=Data(source_name, source),
        margin=_margin(raw, path),
    )


def read(path: Path) -> dict[str, Any]:
    """The parsed task file, valid against ``task.schema.json``."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a TOML file in UTF-8, got: {error}.") from None
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    violation = best_match(Draft202012Validator(schema).iter_errors(raw))
    if violation is not None:
        raise UserError(_explain(path, violation))
    return raw


def cells(task: str) -> list[str]:
    """The cells that the task asks for."""
    return list(read(_find(task))["cells"])


def trained_size(task: str, data: str | None, default: str) -> str:
    """The size that the data source is trained to quality at: its own ``size``, else ``default``."""
    path = _find(task)
    sources = read(path)["data"]
    return str(sources[_choose("data source", data, list(sources), path)].get("size", default))


def sizes(task: str) -> list[str]:
    """The sizes of the task, the gate's first."""
    return list(read(_find(task))["sizes"])


def data_names(task: str) -> list[str]:
    """The data sources of the task, the embedded default first."""
    return list(read(_find(task))["data"])


def _find(task: str) -> Path:
    path = Path(task)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UserError(f"--task {task}: expected a TOML file, got no such file.")
        return path
    if task not in names():
        raise unknown("task", task, names())
    return TASKS / task / "task.toml"


def _choose(what: str, name: str | None, valid: list[str], path: Path) -> str:
    if name is None:
        return valid[0]
    if name not in valid:
        raise UserError(f"{path}: {unknown(what, name, valid)}")
    return name


def _model(fixed: dict[str, Any], cell: str, sized: dict[str, Any], source: dict[str, Any]) -> Model:
    """The model of a task file's ``[model]``, at a size, on a data source."""
    vocabulary = source.get("vocabulary", 0)
    return Model(
        cell=cell,
        wiring=fixed.get("wiring", "encoder"),
        inputs=fixed["inputs"],
        features=sized.get("features", fixed.get("features", 0)),
        vocabulary=vocabulary,
        embedding=sized.get("embedding", 0),
        hidden=sized["hidden"],
        layers=sized.get("layers", 1),
        bidirectional=sized.get("bidirectional", False),
        dropout=float(sized.get("dropout", 0)),
        ragged=fixed.get("ragged", False),
        outputs=source.get("outputs", fixed.get("outputs", vocabulary)),
        head=fixed["head"],
        loss=fixed["loss"],
        generates=fixed.get("generates", False),
    )


def _bounded(name: str, value: int, least: int) -> int:
    """What an option says in place of a size. Raises UserError."""
    if not least <= value <= LARGEST:
        raise UserError(
            f"--{name}: expected an integer of at least {least} and at most {LARGEST}, got {value}."
        )
    return value


def _target_length(model: Model, sized: dict[str, Any], path: Path, size: str) -> int:
    """S: of an encoder-decoder the size's own, of a lone decoder T. Raises UserError where it is missing."""
    if model.wiring == "encoder":
        return 0
    if model.wiring == "decoder":
        return int(sized["length"])
    if "target_length" not in sized:
        raise UserError(f"{path}: expected sizes.{size}.target_length for a decoder, got none.")
    return int(sized["target_length"])


def _margin(raw: dict[str, Any], path: Path) -> float | None:
    """Of equivalence, where it is stated. Raises UserError for what no bound of the schema stops."""
    if "equivalence" not in raw:
        return None
    margin = float(raw["equivalence"]["margin"])
    if math.isnan(margin):
        raise UserError(f"{path}: equivalence.margin: expected a number, got nan.")
    return margin


def _cross_check(model: Model, training: Training, path: Path, size: str, source: str) -> None:
    """What the schema cannot say: which keys need which, which cannot stand together. Raises UserError."""
    decoder = model.wiring != "encoder"
    tokens = model.inputs == "tokens"
    rules = [
        (model.wiring == "encoder_decoder" and not tokens, "an encoder_decoder reads tokens"),
        (model.wiring == "decoder" and tokens, "a decoder alone starts from features"),
        (tokens and not model.vocabulary, f"inputs are tokens: expected data.{source}.vocabulary, got none"),
        ((tokens or decoder) and not model.embedding, f"tokens: expected sizes.{size}.embedding, got none"),
        (not tokens and not model.features, "inputs are features: expected model.features, got none"),
        (tokens and model.features > 0, f"inputs are tokens: expected no features, got {model.features}"),
        (not model.outputs, "expected model.outputs, got none"),
        (decoder and (model.head, model.loss) != ("every", "cross_entropy"),
         'a decoder has head = "every" and loss = "cross_entropy"'),
        (decoder and not model.generates, "a decoder has generates = true"),
        (decoder and model.outputs <= EOS + 1,
         f"a decoder has outputs of more than {EOS + 1}: {PAD} pads, {BOS} begins, {EOS} ends a sequence"),
        (decoder and (model.bidirectional or model.dropout > 0),
         "bidirectional layers and dropout are for wiring = \"encoder\""),
        (decoder and training.stateful, "a state that is carried is for wiring = \"encoder\""),
        (training.stateful and (model.bidirectional or model.ragged),
         "a state that is carried cannot be bidirectional or ragged"),
        (model.ragged and model.wiring == "encoder" and not tokens, "ragged inputs are tokens"),
        (model.dropout > 0 and model.layers == 1, "dropout is between layers: expected layers of 2 or more"),
        (model.generates and not decoder
         and (model.head, model.bidirectional, model.ragged, model.outputs)
         != ("every", False, False, model.vocabulary),
         "an encoder that generates reads tokens one way, predicts the next at every step, is not ragged"),
    ]  # fmt: skip
    for broken, rule in rules:
        if broken:
            raise UserError(f"{path}: size {size}, data {source}: {rule}.")


def _explain(path: Path, error: Any) -> str:
    """One schema violation as: file, key, expected, got."""
    key = ".".join(str(part) for part in error.absolute_path) or "(top level)"
    rule, limit = error.validator, error.validator_value
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        extra = sorted(set(error.instance) - set(known))
        return f"{path}: {key}: {unknown('key', extra[0], known)}"
    if rule == "required":
        missing = sorted(set(limit) - set(error.instance))
        return f"{path}: {key}: expected the key {missing[0]!r}, got none."
    expected = {
        "type": f"a value of type {limit}",
        "enum": f"one of {limit}",
        "minimum": f"at least {limit}",
        "exclusiveMinimum": f"more than {limit}",
        "maximum": f"at most {limit}",
        "exclusiveMaximum": f"less than {limit}",
        "minProperties": f"at least {limit} entries",
        "minItems": f"at least {limit} entries",
    }.get(rule, f"{rule} {limit}")
    return f"{path}: {key}: expected {expected}, got {error.instance!r}."
