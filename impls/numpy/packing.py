"""Sequences sorted by length and packed by time, and buffers that are used again: of ``tuned.py``."""

import numpy as np


class Buffers:
    """Arrays by name, taken anew only where the shape changed."""

    def __init__(self, dtype):
        self.dtype, self.arrays = dtype, {}

    def __call__(self, name, *shape):
        if name not in self.arrays or self.arrays[name].shape != shape:
            self.arrays[name] = np.empty(shape, self.dtype)
        return self.arrays[name]


class Packing:
    """Row (t, b) of [N, .] is step t of the b-th longest sequence; ``valid`` [B, T], or None for all.

    Upright, in [., N], it is a column. Block t holds the columns of one step: n of them, for as many
    sequences are that long.
    """

    def __init__(self, valid, B, T):
        valid = np.ones((B, T), bool) if valid is None else valid
        lengths = valid.sum(axis=1)
        self.shape, self.order = (B, T), np.argsort(-lengths, kind="stable")
        lengths = lengths[self.order]
        steps, sequences = np.nonzero(np.arange(T)[:, None] < lengths)  # by t, then by b
        self.sizes = np.bincount(steps).tolist()
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.starts = starts.tolist()
        self.take = self.order[sequences] * T + steps  # [N], where each row is in [B * T, .]
        # the same sequences from their ends: an order that is its own inverse
        self.reverse = starts[lengths[sequences] - 1 - steps] + sequences

    def pack(self, xs):
        """[N, I] of [B, T, I]."""
        return xs.reshape(-1, xs.shape[-1])[self.take]

    def unpack(self, rows):
        """[B, T, H] of [N, H], zero in padding."""
        hs = np.zeros((*self.shape, rows.shape[1]), rows.dtype)
        hs.reshape(-1, rows.shape[1])[self.take] = rows
        return hs

    def sorted(self, state):
        """[H, B], the longest sequence first, of a state [B, H]; a copy."""
        return np.ascontiguousarray(state[self.order].T)

    def unsorted(self, columns):
        """[B, H] in the batch's own order."""
        state = np.empty((len(self.order), len(columns)), columns.dtype)
        state[self.order] = columns.T
        return state

    def columns(self, array):
        """The blocks [., n] of [., N], or [n] of [N]: views, a stride apart."""
        return [array[..., start : start + n] for start, n in zip(self.starts, self.sizes, strict=False)]

    def blocks(self, memory, width):
        """Blocks [width, n] that lie one after the other, each whole, in one array of width * N numbers."""
        ends = zip(self.starts, self.sizes, strict=False)
        return [memory[width * start : width * (start + n)].reshape(width, n) for start, n in ends]

    def rows(self, blocks, out):
        """[N, H] of blocks [H, n]: turned one by one, each of which a cache holds, and not all at once."""
        for start, block in zip(self.starts, blocks, strict=False):
            out[start : start + block.shape[1]] = block.T
        return out

    def final(self, blocks):
        """[H, B]: the column of each sequence's last step, the longest sequence first."""
        ends = zip(blocks, self.sizes, [*self.sizes[1:], 0], strict=True)
        last = [block[:, after:] for block, n, after in ends if n > after]
        return np.concatenate(last[::-1], axis=1)

    def before(self, first, rows, out):
        """[N, H]: the state that each step met, of the first [H, B], sorted, and every state [N, H]."""
        met = zip(self.starts, self.sizes[1:], strict=False)
        return np.concatenate([first.T, *(rows[start : start + n] for start, n in met)], out=out)
