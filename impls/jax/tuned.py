"""The fastest JAX that we could write: the way back through a layer is by hand, in one scan.

On a GPU an LSTM in float32 is cuDNN's instead (``cudnn.py``).

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- ``recurrence`` brings its own way back (``jax.custom_vjp``). The loop back only carries the gradient of the
  state and emits that of the gates; each weight's gradient is then one product over all T * B rows. Plain
  differentiation of a scan adds it up step by step.
- The loop forward keeps what the loop back multiplies by: little is left to do there but the product. Both
  write over the array of the gates' inputs.
- The products with the inputs and with the head are one for all steps, as they lie in time.
- s(a) = (1 + tanh(a/2)) / 2: with the columns of the sigmoid gates halved (exactly), one ``tanh`` serves all.
- Rows of a small embedding are multiplied by W_xh once, and looked up then (``products.py``).

Shapes: a [T, B, G*H] is the input's part x W_xh + b_h, hs [T, B, H]; of one step a [B, G*H], h and c [B, H].
"""

from functools import partial

import jax
import jax.numpy as jnp

from suites.interface import Implementation
from suites.spec import Task

from . import scratch, training
from .products import Table, arranged, gathered, product
from .scratch import directions, layer

# --- cells. Forward: the new state, and what the way back multiplies by, the derivatives of one step: those
#     that are written over a, side by side, and others. Backward, of the gradient of the new state: that of
#     a, which is written over them, and that of the state before. ``weights``: the gradients of the
#     recurrent parameters, over all steps at once.


def rnn(a, state, p):
    """h_t = tanh(a_t + h_{t-1} W_hh)."""
    (h,) = state
    h_new = jnp.tanh(a + h @ p["W_hh"])  # [B, H]
    return (h_new,), (1 - h_new * h_new,), ()


def rnn_backward(dstate, over, kept, p):
    (dh,) = dstate
    da = dh * over
    return da, (da @ p["W_hh"].T,)


