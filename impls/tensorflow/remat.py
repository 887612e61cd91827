"""The tuned TensorFlow for long sequences: what the way back reads is made again (rematerialisation).

Time is cut into segments of about sqrt(T) steps. Of each only the state that it meets is kept; its gates are
made a second time when the way back comes to it (``tf.recompute_grad``). What a layer keeps besides its
inputs and every h then grows with sqrt(T), for one more pass forward (Chen et al. 2016, arXiv:1604.06174).
"""

import math
from functools import partial

import tensorflow as tf

from suites.interface import Implementation
from suites.spec import Task

from . import tuned
from .products import Tokens


def in_segments(name, xs, state, p, lengths, reverse, keep):
    """``tuned.at_once``, a segment of K steps after the other."""
    tokens = isinstance(xs, Tokens)
    T, found = (xs.tokens if tokens else xs).shape[0], []
    K = math.isqrt(T)
    starts = range(0, T, K)
    for t in reversed(starts) if reverse else starts:
        part = Tokens(xs.table, xs.tokens[t : t + K]) if tokens else xs[t : t + K]
        left = None if lengths is None else lengths - t
        hs, state = segment(name, part, state, p, left, reverse, keep)
        found.append(hs)
    return tf.concat(found[::-1] if reverse else found, axis=0), state


def segment(name, xs, state, p, lengths, reverse, keep):
    """``tuned.at_once``, run again on the way back."""
    tokens, weights = isinstance(xs, Tokens), sorted(p)

    @tf.recompute_grad
    def run(inputs, *rest):
        own = dict(zip(weights, rest[len(state) :], strict=True))
        part = Tokens(inputs, xs.tokens) if tokens else inputs
        hs, final = tuned.at_once(name, part, rest[: len(state)], own, lengths, reverse, keep)
        return hs, *final

    hs, *final = run(xs.table if tokens else xs, *state, *(p[key] for key in weights))
    return hs, tuple(final)


class Network(tuned.Network):
    """The network of ``tuned.py``, its layers in segments; decoding keeps nothing anyway."""

    kernel = "loop over time in XLA, in segments made again"
    stack = staticmethod(partial(tuned.stack, run=in_segments))


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return tuned.build(task, dtype, device, Network)
