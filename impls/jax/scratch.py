"""Recurrent cells in JAX, differentiated by JAX.

Shapes: x [B, I], h and c [B, H], xs [B, T, I], hs [B, T, H]. Parameters ``p``
of one layer: W_xh [I, G*H], W_hh [H, G*H], b_h [G*H], for ``gru`` b_hn [H].
A cell is a pure function and returns its new state.
"""

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from suites.interface import Implementation
from suites.spec import BOS, Task

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


# --- the recurrence over time; ``valid`` [B, T] is False in padding, or None


def unroll(cell, xs, state, p, valid=None, reverse=False):
    """Every h [B, T, H], and the final state.

    In padding a state stays as it is, and h counts as zero.
    """

    def step(state, now):
        x, v = now
        new = cell(x, state, p)
        if v is None:
            return new, new[0]
        v = v[:, None]  # [B, 1]
        kept = tuple(jnp.where(v, after, before) for after, before in zip(new, state, strict=True))
        return kept, jnp.where(v, new[0], 0)

    # scan runs over the first axis; a None has no leaf, and reaches every step as None
    by_time = jax.tree.map(lambda array: array.swapaxes(0, 1), (xs, valid))
    final, hs = jax.lax.scan(step, state, by_time, reverse=reverse)
    return hs.swapaxes(0, 1), final


# --- the stack of layers, its name "encoder" or "decoder"


def layer(params, name):
    """The parameters of one layer in one direction, without its name before theirs."""
    prefix = name + "."
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def directions(name, model):
    """The directions of a stack: a decoder goes forward only."""
    return model.directions if name == "encoder" else ("fwd",)


def stack(params, name, xs, state, valid, masks, model):
    """Every h of the top layer [B, T, D*H], and the final state of each layer."""
    cell, final = CELLS[model.cell], {}
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * masks[k - 1] / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            hs, final[at] = unroll(cell, xs, state[at], layer(params, at), valid, reverse=direction == "bwd")
            both.append(hs)
        xs = jnp.concatenate(both, axis=2)  # [B, T, D*H]
    return xs, final


# --- the model: [embedding ->] encoder [-> decoder] -> head


def within(lengths, steps):
    """valid [B, T]: which steps are within the lengths [B]; None where all are."""
    return None if lengths is None else jnp.arange(steps) < lengths[:, None]


def bridge(params, inputs, model):
    """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
    h = jnp.tanh(inputs @ params["bridge.W_xh"] + params["bridge.b_h"])  # [B, H]
    first = (h, jnp.zeros_like(h)) if model.cell == "lstm" else (h,)
    return {f"decoder.{k}.fwd": first for k in range(model.layers)}


def handed_over(final):
    """The decoder's first state: the encoder's final one, layer by layer."""
    return {at.replace("encoder", "decoder"): parts for at, parts in final.items()}


def encode(params, batch, state, model, stack=stack):
    """Every h of the encoder's top layer, and its final state."""
    xs = params["embed"][batch.inputs] if model.inputs == "tokens" else batch.inputs  # [B, T, I]
    return stack(params, "encoder", xs, state, within(batch.lengths, xs.shape[1]), batch.masks, model)


def decode(params, tokens, state, valid, model, stack=stack):
    """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
    return stack(params, "decoder", params["decoder.embed"][tokens], state, valid, None, model)


def head(params, hidden, final, model):
    """logits [B, O] or [B, T, O]."""
    if model.head == "final":
        at = f"encoder.{model.layers - 1}"
        read = jnp.concatenate([final[f"{at}.{direction}"][0] for direction in model.directions], axis=1)
    else:
        read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
    return read @ params["head.W_hq"] + params["head.b_q"]


def forward(params, batch, state, model, stack=stack, head=head):
    """logits, every h of each stack, and all final states."""
    hidden, final = {}, {}
    if model.wiring != "decoder":
        hidden["encoder"], final = encode(params, batch, state, model, stack)
    if model.wiring != "encoder":
        first = bridge(params, batch.inputs, model) if model.wiring == "decoder" else handed_over(final)
        valid = within(batch.target_lengths, batch.decoder_inputs.shape[1])
        hidden["decoder"], last = decode(params, batch.decoder_inputs, first, valid, model, stack)
        final = final | last
    return head(params, hidden, final, model), hidden, final


# --- decoding, token by token


def start(params, batch, state, model, stack=stack):
    """The token that is read first [B], and the state that it meets."""
    if model.wiring == "encoder":  # a language model: all of the prompt but its last token
        _, final = encode(params, batch._replace(inputs=batch.inputs[:, :-1]), state, model, stack)
        return batch.inputs[:, -1], final
    if model.wiring == "decoder":
        first = bridge(params, batch.inputs, model)
    else:
        first = handed_over(encode(params, batch, state, model, stack)[1])
    return jnp.full(len(batch.inputs), BOS, jnp.int32), first


def advance(params, tokens, state, model, stack=stack):
    """logits [B, O] after the tokens [B], and the new state."""
    name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
    hs, state = stack(params, name, params[embed][tokens][:, None], state, None, None, model)
    return hs[:, 0] @ params["head.W_hq"] + params["head.b_q"], state


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, forward, start, advance, kernel="lax.scan")
