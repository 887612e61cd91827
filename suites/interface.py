"""What an implementation must offer, on one page.

An implementation is a folder. Each of its variants is a module of that folder
(``scratch.py``: the loop as a textbook teaches it; ``native.py``: the
framework's own layer; ``tuned.py``: the fastest way that still passes) with

    def build(task: Task, dtype: str, device: str) -> Implementation

One of them is enough, and no ``__init__.py`` is needed. Modules of one folder
import each other relatively (``from . import training``), and of the project
just ``suites.interface`` and ``suites.spec``. ``dtype`` is ``"float32"`` or
``"float64"``; ``device`` is ``"cpu"`` or ``"gpu"``. ``build`` raises
:class:`Unavailable` with a reason where it cannot serve (a cell it does not have,
say). What it reads of ``task`` (``suites/spec.py``):

    task.batch, task.length         B, T
    task.model.cell                 "rnn", "lstm", "gru" or "gru_reset_before"
    task.model.inputs               "features" or "tokens"
    task.model.features             I, where inputs are features
    task.model.vocabulary           V, where inputs are tokens
    task.model.embedding            E, where inputs are tokens
    task.model.hidden, .outputs     H, O
    task.model.head                 "final" or "every"
    task.model.loss                 "squared_error" or "cross_entropy"
    task.training.optimiser         "adam" or "sgd"
    task.training.learning_rate     lr below
    task.training.clip              the threshold below, above zero, perhaps infinite
    task.training.betas, .epsilon   Adam's b1, b2 and eps
    task.training.stateful          whether the state goes from batch to batch

The mathematics (closed division; B batch, T sequence length, I input width,
E embedding, H hidden, V vocabulary, O outputs; every array is batch-first)
---------------------------------------------------------------------------
Inputs: ``features`` [B, T, I] are used as they are; ``tokens`` [B, T] are rows of
``embed [V, E]``, so I = E. There is one recurrent layer in one direction.
Parameters are a flat dict of arrays:

    embed                [V, E]      only where inputs are tokens
    encoder.0.fwd.W_xh   [I, G*H]    gates side by side in the order below
    encoder.0.fwd.W_hh   [H, G*H]
    encoder.0.fwd.b_h    [G*H]
    encoder.0.fwd.b_hn   [H]         ``gru`` only
    head.W_hq            [H, O]
    head.b_q             [O]

Cells (``model.cell``; s = sigmoid; * elementwise; @ matrix product):

    rnn   G=1            h' = tanh(x @ W_xh + h @ W_hh + b_h)
    lstm  G=4, i f g o   i, f, o = s(.), g = tanh(.) of x @ W_xh + h @ W_hh + b_h
                         c' = f * c + i * g         h' = o * tanh(c')
    gru   G=3, r z n     r, z = s(.) of x @ W_xh + h @ W_hh + b_h
                         n = tanh(x @ W_xn + b_n + r * (h @ W_hn + b_hn))
                         h' = (1 - z) * n + z * h
    gru_reset_before     r, z as above, no b_hn
                         n = tanh(x @ W_xn + (r * h) @ W_hn + b_n)
                         h' = (1 - z) * n + z * h

``W_xn`` is the ``n`` block of ``W_xh``, and so on. There is one bias per gate:
a framework that carries a second keeps it at zero and out of the optimiser.
Head: logits = h @ W_hq + b_q, of the last h (``final``, [B, O]) or of every h
(``every``, [B, T, O]).
Loss: mean over all elements of (logits - targets)^2 (``squared_error``, targets
shaped as the logits) or of -log softmax(logits)[target] in nats
(``cross_entropy``, targets shaped as the logits without their last axis).

A training step: gradient g of the loss; the carry is a constant, the gradient
does not flow into the step before. Clip by the global norm over all parameters:
g <- g * min(1, clip / ||g||), no epsilon (||g|| = 0: g stays). Then the optimiser:

    sgd   w <- w - lr * g
    adam  m <- b1 m + (1 - b1) g       v <- b2 v + (1 - b2) g^2     (from zero)
          w <- w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

with t = 1 at the first step; eps comes after the bias correction, outside the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


class Unavailable(Exception):
    """This implementation cannot serve here; the text says why. A skip, never a pass."""


@dataclass(frozen=True)
class Batch:
    """One batch, as NumPy arrays on the host."""

    inputs: Array  # [B, T, I] floats of the row's dtype, or [B, T] int32 tokens
    targets: Array  # floats of the row's dtype, or int32 tokens: see Loss


class Implementation(Protocol):
    """One (task, variant, dtype, device), ready to be proven and timed.

    Arrays that cross this boundary are NumPy's, own their memory, and have the
    row's dtype; what is taken in is copied, for the caller may use it again. A *carry*
    is the initial state of the recurrence: ``{"encoder.0.fwd.h": [B, H]}``, for an
    LSTM also ``"encoder.0.fwd.c"``.
    """

    def load(self, params: Arrays, carry: Arrays | None = None) -> None:
        """Take these parameters, as if newly made: the optimiser forgets its moments and
        its step count. Where ``training.stateful``, the first ``step`` starts from this
        carry (zeros if None); elsewhere the carry is ignored."""

    def dump(self) -> Arrays:
        """The parameters now, under the names that ``load`` took."""

    def dump_optimiser(self) -> Arrays:
        """``{"step": array of int64, shape ()}``, the steps since ``load``, for SGD too; for
        Adam also ``m.<parameter>`` and ``v.<parameter>``: the moments before bias
        correction, shaped as the parameter, zeros before the first step."""

    def dump_carry(self) -> Arrays:
        """The state that the next ``step`` will start from. Where ``training.stateful``: right
        after ``load`` the carry it took, then the final state of the last step. Elsewhere
        zeros after a step (before the first nobody asks)."""

    def forward(self, batch: Batch, carry: Arrays) -> Arrays:
        """From this carry: ``logits``; ``hidden.encoder.0.fwd`` [B, T, H], every h;
        ``final.encoder.0.fwd.h`` [B, H], for an LSTM also ``final.encoder.0.fwd.c``.
        Changes nothing inside."""

    def loss(self, batch: Batch, carry: Arrays) -> float:
        """The loss from this carry. Changes nothing inside."""

    def gradients(self, batch: Batch, carry: Arrays) -> Arrays:
        """d loss / d each parameter (before clipping), under its name; d loss / d the
        initial state as ``carry.encoder.0.fwd.h`` (and ``.c``); for features also
        ``inputs`` [B, T, I]. Changes nothing inside."""

    def place(self, batch: Batch) -> Any:
        """The batch on the device, in whatever form ``step`` and ``infer`` take. Untimed."""

    def step(self, placed: Any) -> Any:
        """One whole training step: forward, backward, clip, optimiser. TIMED.

        Starts from zeros, or, where ``training.stateful``, from the final state of
        the step before, with the gradient cut. Returns the loss before the update,
        on the device; need not wait for the device."""

    def infer(self, placed: Any) -> Any:
        """The logits from a zero state, on the device; need not wait. TIMED."""

    def fetch(self, value: Any) -> Array:
        """What ``step`` (shape ()) or ``infer`` returned, as a NumPy array on the host."""

    def sync(self) -> None:
        """Return once all work that ``step`` and ``infer`` began is finished."""

    def path(self) -> dict[str, str]:
        """How it runs, for the report: ``{"kernel": "scan", "compiled": "jit"}``, say."""


# Beside its variants a folder may hold
#
# ``device.py`` (without it: CPU, no flags to set), with
#     PACKAGES: tuple[str, ...]           distributions whose versions a record keeps
#     configure(device, threads) -> dict[str, str]
#                                         sets threads and precision flags before the
#                                         first array is made, reads them back and
#                                         returns them; raises Unavailable
#     floor(products, dtype, device) -> Callable[[], None]
#                                         a function that runs just these matrix products
#                                         with the framework's own fastest means and
#                                         waits for them: [(repeat, m, k, n), ...], each
#                                         `repeat` products [m, k] @ [k, n] in turn
#     peak_memory(device) -> dict[str, int]
#                                         the device allocator's own peak in bytes
#                                         (empty on a CPU)
#
# ``deviations.toml``: where the framework's own layer cannot hold the mathematics
# above. A deviation is strict: the gate runs, and must fail.
#     [[deviation]]
#     id = "torch-gru-reset-before"
#     variant = "native"
#     cells = ["gru_reset_before"]
#     reason = "nn.GRU resets after the matrix product only"
#     link = "https://..."
