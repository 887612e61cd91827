"""One step of each cell of ``tuned.py``, forward and back.

Forward: of a_t [B, G*H], the input's part with b_h (``products.arranged``), and the state, the new state and
what the way back needs. Backward: of the gradient of the new state, the states before and after, and what was
kept, the gradient of the state before, and those of a_t and of what is like it (``das``); its p is
transposed. Weights: of the h [N, H] that the steps met, all das [N, .], and what was kept, the gradients of
the weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


def rnn(a, state, p):
    """h_t = tanh(a_t + h_{t-1} W_hh)."""
    (h,) = state
    return (tf.tanh(a + h @ p["W_hh"]),), ()


def rnn_backward(dnew, before, after, kept, p):
    (dh,), (h,) = dnew, after
    da = dh * slope(h)
    return (da @ p["W_hh"],), (da,)


def rnn_weights(h, das, kept):
    (da,) = das
    return {"W_hh": tf.matmul(h, da, transpose_a=True)}


def lstm(a, state, p):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)."""
    h, c = state
    s = tf.tanh(a + h @ p["W_hh"])  # [B, 4H]
    s_i, s_f, g, s_o = tf.split(s, 4, axis=1)
    c_new = sigmoid(s_f) * c + sigmoid(s_i) * g
    return (sigmoid(s_o) * tf.tanh(c_new), c_new), (s,)


def lstm_backward(dnew, before, after, kept, p):
    (dh, dc), (_, c), (_, c_new), (s,) = dnew, before, after, kept
    s_i, s_f, g, s_o = tf.split(s, 4, axis=1)
    tanh_c = tf.tanh(c_new)
    dc += dh * sigmoid(s_o) * slope(tanh_c)
    d_i, d_f = 0.5 * dc * g * slope(s_i), 0.5 * dc * c * slope(s_f)
    d_g, d_o = dc * sigmoid(s_i) * slope(g), 0.5 * dh * tanh_c * slope(s_o)
    da = tf.concat([d_i, d_f, d_g, d_o], axis=1)
    return (da @ p["W_hh"], dc * sigmoid(s_f)), (da,)


def gru(a, state, p):
    """n = tanh(a_n + r (h W_hn + b_hn)),  h_t = n + z (h_{t-1} - n)."""
    (h,) = state
    H = h.shape[1]
    a_h = h @ p["W_hh"]  # [B, 3H]
    s = tf.tanh(a[:, : 2 * H] + a_h[:, : 2 * H])
    q = a_h[:, 2 * H :] + p["b_hn"]
    n = tf.tanh(a[:, 2 * H :] + sigmoid(s[:, :H]) * q)
    return (n + sigmoid(s[:, H:]) * (h - n),), (s, n, q)


def gru_backward(dnew, before, after, kept, p):
    (dh,), (h,), (s, n, q) = dnew, before, kept
    s_r, s_z = tf.split(s, 2, axis=1)
    z = sigmoid(s_z)
    d_n = dh * (1 - z) * slope(n)
    d_r, d_z = 0.5 * d_n * q * slope(s_r), 0.5 * dh * (h - n) * slope(s_z)
    da_h = tf.concat([d_r, d_z, d_n * sigmoid(s_r)], axis=1)  # of h W_hh + [0, 0, b_hn]
    return (dh * z + da_h @ p["W_hh"],), (tf.concat([d_r, d_z, d_n], axis=1), da_h)


def gru_weights(h, das, kept):
    _, da_h = das
    H = h.shape[1]
    return {"W_hh": tf.matmul(h, da_h, transpose_a=True), "b_hn": tf.reduce_sum(da_h[:, 2 * H :], axis=0)}


def gru_reset_before(a, state, p):
    """n = tanh(a_n + (r h) W_hn),  h_t = n + z (h_{t-1} - n)."""
    (h,) = state
    H = h.shape[1]
    s = tf.tanh(a[:, : 2 * H] + h @ p["W_hrz"])
    reset = sigmoid(s[:, :H]) * h
    n = tf.tanh(a[:, 2 * H :] + reset @ p["W_hn"])
    return (n + sigmoid(s[:, H:]) * (h - n),), (s, n, reset)


def gru_reset_before_backward(dnew, before, after, kept, p):
    (dh,), (h,), (s, n, _) = dnew, before, kept
    s_r, s_z = tf.split(s, 2, axis=1)
    z = sigmoid(s_z)
    d_n = dh * (1 - z) * slope(n)
    dreset = d_n @ p["W_hn"]
    d_r, d_z = 0.5 * dreset * h * slope(s_r), 0.5 * dh * (h - n) * slope(s_z)
    d_rz = tf.concat([d_r, d_z], axis=1)
    dh = dh * z + dreset * sigmoid(s_r) + d_rz @ p["W_hrz"]
    return (dh,), (tf.concat([d_r, d_z, d_n], axis=1),)


def gru_reset_before_weights(h, das, kept):
    (da,), (_, _, reset) = das, kept
    H = h.shape[1]
    return {
        "W_hrz": tf.matmul(h, da[:, : 2 * H], transpose_a=True),
        "W_hn": tf.matmul(reset, da[:, 2 * H :], transpose_a=True),
    }


def sigmoid(tanh):
    """s(a) of tanh(a/2)."""
    return 0.5 * tanh + 0.5


def slope(tanh):
    """d tanh(a) / d a."""
    return 1 - tanh * tanh


class Cell(NamedTuple):
    """The functions of a cell, and the widths in H of what they hand out at each step."""

    forward: Callable
    backward: Callable
    weights: Callable
    kept: tuple[int, ...]
    das: tuple[int, ...]


CELLS = {
    "rnn": Cell(rnn, rnn_backward, rnn_weights, (), (1,)),
    "lstm": Cell(lstm, lstm_backward, rnn_weights, (4,), (4,)),
    "gru": Cell(gru, gru_backward, gru_weights, (2, 1, 1), (3, 3)),
    "gru_reset_before": Cell(
        gru_reset_before, gru_reset_before_backward, gru_reset_before_weights, (2, 1, 1), (3,)
    ),
}
