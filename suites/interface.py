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
say); it may be called again in the same process. How to start, with an example that runs:
``suites/parity/README.md``. What ``build`` reads of ``task`` (``suites/spec.py``):

    task.batch, task.length         B, T
    task.target_length              S, where there is a decoder
    task.model.cell                 "rnn", "lstm", "gru" or "gru_reset_before"
    task.model.wiring               "encoder", "encoder_decoder" or "decoder"
    task.model.inputs               "features" (of a lone decoder always) or "tokens"
    task.model.features             I, where inputs are features (F, of a lone decoder)
    task.model.vocabulary           V, where inputs are tokens
    task.model.embedding            E, where there are tokens
    task.model.hidden, .layers      H, L
    task.model.bidirectional        whether the encoder runs both ways: D = 2, else 1
    task.model.dropout              p, between the encoder's layers
    task.model.ragged               whether batches come with lengths
    task.model.outputs              O
    task.model.head                 "final" or "every"
    task.model.loss                 "squared_error", "cross_entropy", "binary_cross_entropy"
    task.model.generates            whether ``decode`` will be asked for
    task.training.optimiser         "adam" or "sgd"
    task.training.learning_rate     lr below
    task.training.clip              the threshold below, above zero, perhaps infinite
    task.training.betas, .epsilon   Adam's b1, b2 and eps
    task.training.stateful          whether the state goes from batch to batch

What follows from these: ``model.directions`` ("fwd",), with "bwd" where bidirectional; ``model.parts`` of a
state, ("h",) or ("h", "c"); ``model.width`` D*H; ``model.input_width`` I of the encoder's first layer.

The mathematics (closed division; B batch, T sequence length, I input width, E embedding,
H hidden, V vocabulary, O outputs; every array is batch-first)
-----------------------------------------------------------------------------------------
Parameters are a flat dict of arrays; k counts layers from 0:

    embed                [V, E]      only where inputs are tokens
    encoder.k.fwd.W_xh   [I, G*H]    gates side by side in the order below; I: see Stack
    encoder.k.fwd.W_hh   [H, G*H]
    encoder.k.fwd.b_h    [G*H]
    encoder.k.fwd.b_hn   [H]         ``gru`` only
    encoder.k.bwd. ...               the same, where bidirectional
    bridge.W_xh, .b_h    [F, H], [H] only of a lone decoder
    decoder.embed        [O, E]      only where there is a decoder
    decoder.k.fwd. ...               as the encoder's
    head.W_hq            [D*H, O]
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

``W_xn`` is the ``n`` block of ``W_xh``, ``b_n`` that of ``b_h``, and so on. There is one bias
per gate, and ``b_hn``: a framework that carries more keeps them at zero and out of the optimiser.

Stack: ``features`` [B, T, I] are used as they are; ``tokens`` [B, T] are rows of ``embed``,
so I = E. Each layer reads the h of every step of the layer below, I = D*H; where
bidirectional, [fwd, bwd] side by side, ``bwd`` running from the last step to the first.
Dropout: where a batch has ``masks`` (it is then for training), what layer k reads, k >= 1,
is multiplied by masks[k-1] / (1 - p), in ``forward``, ``loss``, ``gradients`` and ``step``; a batch
without, and ``infer`` and ``decode`` always, drops nothing.
Lengths: beyond the length of its sequence a state stays as it is and h counts as zero. So
the final state of ``fwd`` is that of the last valid step, ``bwd`` starts there and ends at
step 0, and what stands in the padding (any legal token) can change nothing.

Head: logits = h @ W_hq + b_q of the top layer: ``final``, [B, O], of [fwd, bwd] of its
final states; ``every``, [B, T, O], of every step (h is zero in padding, so b_q stands there).

Decoder (never with a bidirectional encoder or dropout): the same stack, one direction, over the
rows of ``decoder.embed`` of ``decoder_inputs`` [B, S], the gold tokens one step behind the
targets (teacher forcing), with ``target_lengths`` for lengths; the head is ``every``, logits
[B, S, O]. Layer k starts from the final state of the encoder's layer k; of a lone decoder,
``inputs`` [B, F] give every layer h = tanh(inputs @ W_xh + b_h) of the bridge, and c = 0.

