"""The tuned NumPy for long sequences: what the way back reads is made again, not kept (rematerialisation).

Time is cut into segments of about sqrt(T) steps. Of each only the state that it meets is kept; its gates are
made a second time when the way back comes to it. What a layer keeps besides its inputs and every h then
grows with sqrt(T), for one more pass forward (Chen et al. 2016, arXiv:1604.06174). The buffers of a segment
serve every other, of all layers.
"""

import math

import numpy as np

from . import tuned
from .in_place import Trainer


class Stack(tuned.Stack):
    """``tuned.Stack``, a layer's cache being the state that each segment met."""

    tables = False  # a segment's inputs are a part of all

    def _layer(self, at, name, xs, first, p, packing):
        state, every_h, met = [part.copy() for part in first], [], []
        for columns, part in self._segments(packing):
            n = part.shape[0]
            met.append(tuple(before[:, :n].copy() for before in state))
            hs, last, _ = super()._layer(BUFFERS, name, xs[columns], met[-1], p, part)
            every_h.append(hs.copy())
            for before, new in zip(state, last, strict=True):
                before[:, :n] = new  # sequences that have ended keep their final state
        return np.concatenate(every_h), state, met

    def _layer_back(self, at, name, dhs, dlast, xs, first, met, p, packing, wanted):
        dstate, dxs = [part.copy() for part in dlast], []
        grads: dict = {}
        for (columns, part), before in reversed(list(zip(self._segments(packing), met, strict=True))):
            n, given = part.shape[0], xs[columns]
            _, _, cache = super()._layer(BUFFERS, name, given, before, p, part)
            dnew = tuple(d[:, :n].copy() for d in dstate)
            back = dhs[columns], dnew, given, before, cache, p, part, wanted
            dx, d, dfirst = super()._layer_back(BUFFERS, name, *back)
            grads = {key: grads[key] + value if grads else value for key, value in d.items()}
            dxs.append(dx)
            for after, new in zip(dstate, dfirst, strict=True):
                after[:, :n] = new
        return np.concatenate(dxs[::-1]) if wanted else None, grads, tuple(dstate)

    def _segments(self, packing):
        """The columns of each K steps, and their packing: of the n sequences that get so far."""
        K, found = math.isqrt(packing.shape[1]), []
        for t in range(0, len(packing.sizes), K):
            sizes = packing.sizes[t : t + K]
            n, start = sizes[0], packing.starts[t]
            whole = sizes[-1] == n
            valid = None if whole else np.arange(n)[:, None] < sizes
            found.append((slice(start, start + sum(sizes)), self._packing(valid, n, len(sizes))))
        return found


BUFFERS = "segment"  # in place of a layer's name


def build(task, dtype, device):
    """See ``suites/interface.py``."""
    return Trainer(
        task, dtype, device, Stack(dtype), kernel="loop over time, packed by time, in segments made again"
    )
