"""Sequences sorted by length and packed by time, and buffers that are used again: of ``tuned.py``."""

import numpy as np

CHUNK = 2**16  # numbers: 256 KiB of float32, of which several must fit in a core's L2


class Buffers:
    """Arrays by name, taken anew only where the shape changed."""

    def __init__(self, dtype):
        self.dtype, self.arrays = dtype, {}

    def __call__(self, name, *shape):
        if name not in self.arrays or self.arrays[name].shape != shape:
            self.arrays[name] = np.empty(shape, self.dtype)
        return self.arrays[name]


class Packing:
    """Row (t, b) of [N, .] is step t of the b-th longest sequence; ``valid`` [B, T], or None for all."""

    def __init__(self, valid, B, T):
        valid = np.ones((B, T), bool) if valid is None else valid
        lengths = valid.sum(axis=1)
        self.shape, self.rows = (B, T), np.argsort(-lengths, kind="stable")
        lengths = lengths[self.rows]
        steps, sequences = np.nonzero(np.arange(T)[:, None] < lengths)  # by t, then by b
        sizes = np.bincount(steps)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.take = self.rows[sequences] * T + steps  # [N], where each row is in [B * T, .]
        self.blocks = [(int(start), int(n)) for start, n in zip(starts, sizes, strict=False)]
        self.last = starts[lengths - 1] + np.arange(B)  # [B], the row of each sequence's last step
        # the same sequences from their ends: an order that is its own inverse
        self.reverse = starts[lengths[sequences] - 1 - steps] + sequences

    def pack(self, xs):
        """[N, I] of [B, T, I]."""
        return xs.reshape(-1, xs.shape[-1])[self.take]

    def unpack(self, packed):
        """[B, T, H] of [N, H], zero in padding."""
        hs = np.zeros((*self.shape, packed.shape[-1]), packed.dtype)
        hs.reshape(-1, packed.shape[-1])[self.take] = packed
        return hs

    def before(self, first, hs):
        """[N, H]: the state that each step met; first [B, H] is sorted."""
        ends = zip(self.blocks, self.blocks[1:], strict=False)
        return np.concatenate([first, *(hs[start : start + n] for (start, _), (_, n) in ends)])

    def chunks(self, width):
        """Slices of so many steps that their rows hold about CHUNK numbers, the last steps first."""
        end = len(self.blocks)
        while end > 0:
            first = max(0, end - max(1, CHUNK // (self.blocks[end - 1][1] * width)))
            (low, _), (start, n) = self.blocks[first], self.blocks[end - 1]
            yield slice(low, start + n), self.blocks[first:end]
            end = first

    def unsorted(self, sorted_rows):
        """[B, .] in the batch's own order."""
        rows = np.empty_like(sorted_rows)
        rows[self.rows] = sorted_rows
        return rows
