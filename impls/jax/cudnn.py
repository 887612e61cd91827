"""cuDNN's LSTM in JAX, for ``tuned.py`` on a GPU: all layers in one call; where masks lie between, one each.

cuDNN wants one array of all weights, in its own order (``jax.experimental.rnn``): of each layer and direction
W_xh and W_hh, turned, then of each b_h and a second bias, which stays at zero and out of the optimiser.
"""

import jax.numpy as jnp
from jax.experimental import rnn

from . import scratch
from .device import rounds_to
from .scratch import directions


def holds(model, dtype):
    """Whether JAX's binding has it: an LSTM of float32, its products in float32 or TF32."""
    return model.cell == "lstm" and dtype == "float32" and rounds_to() != "bf16"


def stack(params, name, xs, state, valid, masks, model):
    """Every h of the top layer [B, T, D*H], and the final state of each layer, as ``scratch.stack``."""
    B, T = xs.shape[:2]
    if T == 0:  # a prompt of one token
        return scratch.stack(params, name, xs, state, valid, masks, model)
    lengths = jnp.full(B, T, jnp.int32) if valid is None else valid.sum(axis=1, dtype=jnp.int32)
    final: dict = {}
    for k in range(0, model.layers, 1 if masks is not None else model.layers):
        if k > 0:
            xs = xs * masks[k - 1] / (1 - model.dropout)
        layers = [k] if masks is not None else range(model.layers)
        names = [f"{name}.{k}.{direction}" for k in layers for direction in directions(name, model)]
        first = [jnp.stack(part) for part in zip(*(state[at] for at in names), strict=True)]
        both = len(directions(name, model)) == 2
        sizes = xs.shape[2], model.hidden, len(layers)
        xs, *last = rnn.lstm(xs, *first, flat(params, names), lengths, *sizes, 0.0, both)
        final |= dict(zip(names, zip(*last, strict=True), strict=True))
    return xs, final


def flat(params, names):
    """The weights of these layers, as cuDNN lays them out."""
    matrices = [params[f"{at}.{key}"].T for at in names for key in ("W_xh", "W_hh")]
    biases = [b for at in names for b in (params[f"{at}.b_h"], jnp.zeros_like(params[f"{at}.b_h"]))]
    return jnp.concatenate([w.ravel() for w in (*matrices, *biases)])
