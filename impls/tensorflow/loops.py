"""One step of each cell of ``tuned.py``, forward and back.

Forward: the new state, and what the way back multiplies by, the derivatives of one step: those that take the
place of a, side by side, and others, [B, H] each. Backward, of the gradient of the new state: that of the
state before, and that of a; its p is transposed. ``weights``: the gradients of the recurrent parameters, over
all steps at once. Shapes: a [B, G*H], the input's part with b_h (``products.arranged``), h and c [B, H]; over
all steps da, before (the h that each met) and what was kept [N, .].
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


def rnn(a, state, p):
    """h_t = tanh(a_t + h_{t-1} W_hh)."""
    (h,) = state
    h_new = tf.tanh(a + h @ p["W_hh"])  # [B, H]
    return (h_new,), 1 - h_new * h_new, ()


def rnn_backward(dstate, over, kept, p):
    (dh,) = dstate
    da = dh * over
    return (da @ p["W_hh"],), da


def lstm(a, state, p):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)."""
    h, c = state
    t_i, t_f, g, t_o = tf.split(tf.tanh(a + h @ p["W_hh"]), 4, axis=1)
    i, f, o = sigmoid(t_i), sigmoid(t_f), sigmoid(t_o)
    c_new = f * c + i * g  # [B, H]
    tanh_c = tf.tanh(c_new)
    over = g * slope(t_i), c * slope(t_f), i * (1 - g * g), tanh_c * slope(t_o)
    return (o * tanh_c, c_new), tf.concat(over, axis=1), (o * (1 - tanh_c * tanh_c), f)


def lstm_backward(dstate, over, kept, p):
    (dh, dc), (of_c, f) = dstate, kept
    of_i, of_f, of_g, of_o = tf.split(over, 4, axis=1)
    dc += dh * of_c
    da = tf.concat([dc * of_i, dc * of_f, dc * of_g, dh * of_o], axis=1)  # [B, 4H]
    return (da @ p["W_hh"], dc * f), da


def gru(a, state, p):
    """n_t = tanh(a_n + r (h_{t-1} W_hn + b_hn)),  h_t = n_t + z (h_{t-1} - n_t)."""
    (h,) = state
    H = h.shape[1]
    q = h @ p["W_hh"]  # [B, 3H]
    t_r, t_z = tf.split(tf.tanh(a[:, : 2 * H] + q[:, : 2 * H]), 2, axis=1)
    r, z, q = sigmoid(t_r), sigmoid(t_z), q[:, 2 * H :] + p["b_hn"]
    n = tf.tanh(a[:, 2 * H :] + r * q)  # [B, H]
    of_n = (1 - z) * (1 - n * n)
    over = of_n * q * slope(t_r), (h - n) * slope(t_z), of_n
    return (n + z * (h - n),), tf.concat(over, axis=1), (z, r)


def gru_backward(dstate, over, kept, p):
    (dh,), (z, r) = dstate, kept
    of_r, of_z, of_n = tf.split(over, 3, axis=1)
    d_r, d_z, d_n = dh * of_r, dh * of_z, dh * of_n
    da_h = tf.concat([d_r, d_z, d_n * r], axis=1)  # of h W_hh [B, 3H]
    return (dh * z + da_h @ p["W_hh"],), tf.concat([d_r, d_z, d_n], axis=1)


def gru_weights(da, before, kept):
    (_, r), H = kept, before.shape[1]
    d_q = da[:, 2 * H :] * r
    dW_hh = gathered(before, da[:, : 2 * H]), gathered(before, d_q)
    return {"W_hh": tf.concat(dW_hh, axis=1), "b_hn": tf.reduce_sum(d_q, axis=0)}


def gru_reset_before(a, state, p):
    """n_t = tanh(a_n + (r h_{t-1}) W_hn),  h_t = n_t + z (h_{t-1} - n_t)."""
    (h,) = state
    H = h.shape[1]
    t_r, t_z = tf.split(tf.tanh(a[:, : 2 * H] + h @ p["W_hrz"]), 2, axis=1)
    r, z = sigmoid(t_r), sigmoid(t_z)
    n = tf.tanh(a[:, 2 * H :] + (r * h) @ p["W_hn"])  # [B, H]
    over = h * slope(t_r), (h - n) * slope(t_z), (1 - z) * (1 - n * n)
    return (n + z * (h - n),), tf.concat(over, axis=1), (z, r)


def gru_reset_before_backward(dstate, over, kept, p):
    (dh,), (z, r) = dstate, kept
    of_r, of_z, of_n = tf.split(over, 3, axis=1)
    d_n = dh * of_n
    d_reset = d_n @ p["W_hn"]  # of r h
    d_r_z = tf.concat([d_reset * of_r, dh * of_z], axis=1)  # [B, 2H]
    dh = dh * z + d_reset * r + d_r_z @ p["W_hrz"]
    return (dh,), tf.concat([d_r_z, d_n], axis=1)


def gru_reset_before_weights(da, before, kept):
    (_, r), H = kept, before.shape[1]
    return {"W_hrz": gathered(before, da[:, : 2 * H]), "W_hn": gathered(r * before, da[:, 2 * H :])}


def weights(da, before, kept):
    """Of a cell that adds h W_hh to a, and no more."""
    return {"W_hh": gathered(before, da)}


def gathered(xs, d):
    """The gradient of W, where that of xs [N, I] @ W is d [N, G*H]."""
    return tf.matmul(xs, d, transpose_a=True)


def sigmoid(t):
    """s(a) of t = tanh(a/2)."""
    return 0.5 * t + 0.5


def slope(t):
    """d s(a) / d (a/2) of t = tanh(a/2)."""
    return 0.5 - 0.5 * t * t


class Cell(NamedTuple):
    """The functions of a cell, and how many [B, H] it keeps beside what takes the place of a."""

    forward: Callable
    backward: Callable
    weights: Callable
    kept: int


CELLS = {
    "rnn": Cell(rnn, rnn_backward, weights, 0),
    "lstm": Cell(lstm, lstm_backward, weights, 2),
    "gru": Cell(gru, gru_backward, gru_weights, 2),
    "gru_reset_before": Cell(gru_reset_before, gru_reset_before_backward, gru_reset_before_weights, 2),
}
