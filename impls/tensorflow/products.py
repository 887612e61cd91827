"""What ``tuned.py`` reads: inputs multiplied by W_xh, small embeddings looked up so; parameters arranged."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

HALVED = {  # what the columns of each gate are multiplied by: s(a) = (1 + tanh(a/2)) / 2
    "rnn": (1,),
    "lstm": (0.5, 0.5, 1, 0.5),
    "gru": (0.5, 0.5, 1),
    "gru_reset_before": (0.5, 0.5, 1),
}


class Tokens(NamedTuple):
    """Tokens, and the table [V, E] whose rows they stand for."""

    table: tf.Tensor
    tokens: tf.Tensor  # [T, B]


def read(xs, p):
    """x_t W_xh + b_h of all steps, [T, B, G*H], and None; or of each of the vocabulary, [V, G*H], and the
    tokens [T, B], whose rows the loop looks up: what it has just looked up a cache still holds."""
    if isinstance(xs, Tokens):
        V, E = xs.table.shape
        if np.prod(xs.tokens.shape) >= V:
            rows = xs.table @ p["W_xh"] + p["b_h"]  # [V, G*H]
            return (rows, xs.tokens) if pays(V, E) else (tf.gather(rows, xs.tokens), None)
        xs = tf.gather(xs.table, xs.tokens)
    a = flat(xs) @ p["W_xh"] + p["b_h"]
    return tf.reshape(a, (*xs.shape[:2], a.shape[1])), None


def added_up(d, tokens, V):
    """The gradient of rows [V, G*H], where that of what was looked up is d [T, B, G*H]: one product, for the
    gradient of a gather adds up rows one by one."""
    one_hot = tf.one_hot(tf.reshape(tokens, [-1]), V, dtype=d.dtype)  # [T * B, V]
    return tf.matmul(one_hot, flat(d), transpose_a=True)


def pays(V, E):
    """Whether V rows are few enough: the bound that JAX's ``products.py`` has, not measured here."""
    return V <= 2 * E


def flat(xs):
    """[T * B, I] of [T, B, I]."""
    return tf.reshape(xs, (-1, xs.shape[2]))


def arranged(p, cell):
    """The parameters of a layer as its cell here wants them: the sigmoid gates' halved."""
    H = p["W_hh"].shape[0]
    half = np.repeat(HALVED[cell], H)
    made = {name: p[name] * tf.constant(half, p[name].dtype) for name in ("W_xh", "W_hh", "b_h")}
    if cell == "gru":
        made["b_hn"] = p["b_hn"]
    if cell == "gru_reset_before":
        W_hh = made.pop("W_hh")
        made |= {"W_hrz": W_hh[:, : 2 * H], "W_hn": W_hh[:, 2 * H :]}
    return made