Loss: mean over all valid elements (``final``: all; ``every``: those within ``lengths`` or, with a
decoder, ``target_lengths``), of (logits - targets)^2 (``squared_error``, targets shaped as the logits),
of -log softmax(logits)[target] in nats (``cross_entropy``, targets shaped as the logits
without their last axis), or of -t log s(z) - (1 - t) log(1 - s(z)) for logit z and target t
of 0 or 1 (``binary_cross_entropy``, targets shaped as the logits).

A training step: gradient g of the loss; the carry is a constant, the gradient
does not flow into the step before. Clip by the global norm over all parameters:
g <- g * min(1, clip / ||g||), no epsilon (||g|| = 0: g stays). Then the optimiser:

    sgd   w <- w - lr * g
    adam  m <- b1 m + (1 - b1) g       v <- b2 v + (1 - b2) g^2     (from zero)
          w <- w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

with t = 1 at the first step; eps comes after the bias correction, outside the root.
A float32 row is held to a few times NumPy's own rounding, so 1 - b1^t and 1 - b2^t are
computed in float64 there too (in float32, 1 - 0.999 is off by 1.3e-5), then rounded; log softmax
and log sigmoid in their stable forms.

Decoding: from a token and a state, one step gives logits [B, O], these the next token, and
so on. With a decoder the first token is BOS, the state the decoder's first; after a row's
EOS follows PAD only (PAD 0, BOS 1, EOS 2, names of ``suites.spec``); before it any token may be
chosen, PAD and BOS too. A language model, which has no EOS and never ends, reads its
prompt, ``inputs`` [B, T], from a zero state; the logits of its last step give the first token.
Greedy: the token of the largest logit, the first of equal ones. Sampled, for a draw u in
[0, 1): the number of k whose p_0 + ... + p_k <= u, at most O - 1, with
p = softmax(logits / temperature) in the row's dtype or a wider one, u in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


class Unavailable(Exception):
    """This implementation cannot serve here; the text says why. A skip, never a pass."""


class Batch(NamedTuple):
    """One batch, as NumPy arrays on the host; what a task does not have is None. It always has
    B rows; ragged ones are padded to T or S."""

    inputs: Array  # [B, T, I] floats of the row's dtype, [B, T] int32 tokens, [B, F] of a lone decoder
    targets: Array  # floats of the row's dtype, or int32 tokens: see Loss
    lengths: Array | None = None  # [B] int32, 1 to T: of ragged inputs
    decoder_inputs: Array | None = None  # [B, S] int32 tokens
    target_lengths: Array | None = None  # [B] int32, 1 to S: of ragged decoder_inputs and targets
    masks: Array | None = None  # [L - 1, B, T, D*H] bool, True to keep; None where nothing is dropped


