"""Recurrent cells in JAX, differentiated by JAX.

Shapes: x [B, I], h and c [B, H], xs [B, T, I], hs [B, T, H]. Parameters ``p``
of one layer: W_xh [I, G*H], W_hh [H, G*H], b_h [G*H], for ``gru`` b_hn [H].
A cell is a pure function and returns its new state.
"""

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from suites.interface import Implementation
from suites.spec import Task

from . import training

# --- rnn: h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)                      (D2L eq. 9.4.4)


def rnn_cell(x, state, p):
    (h,) = state
    h_new = jnp.tanh(x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"])  # [B, H]
    return (h_new,)


# --- lstm: c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)       (D2L eq. 10.1.1 to 10.1.5)


def lstm_cell(x, state, p):
    h, c = state
    a = x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"]  # [B, 4H]
    a_i, a_f, a_g, a_o = jnp.split(a, 4, axis=1)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), jnp.tanh(a_g), sigmoid(a_o)
    c_new = f * c + i * g  # [B, H]
    h_new = o * jnp.tanh(c_new)  # [B, H]
    return (h_new, c_new)


# --- gru: reset after the matrix product, n = tanh(x W_xn + b_n + r (h W_hn + b_hn)),
#     h_t = (1 - z) n + z h_{t-1}                            (Cho et al. 2014; as cuDNN)


def gru_cell(x, state, p):
    (h,) = state
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    a_h = h @ p["W_hh"]  # [B, 3H]
    x_r, x_z, x_n = jnp.split(a_x, 3, axis=1)
    h_r, h_z, h_n = jnp.split(a_h, 3, axis=1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * (h_n + p["b_hn"]))
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,)


# --- gru_reset_before: n = tanh(x W_xn + (r h) W_hn + b_n)   (D2L eq. 10.2.1 to 10.2.3)


def gru_reset_before_cell(x, state, p):
    (h,) = state
    H = h.shape[1]
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    x_r, x_z, x_n = jnp.split(a_x, 3, axis=1)
    h_r, h_z = jnp.split(h @ p["W_hh"][:, : 2 * H], 2, axis=1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + (r * h) @ p["W_hh"][:, 2 * H :])
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,)


CELLS = {
    "rnn": rnn_cell,
    "lstm": lstm_cell,
    "gru": gru_cell,
    "gru_reset_before": gru_reset_before_cell,
}


# --- the recurrence over time


def unroll(cell, xs, state, p):
    """Every h [B, T, H] and the final state."""

    def step(state, x):
        state = cell(x, state, p)
        return state, state[0]

    final, hs = jax.lax.scan(step, state, xs.swapaxes(0, 1))  # scan runs over the first axis
    return hs.swapaxes(0, 1), final


# --- the model: [embedding ->] recurrent layer -> linear head


def layer(params, name="encoder.0.fwd"):
    """The parameters of one layer, without its name before theirs."""
    prefix = name + "."
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def forward(params, inputs, state, model):
    """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
    xs = params["embed"][inputs] if model.inputs == "tokens" else inputs  # [B, T, I]
    hs, final = unroll(CELLS[model.cell], xs, state, layer(params))
    read = hs[:, -1] if model.head == "final" else hs
    logits = read @ params["head.W_hq"] + params["head.b_q"]
    return logits, hs, final


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, forward, kernel="lax.scan")
