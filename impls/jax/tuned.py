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
- b_h is added inside the loop, in a kernel that runs anyway, not to all steps at once.
- Where nothing is kept, ``gru`` reads its inputs one step ahead (``AHEAD``).
- Rows of a small embedding are multiplied by W_xh once, and looked up then (``products.py``).

Shapes: a [T, B, G*H] is the input's part x W_xh, hs [T, B, H]; of one step a [B, G*H], h and c [B, H].
"""

from functools import partial

import jax
import jax.numpy as jnp

from suites.interface import Implementation
from suites.spec import Task

from . import cudnn, scratch, training
from .loops import CELLS
from .products import Table, arranged, product
from .scratch import directions, layer

# --- the recurrence over time; ``valid`` [T, B] is False in padding, or None

# Of a whole step of these XLA makes one kernel on a CPU, which LLVM does not vectorise where it looks up a[t]
# itself: a[t] comes with the state. Other steps are several kernels, and a copy of a[t] would be one more.
AHEAD = ("gru",)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recurrence(cell, reverse, a, first, p, valid):
    """Every h [T, B, H], and the final state. In padding a state stays as it is, and h counts as zero."""
    forward, *_ = CELLS[cell]

    def step(state, now):
        a_t, v = now
        new, _, _ = forward(biased(a_t, p), state, p)
        state = choose(v, new, state)
        return state, state[0]

    def ahead(carry, now):
        (state, a_t), (after, v) = carry, now
        state, h = step(state, (a_t, v))
        return (state, a[after]), h

    if cell in AHEAD and len(a):  # before a prompt of one token there is no step to read
        after = jnp.roll(jnp.arange(len(a)), 1 if reverse else -1)
        start = first, a[-1 if reverse else 0]
        (final, _), hs = jax.lax.scan(ahead, start, (after, valid), reverse=reverse)
    else:
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
        new, over, kept = forward(biased(a[t], p), state, p)
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
    weights = cell_weights(da, before, kept)
    if "b_h" in p:
        weights["b_h"] = da.sum(axis=(0, 1))
    return da, dfirst, weights, None


recurrence.defvjp(recurrence_forward, recurrence_backward)


def biased(a, p):
    """a + b_h, where no table has added it. Added to all steps at once it takes XLA a pass of its own."""
    return a + p["b_h"] if "b_h" in p else a


def choose(v, new, old):
    """Each part of ``new`` where v [B], and of ``old`` elsewhere; ``new`` where v is None."""
    if v is None:
        return new
    return tuple(jnp.where(v[:, None], after, before) for after, before in zip(new, old, strict=True))


def within(hs, valid):
    """hs [T, B, H], zero in padding."""
    return hs if valid is None else jnp.where(valid[..., None], hs, 0)


# --- the stack of layers, its name "encoder" or "decoder"


def at_once(cell, reverse, xs, first, p, valid):
    """One layer in one direction, its inputs [T, B, I] multiplied at once, unless a table has done so."""
    own = {key: w for key, w in p.items() if key != "W_xh"}
    a = product(xs, p["W_xh"]) if "W_xh" in p else xs  # [T, B, G*H]
    return recurrence(cell, reverse, a, first, own, valid)


def stack(params, name, xs, state, valid, masks, model, run=at_once):
    """Every h of the top layer [B, T, D*H], and the final state of each layer."""
    final = {}
    table = isinstance(params.get("embed" if name == "encoder" else "decoder.embed"), Table)
    xs, valid, masks = jax.tree.map(by_time, (xs, valid, None if masks is None else list(masks)))
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * masks[k - 1] / (1 - model.dropout)
        names = [f"{name}.{k}.{direction}" for direction in directions(name, model)]
        of_table = k == 0 and table
        parts = jnp.split(xs, len(names), axis=2) if of_table else [xs] * len(names)
        both = []
        for at, part in zip(names, parts, strict=True):
            p = layer(params, at)
            if of_table:
                p = {key: w for key, w in p.items() if key not in ("W_xh", "b_h")}
            hs, final[at] = run(model.cell, at.endswith("bwd"), part, state[at], p, valid)
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
    if device == "gpu" and cudnn.holds(task.model, dtype):
        ahead, start = (partial(f, stack=cudnn.stack) for f in (scratch.forward, scratch.start))
        return training.Trainer(task, dtype, device, ahead, start, scratch.advance, kernel="cuDNN")
    start, advance = (partial(function, stack=stack) for function in (scratch.start, scratch.advance))
    return Trainer(task, dtype, device, forward, start, advance, kernel="lax.scan, its own way back")
