"""flax.linen's own layers: nn.RNN around a cell, between nn.Embed and nn.Dense.

Layout: linen has one kernel [I, H] or [H, H] per gate and source, ``ii`` for the
input's part of gate i, ``hi`` for the state's. One of the two has the gate's bias,
none has a second. The carry of an LSTM is (c, h).
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from suites.interface import Implementation
from suites.spec import Model, Task

from . import training
from .scratch import layer

CELLS = {
    "rnn": nn.SimpleCell,
    # What linen recommends over LSTMCell up to about 2048 units: one product for all gates.
    "lstm": nn.OptimizedLSTMCell,
    "gru": nn.GRUCell,
    "gru_reset_before": nn.GRUCell,  # resets after the matrix product: see deviations.toml
}

GATES = {"rnn": ("",), "lstm": tuple("ifgo"), "gru": tuple("rzn"), "gru_reset_before": tuple("rzn")}
BIASED = {"rnn": "i", "lstm": "h", "gru": "i", "gru_reset_before": "i"}  # whose part b_h is in


class Network(nn.Module):
    """The model of a task, as Flax's users write it."""

    model: Model

    @nn.compact
    def __call__(self, inputs, carry):
        """logits [B, O] or [B, T, O], every h [B, T, H], and the final carry."""
        model, xs = self.model, inputs
        if model.inputs == "tokens":
            xs = nn.Embed(model.vocabulary, model.embedding, name="embed")(inputs)  # [B, T, I]
        cell = CELLS[model.cell](model.hidden, name="cell")
        final, hs = nn.RNN(cell, return_carry=True)(xs, initial_carry=carry)
        read = hs[:, -1] if model.head == "final" else hs
        return nn.Dense(model.outputs, name="head")(read), hs, final


def forward(params, inputs, state, model):
    """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
    if model.cell == "gru_reset_before":
        params = with_zero_b_hn(params)
    carry = state[::-1] if model.cell == "lstm" else state[0]
    logits, hs, final = Network(model).apply({"params": params}, inputs, carry)
    return logits, hs, final[::-1] if model.cell == "lstm" else (final,)


def with_zero_b_hn(params):
    """GRUCell always has a b_hn: here it is a constant, in no tree of parameters."""
    hn = params["cell"]["hn"]
    zero = jnp.zeros(hn["kernel"].shape[1], hn["kernel"].dtype)
    return params | {"cell": params["cell"] | {"hn": hn | {"bias": zero}}}


def pack(params, model):
    """Linen's tree of canonical parameters."""
    p, gates = layer(params), GATES[model.cell]
    cell: dict = {}
    for source, name in (("i", "W_xh"), ("h", "W_hh")):
        kernels = np.split(p[name], len(gates), axis=1)
        cell |= {source + gate: {"kernel": W} for gate, W in zip(gates, kernels, strict=True)}
    for gate, b in zip(gates, np.split(p["b_h"], len(gates)), strict=True):
        cell[BIASED[model.cell] + gate]["bias"] = b
    if model.cell == "gru":
        cell["hn"]["bias"] = p["b_hn"]
    packed = {"cell": cell, "head": {"kernel": params["head.W_hq"], "bias": params["head.b_q"]}}
    if model.inputs == "tokens":
        packed["embed"] = {"embedding": params["embed"]}
    return packed


def unpack(packed, model):
    """Canonical parameters of linen's tree."""
    cell, gates = packed["cell"], GATES[model.cell]
    p = {
        "W_xh": np.concatenate([cell["i" + gate]["kernel"] for gate in gates], axis=1),
        "W_hh": np.concatenate([cell["h" + gate]["kernel"] for gate in gates], axis=1),
        "b_h": np.concatenate([cell[BIASED[model.cell] + gate]["bias"] for gate in gates]),
    }
    if model.cell == "gru":
        p["b_hn"] = cell["hn"]["bias"]
    params = {f"encoder.0.fwd.{name}": value for name, value in p.items()}
    params |= {"head.W_hq": packed["head"]["kernel"], "head.b_q": packed["head"]["bias"]}
    if model.inputs == "tokens":
        params["embed"] = packed["embed"]["embedding"]
    return params


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    kernel = f"linen.RNN({CELLS[task.model.cell].__name__})"
    translate = partial(pack, model=task.model), partial(unpack, model=task.model)
    return training.Trainer(task, dtype, device, forward, kernel, *translate)