def lstm(a, state, p):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)."""
    h, c = state
    t_i, t_f, g, t_o = jnp.split(jnp.tanh(a + h @ p["W_hh"]), 4, axis=1)
    i, f, o = sigmoid(t_i), sigmoid(t_f), sigmoid(t_o)
    c_new = f * c + i * g  # [B, H]
    tanh_c = jnp.tanh(c_new)
    over = g * slope(t_i), c * slope(t_f), i * (1 - g * g), tanh_c * slope(t_o)
    return (o * tanh_c, c_new), over, (o * (1 - tanh_c * tanh_c), f)


def lstm_backward(dstate, over, kept, p):
    (dh, dc), (of_c, f) = dstate, kept
    of_i, of_f, of_g, of_o = jnp.split(over, 4, axis=1)
    dc = dc + dh * of_c
    da = jnp.concatenate([dc * of_i, dc * of_f, dc * of_g, dh * of_o], axis=1)  # [B, 4H]
    return da, (da @ p["W_hh"].T, dc * f)


def gru(a, state, p):
    """n_t = tanh(a_n + r (h_{t-1} W_hn + b_hn)),  h_t = n_t + z (h_{t-1} - n_t)."""
    (h,) = state
    H = h.shape[1]
    q = h @ p["W_hh"]  # [B, 3H]
    t_r, t_z = jnp.split(jnp.tanh(a[:, : 2 * H] + q[:, : 2 * H]), 2, axis=1)
    r, z, q = sigmoid(t_r), sigmoid(t_z), q[:, 2 * H :] + p["b_hn"]
    n = jnp.tanh(a[:, 2 * H :] + r * q)  # [B, H]
    of_n = (1 - z) * (1 - n * n)
    return (n + z * (h - n),), (of_n * q * slope(t_r), (h - n) * slope(t_z), of_n), (z, r)


def gru_backward(dstate, over, kept, p):
    (dh,), (z, r) = dstate, kept
    of_r, of_z, of_n = jnp.split(over, 3, axis=1)
    d_r, d_z, d_n = dh * of_r, dh * of_z, dh * of_n
    da_h = jnp.concatenate([d_r, d_z, d_n * r], axis=1)  # of h W_hh [B, 3H]
    return jnp.concatenate([d_r, d_z, d_n], axis=1), (dh * z + da_h @ p["W_hh"].T,)


def gru_weights(da, before, kept):
    (_, r), H = kept, before.shape[-1]
    d_q = da[..., 2 * H :] * r
    dW_hh = gathered(before, da[..., : 2 * H]), gathered(before, d_q)
    return {"W_hh": jnp.concatenate(dW_hh, axis=1), "b_hn": d_q.sum(axis=(0, 1))}


def gru_reset_before(a, state, p):
    """n_t = tanh(a_n + (r h_{t-1}) W_hn),  h_t = n_t + z (h_{t-1} - n_t)."""
    (h,) = state
    H = h.shape[1]
    t_r, t_z = jnp.split(jnp.tanh(a[:, : 2 * H] + h @ p["W_hh"][:, : 2 * H]), 2, axis=1)
    r, z = sigmoid(t_r), sigmoid(t_z)
    n = jnp.tanh(a[:, 2 * H :] + (r * h) @ p["W_hh"][:, 2 * H :])  # [B, H]
    return (n + z * (h - n),), (h * slope(t_r), (h - n) * slope(t_z), (1 - z) * (1 - n * n)), (z, r)


def gru_reset_before_backward(dstate, over, kept, p):
    (dh,), (z, r) = dstate, kept
    H = dh.shape[1]
    of_r, of_z, of_n = jnp.split(over, 3, axis=1)
    d_n = dh * of_n
    d_reset = d_n @ p["W_hh"][:, 2 * H :].T  # of r h
    d_r_z = jnp.concatenate([d_reset * of_r, dh * of_z], axis=1)  # [B, 2H]
    dh = dh * z + d_reset * r + d_r_z @ p["W_hh"][:, : 2 * H].T
    return jnp.concatenate([d_r_z, d_n], axis=1), (dh,)


def gru_reset_before_weights(da, before, kept):
    (_, r), H = kept, before.shape[-1]
    dW_hh = gathered(before, da[..., : 2 * H]), gathered(r * before, da[..., 2 * H :])
    return {"W_hh": jnp.concatenate(dW_hh, axis=1)}


def weights(da, before, kept):
    """Of a cell that adds h W_hh to a, and no more."""
    return {"W_hh": gathered(before, da)}


def sigmoid(t):
    """s(a) of t = tanh(a/2)."""
    return 0.5 * t + 0.5


def slope(t):
    """d s(a) / d (a/2) of t = tanh(a/2)."""
    return 0.5 - 0.5 * t * t


CELLS = {
    "rnn": (rnn, rnn_backward, weights),
    "lstm": (lstm, lstm_backward, weights),
    "gru": (gru, gru_backward, gru_weights),
    "gru_reset_before": (gru_reset_before, gru_reset_before_backward, gru_reset_before_weights),
}


# --- the recurrence over time; ``valid`` [T, B] is False in padding, or None


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recurrence(cell, reverse, a, first, p, valid):
    """Every h [T, B, H], and the final state. In padding a state stays as it is, and h counts as zero."""
    forward, *_ = CELLS[cell]

    def step(state, now):
        a_t, v = now
        new, _, _ = forward(a_t, state, p)
        state = choose(v, new, state)
        return state, state[0]

    final, hs = jax.lax.scan(step, first, (a, valid), reverse=reverse)
    return within(hs, valid), final


def recurrence_forward(cell, reverse, a, first, p, valid):
    """The same, and all that the way back reads.

    The loop has but one array as wide as the gates: at each step derivatives take the place of a, on the
    way back gradients theirs. XLA would fill another with zeros first.
    """
    forward, *_ = CELLS[cell]

    def step(carry, now):
        (state, a), (t, v) = carry, now
        new, over, kept = forward(a[t], state, p)
        state = choose(v, new, state)
        return (state, a.at[t].set(jnp.concatenate(over, axis=1))), (state[0], kept)

    (final, over), (hs, kept) = jax.lax.scan(step, (first, a), (jnp.arange(len(a)), valid), reverse=reverse)
    return (within(hs, valid), final), (first[0], hs, over, kept, p, valid)


def recurrence_backward(cell, reverse, residuals, gradients):
    """Gradients of a, of the first state and of the parameters."""
    (h, hs, over, kept, p, valid), (dhs, dfinal) = residuals, gradients
    _, backward, cell_weights = CELLS[cell]

    def step(carry, now):
        (dstate, over), (t, dh, kept_t, v) = carry, now
        da, dnew = backward((dstate[0] + dh, *dstate[1:]), over[t], kept_t, p)
        (da,) = choose(v, (da,), (jnp.zeros_like(da),))
        return (choose(v, dnew, dstate), over.at[t].set(da)), None

    each = jnp.arange(len(over)), dhs, kept, valid
    (dfirst, da), _ = jax.lax.scan(step, (dfinal, over), each, reverse=not reverse)
    before = jnp.concatenate([hs[1:], h[None]] if reverse else [h[None], hs[:-1]])
    return da, dfirst, cell_weights(da, before, kept), None


recurrence.defvjp(recurrence_forward, recurrence_backward)


def choose(v, new, old):
    """Each part of ``new`` where v [B], and of ``old`` elsewhere; ``new`` where v is None."""
    if v is None:
        return new
    return tuple(jnp.where(v[:, None], after, before) for after, before in zip(new, old, strict=True))


def within(hs, valid):
    """hs [T, B, H], zero in padding."""
    return hs if valid is None else jnp.where(valid[..., None], hs, 0)


# --- the stack of layers, its name "encoder" or "decoder"


def stack(params, name, xs, state, valid, masks, model):
    """Every h of the top layer [B, T, D*H], and the final state of each layer."""
    final = {}
    table = isinstance(params.get("embed" if name == "encoder" else "decoder.embed"), Table)
    xs, valid, masks = jax.tree.map(by_time, (xs, valid, None if masks is None else list(masks)))
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * masks[k - 1] / (1 - model.dropout)
        names = [f"{name}.{k}.{direction}" for direction in directions(name, model)]
        if k == 0 and table:
            parts = jnp.split(xs, len(names), axis=2)
        else:
            parts = [product(xs, params[f"{at}.W_xh"]) + params[f"{at}.b_h"] for at in names]  # [T, B, G*H]
        both = []
        for at, a in zip(names, parts, strict=True):
            p = {key: w for key, w in layer(params, at).items() if key not in ("W_xh", "b_h")}
            hs, final[at] = recurrence(model.cell, at.endswith("bwd"), a, state[at], p, valid)
            both.append(hs)
        xs = jnp.concatenate(both, axis=2) if len(both) > 1 else both[0]  # [T, B, D*H]
    return by_time(xs), final


def by_time(array):
    """[T, B, ...] of [B, T, ...], or back."""
    return array.swapaxes(0, 1)


# --- the model


class Trainer(training.Trainer):
    """``training.Trainer``; parameters are arranged once for all tokens that are decoded."""

    def _decode(self, params, batch, steps, draws, temperature):
        return super()._decode(arranged(params, self.model), batch, steps, draws, temperature)


def forward(params, batch, state, model):
    """logits, every h of each stack, and all final states."""
    return scratch.forward(arranged(params, model), batch, state, model, stack, head)


def head(params, hidden, final, model):
    """logits [B, O] or [B, T, O], multiplied as every h lies: by time."""
    logits = scratch.head(params, jax.tree.map(by_time, hidden), final, model)
    return logits if model.head == "final" else by_time(logits)


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    start, advance = (partial(function, stack=stack) for function in (scratch.start, scratch.advance))
    return Trainer(task, dtype, device, forward, start, advance, kernel="lax.scan, its own way back")
