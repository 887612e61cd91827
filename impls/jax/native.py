"""flax.linen's recurrent layers."""

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
    "lstm": nn.OptimizedLSTMCell,
    "gru": nn.GRUCell,
    "gru_reset_before": nn.GRUCell,
}
GATES = {"rnn": ("",), "lstm": tuple("ifgo"), "gru": tuple("rzn"), "gru_reset_before": tuple("rzn")}
BIAS = {"rnn": "i", "lstm": "h", "gru": "i", "gru_reset_before": "i"}


class Network(nn.Module):
    model: Model

    @nn.compact
    def __call__(self, inputs, carry):
        model = self.model
        xs = inputs
        if model.inputs == "tokens":
            xs = nn.Embed(model.vocabulary, model.embedding, name="embed")(inputs)
        cell = CELLS[model.cell](model.hidden, name="cell")
        final, hs = nn.RNN(cell, return_carry=True, name="encoder")(xs, initial_carry=carry)
        read = hs[:, -1] if model.head == "final" else hs
        return nn.Dense(model.outputs, name="head")(read), hs, final


def forward(params, inputs, state, model):
    if model.cell == "gru_reset_before":
        hn = params["cell"]["hn"]
        zeros = jnp.zeros(model.hidden, hn["kernel"].dtype)
        params = {**params, "cell": {**params["cell"], "hn": {**hn, "bias": zeros}}}
    carry = state[::-1] if model.cell == "lstm" else state[0]  # linen's is (c, h)
    logits, hs, final = Network(model).apply({"params": params}, inputs, carry)
    return logits, hs, final[::-1] if model.cell == "lstm" else (final,)


def pack(params, model):
    gates, side, p = GATES[model.cell], BIAS[model.cell], layer(params)
    G = len(gates)
    cell = {}
    for gate, W_x, W_h, b in zip(gates, np.split(p["W_xh"], G, 1), np.split(p["W_hh"], G, 1), np.split(p["b_h"], G), strict=True):
        cell["i" + gate] = {"kernel": W_x}
        cell["h" + gate] = {"kernel": W_h}
        cell[side + gate]["bias"] = b
    if model.cell == "gru":
        cell["hn"]["bias"] = p["b_hn"]
    packed = {"cell": cell, "head": {"kernel": params["head.W_hq"], "bias": params["head.b_q"]}}
    if model.inputs == "tokens":
        packed["embed"] = {"embedding": params["embed"]}
    return packed


def unpack(packed, model):
    gates, side, cell = GATES[model.cell], BIAS[model.cell], packed["cell"]
    params = {}
    if model.inputs == "tokens":
        params["embed"] = packed["embed"]["embedding"]
    params["encoder.0.fwd.W_xh"] = np.concatenate([cell["i" + gate]["kernel"] for gate in gates], 1)
    params["encoder.0.fwd.W_hh"] = np.concatenate([cell["h" + gate]["kernel"] for gate in gates], 1)
    params["encoder.0.fwd.b_h"] = np.concatenate([cell[side + gate]["bias"] for gate in gates])
    if model.cell == "gru":
        params["encoder.0.fwd.b_hn"] = cell["hn"]["bias"]
    params["head.W_hq"] = packed["head"]["kernel"]
    params["head.b_q"] = packed["head"]["bias"]
    return params


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(
        task, dtype, device, forward, f"linen.RNN({CELLS[task.model.cell].__name__})",
        partial(pack, model=task.model), partial(unpack, model=task.model),
    )