class Implementation(Protocol):
    """One (task, variant, dtype, device), ready to be proven and timed. ``load`` is called first,
    and may be called again at any time; the rest in any order.

    Arrays that cross this boundary are NumPy's, own their memory, and have the
    row's dtype; what is taken in is copied, for the caller may use it again. A *carry*
    is the initial state of the encoder: ``{"encoder.k.fwd.h": [B, H]}`` for each layer (and
    ``bwd``), for an LSTM also ``"encoder.k.fwd.c"``; of a lone decoder it is empty. What is asked
    with a carry starts from it, whether or not the task is stateful, and from nothing else.
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
        """From this carry: ``logits``; ``hidden.encoder`` [B, T, D*H] and ``hidden.decoder``
        [B, S, H], every h of the top layer, zero in padding; ``final.<stack>.k.fwd.h`` [B, H]
        (and ``bwd``, and ``.c``) of every layer. Of the stacks that there are: a lone decoder
        has no encoder. Changes nothing inside."""

    def loss(self, batch: Batch, carry: Arrays) -> float:
        """The loss from this carry. Changes nothing inside."""

    def gradients(self, batch: Batch, carry: Arrays) -> Arrays:
        """d loss / d each parameter (before clipping), under its name; d loss / d the
        initial state as ``carry.encoder.k.fwd.h`` (and so on; of a lone decoder none); for features also
        ``inputs``, in their shape, [B, F] of a lone decoder. Changes nothing inside."""

    def place(self, batch: Batch) -> Any:
        """A copy of the batch on the device, in whatever form ``step``, ``infer`` and ``decode`` take. What
        it returns is used many times, by all three, so they must leave it as it is. Untimed."""

    def step(self, placed: Any) -> Any:
        """One whole training step: forward, backward, clip, optimiser. TIMED.

        Starts from zeros, or, where ``training.stateful``, from the final state of
        the step before, with the gradient cut. Returns the loss before the update,
        on the device; need not wait for the device."""

    def infer(self, placed: Any) -> Any:
        """The logits from a zero state, nothing dropped (of a decoder: of ``decoder_inputs``), on
        the device, in the row's dtype. Changes nothing inside; need not wait. TIMED."""

    def decode(self, placed: Any, steps: int, draws: Array | None = None, temperature: float = 1.0) -> Any:
        """Where ``model.generates``: ``steps`` tokens, [B, steps] integers on the device, see
        Decoding; greedy, or sampled by ``draws`` [B, steps], float64 in [0, 1). ``steps`` may be
        more than T or S. Reads ``inputs`` and ``lengths`` of the batch only, starts from a zero
        state or the bridge's. Changes nothing inside; need not wait. TIMED."""

    def fetch(self, value: Any) -> Array:
        """What ``step`` (shape ()), ``infer`` or ``decode`` returned, as a NumPy array on the host."""

    def sync(self) -> None:
        """Return once all work that ``step``, ``infer`` and ``decode`` began is finished."""

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
#     floor(products, dtype, device) -> Callable[[], Any]
#                                         a function that runs just these matrix products
#                                         with the framework's own fastest means, and need
#                                         not wait: [(repeat, m, k, n), ...], each `repeat`
#                                         products [m, k] @ [k, n] in turn
#     copy(size, device) -> Callable[[], Any]
#                                         of a GPU: a function that moves so many bytes in
#                                         its memory, half read and half written
#     wait(answer)                        returns once what a function of floor or copy
#                                         began, and answered with ``answer``, is finished
#                                         (without it: they have waited when they return)
#     profile(call) -> dict[str, float]   seconds of a call, by the framework's own profiler:
#                                         by operation, on a GPU by kernel
#     compilations() -> int               what the framework has compiled or traced in this
#                                         process so far; it may not grow while samples
#                                         are taken (without it: nothing is compiled)
#     keep_compiled(folder)               has what the framework compiles kept in the folder,
#                                         and taken from there where it is the same program;
#                                         the gate asks for it, what is timed does not
#                                         (without it: nothing is kept)
#     precise(dtype, device) -> dict[str, str]
#                                         sets what products of float32 are rounded to and
#                                         returns what was read back: nothing for "float32",
#                                         "float64"; of the declared precisions "tf32",
#                                         "bf16" (suites/precision.py) raises Unavailable for
#                                         one that cannot be had. Called before ``build``,
#                                         which is asked for "float32" (without it: none)
#     peak_memory(device) -> dict[str, int]
#                                         the device allocator's own peak in bytes
#                                         (empty on a CPU)
#
# ``bare.py``: what `nox -s overhead -- --bare` holds a row against, with
#     build(task, device, params) -> Loop a training loop in float32 as a user of the framework
#                                         writes it by hand, with ``place``, ``step`` and ``infer``
#                                         as below; raises Unavailable for a task beyond it
#
# ``deviations.toml``: where the framework's own layer cannot hold the mathematics
# above. A deviation is strict: the gate runs, and must fail.
#     [[deviation]]
#     id = "torch-gru-reset-before"
#     variant = "native"
#     cells = ["gru_reset_before"]
#     reason = "nn.GRU resets after the matrix product only"
#     link = "https://..."
