"""The fastest JAX that we could write: the way back through a layer is by hand, in one scan.

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- ``recurrence`` brings its own way back (``jax.custom_vjp``). The loop back only carries the gradient of the
  state and emits that of the gates; each weight's gradient is then one product over all T * B rows. Plain
  differentiation of a scan adds it up step by step.
- The loop forward keeps what the loop back multiplies by: little is left to do there but the product.
- The products with the inputs and with the head are one for all steps, as they lie in time.
- s(a) = (1 + tanh(a/2)) / 2: with the columns of the sigmoid gates halved (exactly), one ``tanh`` serves all.
- Rows of a small embedding are multiplied by W_xh once, and looked up then (``tables.py``).

Shapes: a [T, B, G*H] is the input's part x W_xh + b_h, hs [T, B, H]; of one step a [B, G*H], h and c [B, H].
"""

from functools import partial

import jax
import jax.numpy as jnp

from suites.interface import Implementation
from suites.spec import Task

from . import scratch, training
from .scratch import directions, layer
from .tables import Table, arranged

# --- cells. Forward: the new state, and what the way back multiplies by: a derivative for each path, of one step.
#     Backward, of the gradient of the new state: that of the gates' inputs, of the input's part first, of the
#     state's part last where it differs; and that of the state before.
#     ``weights``: the gradients of the recurrent parameters, over all steps at once.


def rnn(a, state, p):
    """h_t = tanh(a_t + h_{t-1} W_hh)."""
    (h,) = state
    h_new = jnp.tanh(a + h @ p["W_hh"])  # [B, H]
    return (h_new,), (1 - h_new * h_new,)


def rnn_backward(dstate, kept, p):
    (dh,), (of_a,) = dstate, kept
    da = dh * of_a
    return (da,), (da @ p["W_hh"].T,)


