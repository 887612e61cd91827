"""The tuned JAX for long sequences: what the way back reads is made again, not kept (rematerialisation).

Time is cut into segments of about sqrt(T) steps. Of each only the state that it meets is kept; its gates are
made a second time when the way back comes to it (``jax.checkpoint``). What a layer keeps besides its inputs
and every h then grows with sqrt(T), for one more pass forward (Chen et al. 2016, arXiv:1604.06174).

An embedding is looked up, never a table of ``tuned.py``, whose rows are as wide as the gates. On a GPU it is
this loop, too: cuDNN keeps what it likes.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from suites.interface import Implementation
from suites.spec import Task

from . import scratch, tuned
from .products import arranged


def in_segments(cell, reverse, xs, first, p, valid):
    """``tuned.at_once``, a segment of K steps after the other; those that are left over are one more."""

    @jax.checkpoint
    def segment(state, now):
        hs, final = tuned.at_once(cell, reverse, now[0], state, p, now[1])
        return final, hs

    T = len(xs)
    K = math.isqrt(T)
    even = T // K * K
    now = (xs, valid)
    segments = jax.tree.map(lambda array: array[:even].reshape(-1, K, *array.shape[1:]), now)
    rest = jax.tree.map(lambda array: array[even:], now)
    hs_rest = None
    if reverse and even < T:
        first, hs_rest = segment(first, rest)
    final, hs = jax.lax.scan(segment, first, segments, reverse=reverse)
    if not reverse and even < T:
        final, hs_rest = segment(final, rest)
    hs = hs.reshape(even, *hs.shape[2:])  # [T, B, H], but for the rest
    return hs if hs_rest is None else jnp.concatenate([hs, hs_rest]), final


stack = partial(tuned.stack, run=in_segments)


def forward(params, batch, state, model):
    """logits, every h of each stack, and all final states."""
    return scratch.forward(arranged(params, model, tables=False), batch, state, model, stack, tuned.head)


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    start, advance = (partial(function, stack=tuned.stack) for function in (scratch.start, scratch.advance))
    kernel = "lax.scan, its own way back, in segments made again"
    return tuned.Trainer(task, dtype, device, forward, start, advance, kernel=kernel)
