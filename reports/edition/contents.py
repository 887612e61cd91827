"""The table of contents: which functions are set side by side, and what proves and times them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FRAMEWORKS = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow"}
TOLD_BY = "jax"  # whose docstrings the page quotes: those of pure functions say least but the mathematics

Place = tuple[str, str]  # file in the implementation's folder, qualified name
Places = Mapping[str, tuple[Place, ...]]  # by framework; one that has no such function is left out


@dataclass(frozen=True)
class Derived:
    """Equations that are read off the code of a function, one a statement."""

    symbols: Mapping[str, str]  # a Python expression, as ``ast.unparse`` writes it: its symbol
    elementwise: bool = True  # whether * is between arrays, and not by a scalar
    framework: str = TOLD_BY


@dataclass(frozen=True)
class Proof:
    """Which rows prove the functions: of which cell or variant, asked what, at which level."""

    cell: str | None = None
    variant: str = "scratch"
    model: Mapping[str, str] = field(default_factory=dict)  # fields of the spec's model
    optimiser: str | None = None
    level: int | None = None  # of the ladder; None: all of them


@dataclass(frozen=True)
class Entry:
    """One comparison on the page."""

    anchor: str
    title: str
    places: Places
    proof: Proof
    text: str = ""  # before the words of the docstring, or instead of them
    quotes: tuple[str, ...] = ()  # formulas in the docstring, shown as such
    derived: Derived | None = None
    times: str | None = None  # "train" or "decode": a kind of work whose time is that of these functions
    by_hand: Place | None = None  # what only NumPy has: a backward pass


@dataclass(frozen=True)
class Section:
    """Entries under one heading."""

    anchor: str
    title: str
    entries: tuple[Entry, ...]


CELL_SYMBOLS = {
    "x": "x_t",
    "h": "h_{t-1}",
    "c": "c_{t-1}",
    "h_new": "h_t",
    "c_new": "c_t",
    "p['W_xh']": "W_xh",
    "p['W_hh']": "W_hh",
    "p['b_h']": "b_h",
    "p['b_hn']": "b_hn",
    "p['W_hh'][:, :2 * H]": "W_{hr,hz}",
    "p['W_hh'][:, 2 * H:]": "W_hn",
}
ADAM_SYMBOLS = {
    "b1": "β_1",
    "b2": "β_2",
    "lr": "η",
    "eps": "ε",
    "g": "g_t",
    "m": "m_t",
    "v": "v_t",
    "m_hat": "m̂_t",
    "v_hat": "v̂_t",
    "moments['m.' + name]": "m_{t-1}",
    "moments['v.' + name]": "v_{t-1}",
    "step": "t",
    "w": "w_{t-1}",
    "updated[name]": "w_t",
}


def same(file: str, *names: str) -> dict[str, tuple[Place, ...]]:
    """The same names in the same file of all four."""
    return {framework: tuple((file, name) for name in names) for framework in FRAMEWORKS}


def cell(name: str, title: str, text: str) -> Entry:
    """The entry of a cell."""
    return Entry(
        anchor=name.replace("_", "-"),
        title=title,
        text=text,
        places=same("scratch.py", f"{name}_cell"),
        proof=Proof(cell=name),
        derived=Derived(CELL_SYMBOLS),
        times="train",
        by_hand=("scratch.py", f"{name}_cell_backward"),
    )


CELLS = Section(
    "cells",
    "The cells",
    (
        cell("rnn", "rnn: the plain recurrence", "One step: the new state from the input and the old state."),
        cell(
            "lstm",
            "lstm: long short-term memory",
            "Input, forget and output gates around a memory c that is added to, so that a gradient may pass "
            "many steps. One product gives all four gates, in the order i f g o.",
        ),
        cell(
            "gru",
            "gru: gated recurrent unit, reset after the product",
            "The variant that cuDNN, PyTorch and Keras run by default: the reset gate r meets the state "
            "after the matrix product, so the product needs a bias of its own.",
        ),
        cell(
            "gru_reset_before",
            "gru_reset_before: the GRU of the paper",
            "The reset gate r meets the state before the product, so that the product for n waits for r. "
            "No bias b_hn.",
        ),
    ),
)

OVER_TIME = Section(
    "time",
    "Over time, over layers",
    (
        Entry(
            "unroll",
            "unroll: the loop over time",
            same("scratch.py", "unroll"),
            Proof(level=1),
            by_hand=("scratch.py", "unroll_backward"),
        ),
        Entry(
            "stack",
            "stack: layers, both directions, dropout",
            same("scratch.py", "stack"),
            Proof(level=1),
            by_hand=("scratch.py", "stack_backward"),
        ),
    ),
)

MODEL = Section(
    "model",
    "The model around them",
    (
        Entry("encode", "encode: from a batch to states", same("scratch.py", "encode"), Proof(level=1)),
        Entry(
            "decoder",
            "decode: the decoder under teacher forcing",
            same("scratch.py", "decode"),
            Proof(model={"wiring": "encoder_decoder"}, level=1),
        ),
        Entry(
            "bridge",
            "bridge: the first state of a lone decoder",
            same("scratch.py", "bridge"),
            Proof(model={"wiring": "decoder"}, level=1),
            quotes=("h = tanh(inputs W_xh + b_h)",),
        ),
        Entry("head", "head: from states to logits", same("scratch.py", "head"), Proof(level=1)),
        Entry("forward", "forward: the whole pass", same("scratch.py", "forward"), Proof(level=1)),
    ),
)


def loss(name: str, title: str, quote: str) -> Entry:
    """The entry of a loss."""
    return Entry(
        name.replace("_", "-"),
        title,
        same("training.py", name),
        Proof(model={"loss": name}, level=2),
        quotes=(quote,),
    )


LOSSES = Section(
    "losses",
    "The losses",
    (
        loss("cross_entropy", "cross_entropy", "-log softmax(logits)[target]"),
        loss("binary_cross_entropy", "binary_cross_entropy", "-t log s(z) - (1 - t) log(1 - s(z))"),
        loss("squared_error", "squared_error", "(logits - targets)^2"),
        Entry("mean", "mean: over what is valid", same("training.py", "mean"), Proof(level=2)),
    ),
)

TRAINING = Section(
    "training",
    "A training step",
    (
        Entry(
            "clip",
            "clip: by the global norm",
            same("training.py", "clip"),
            Proof(level=4),
            quotes=("g * min(1, threshold / ||g||)",),
        ),
        Entry(
            "sgd",
            "sgd: steepest descent",
            same("training.py", "sgd"),
            Proof(optimiser="sgd", level=4),
            quotes=("w <- w - lr g",),
        ),
        Entry(
            "adam",
            "adam",
            same("training.py", "adam"),
            Proof(optimiser="adam", level=4),
            derived=Derived(ADAM_SYMBOLS, elementwise=False, framework="numpy"),
        ),
        Entry(
            "step",
            "step: what is timed as training",
            {
                "numpy": (("training.py", "Trainer.step"), ("training.py", "Trainer._value_and_grad")),
                "torch": (("training.py", "Trainer.step"),),
                "jax": (
                    ("training.py", "Trainer.step"),
                    ("training.py", "Trainer._train_step"),
                    ("training.py", "Trainer._objective"),
                ),
                "tensorflow": (
                    ("training.py", "Trainer.step"),
                    ("training.py", "Trainer._step"),
                    ("training.py", "Trainer._value_and_grad"),
                ),
            },
            Proof(level=5),
            text="Forward, backward, clip, optimiser: here the frameworks differ most. NumPy calls a "
            "backward pass written by hand, PyTorch records one as it goes, JAX transforms a pure function, "
            "TensorFlow traces a graph.",
            times="train",
        ),
    ),
)

DECODING = Section(
    "decoding",
    "Decoding, token by token",
    (
        Entry(
            "start",
            "start: the first token and state",
            same("scratch.py", "start"),
            Proof(model={"generates": "True"}, level=7),
        ),
        Entry(
            "advance",
            "advance: one token further",
            same("scratch.py", "advance"),
            Proof(model={"generates": "True"}, level=7),
        ),
        Entry(
            "choose",
            "choose: the next token of the logits",
            same("training.py", "choose"),
            Proof(model={"generates": "True"}, level=7),
        ),
        Entry(
            "generate",
            "Trainer.decode: what is timed as decoding",
            {
                "numpy": (("training.py", "Trainer.decode"),),
                "torch": (("training.py", "Trainer.decode"),),
                "jax": (("training.py", "Trainer.decode"), ("training.py", "Trainer._decode")),
                "tensorflow": (("training.py", "Trainer.decode"), ("training.py", "Trainer._decode")),
            },
            Proof(model={"generates": "True"}, level=7),
            text="Each token comes of the one before: a loop in Python, a scan, or a loop in a graph.",
            times="decode",
        ),
    ),
)

LAYERS = Section(
    "layers",
    "The framework's own layer",
    (
        Entry(
            "native",
            "native: as its users write it",
            {
                "torch": (("native.py", "LAYERS"), ("native.py", "unroll"), ("native.py", "stack")),
                "jax": (("native.py", "CELLS"), ("native.py", "Stack")),
                "tensorflow": (("native.py", "LAYERS"), ("native.py", "layers"), ("native.py", "stack")),
            },
            Proof(variant="native"),
            text="The same network from nn.LSTM, flax.linen and Keras, in place of the loop above. NumPy has "
            "no layers of its own.",
            times="train",
        ),
    ),
)

CONTENTS = (CELLS, OVER_TIME, MODEL, LOSSES, TRAINING, DECODING, LAYERS)