def lstm(a, state, p):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)."""
    h, c = state
    t_i, t_f, g, t_o = jnp.split(jnp.tanh(a + h @ p["W_hh"]), 4, axis=1)
    i, f, o = sigmoid(t_i), sigmoid(t_f), sigmoid(t_o)
    c_new = f * c + i * g  # [B, H]
    tanh_c = jnp.tanh(c_new)
    of_c = g * slope(t_i), c * slope(t_f), i * (1 - g * g)
    of_h = tanh_c * slope(t_o), o * (1 - tanh_c * tanh_c)
    return (o * tanh_c, c_new), (*of_c, *of_h, f)


def lstm_backward(dstate, kept, p):
    (dh, dc), (of_i, of_f, of_g, of_o, of_c, f) = dstate, kept
    dc = dc + dh * of_c
    da = jnp.concatenate([dc * of_i, dc * of_f, dc * of_g, dh * of_o], axis=1)  # [B, 4H]
    return (da,), (da @ p["W_hh"].T, dc * f)


def gru(a, state, p):
    """n_t = tanh(a_n + r (h_{t-1} W_hn + b_hn)),  h_t = n_t + z (h_{t-1} - n_t)."""
    (h,) = state
    H = h.shape[1]
    q = h @ p["W_hh"]  # [B, 3H]
    t_r, t_z = jnp.split(jnp.tanh(a[:, : 2 * H] + q[:, : 2 * H]), 2, axis=1)
    r, z, q = sigmoid(t_r), sigmoid(t_z), q[:, 2 * H :] + p["b_hn"]
    n = jnp.tanh(a[:, 2 * H :] + r * q)  # [B, H]
    of_n = (1 - z) * (1 - n * n)
    return (n + z * (h - n),), (of_n * q * slope(t_r), (h - n) * slope(t_z), of_n, of_n * r, z)


def gru_backward(dstate, kept, p):
    (dh,), (of_r, of_z, of_n, of_q, z) = dstate, kept
    d_r, d_z = dh * of_r, dh * of_z
    da_h = jnp.concatenate([d_r, d_z, dh * of_q], axis=1)  # [B, 3H]
    return (jnp.concatenate([d_r, d_z, dh * of_n], axis=1), da_h), (dh * z + da_h @ p["W_hh"].T,)


def gru_weights(das, before, kept):
    _, da_h = das
    return {"W_hh": gathered(before, da_h), "b_hn": da_h[..., -before.shape[-1] :].sum(axis=(0, 1))}


def gru_reset_before(a, state, p):
    """n_t = tanh(a_n + (r h_{t-1}) W_hn),  h_t = n_t + z (h_{t-1} - n_t)."""
    (h,) = state
    H = h.shape[1]
    t_r, t_z = jnp.split(jnp.tanh(a[:, : 2 * H] + h @ p["W_hh"][:, : 2 * H]), 2, axis=1)
    r, z = sigmoid(t_r), sigmoid(t_z)
    n = jnp.tanh(a[:, 2 * H :] + (r * h) @ p["W_hh"][:, 2 * H :])  # [B, H]
    return (n + z * (h - n),), (h * slope(t_r), (h - n) * slope(t_z), (1 - z) * (1 - n * n), z, r)


def gru_reset_before_backward(dstate, kept, p):
    (dh,), (of_r, of_z, of_n, z, r) = dstate, kept
    H = dh.shape[1]
    d_n = dh * of_n
    d_reset = d_n @ p["W_hh"][:, 2 * H :].T  # of r h
    d_r_z = jnp.concatenate([d_reset * of_r, dh * of_z], axis=1)  # [B, 2H]
    dh = dh * z + d_reset * r + d_r_z @ p["W_hh"][:, : 2 * H].T
    return (jnp.concatenate([d_r_z, d_n], axis=1),), (dh,)


def gru_reset_before_weights(das, before, kept):
    (da,), (*_, r), H = das, kept, before.shape[-1]
    both = gathered(before, da[..., : 2 * H]), gathered(r * before, da[..., 2 * H :])
    return {"W_hh": jnp.concatenate(both, axis=1)}


def weights(das, before, kept):
    """Of a cell that multiplies h by W_hh, and no more."""
    return {"W_hh": gathered(before, das[-1])}


def sigmoid(t):
    """s(a) of t = tanh(a/2)."""
    return 0.5 * t + 0.5


def slope(t):
    """d s(a) / d (a/2) of t = tanh(a/2)."""
    return 0.5 - 0.5 * t * t


def gathered(x, da):
    """The gradient of W, where x [T, B, I] @ W has the gradient da [T, B, G*H]."""
    return x.reshape(-1, x.shape[-1]).T @ da.reshape(-1, da.shape[-1])


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
    hs, final, _ = unroll(cell, reverse, a, first, p, valid)
    return within(hs, valid), final


def recurrence_forward(cell, reverse, a, first, p, valid):
    """The same, and all that the way back reads."""
    hs, final, kept = unroll(cell, reverse, a, first, p, valid, keeps=True)
    return (within(hs, valid), final), (first[0], hs, kept, p, valid)


def recurrence_backward(cell, reverse, residuals, gradients):
    """Gradients of a, of the first state and of the parameters."""
    (h, hs, kept, p, valid), (dhs, dfinal) = residuals, gradients
    _, cell_backward, cell_weights = CELLS[cell]

    def step(dstate, now):
        dh, kept_t, v = now
        das, dnew = cell_backward((dstate[0] + dh, *dstate[1:]), kept_t, p)
        if v is None:
            return dnew, das
        v = v[:, None]  # [B, 1]
        dnew = tuple(jnp.where(v, through, past) for through, past in zip(dnew, dstate, strict=True))
        return dnew, tuple(jnp.where(v, da, 0) for da in das)

    dfirst, das = jax.lax.scan(step, dfinal, (dhs, kept, valid), reverse=not reverse)
    met = [hs[1:], h[None]] if reverse else [h[None], hs[:-1]]
    return das[0], dfirst, cell_weights(das, jnp.concatenate(met), kept), None


recurrence.defvjp(recurrence_forward, recurrence_backward)


def unroll(cell, reverse, a, first, p, valid, keeps=False):
    """Every h [T, B, H], in padding as it was; the final state; what each step keeps for the way back."""
    forward, *_ = CELLS[cell]

    def step(state, now):
        a_t, v = now
        new, kept = forward(a_t, state, p)
        if v is not None:
            v = v[:, None]  # [B, 1]
            new = tuple(jnp.where(v, after, before) for after, before in zip(new, state, strict=True))
        return new, (new[0], kept if keeps else None)

    final, (hs, kept) = jax.lax.scan(step, first, (a, valid), reverse=reverse)
    return hs, final, kept


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
            parts = [xs @ params[f"{at}.W_xh"] + params[f"{at}.b_h"] for at in names]  # [T, B, G*H]
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
