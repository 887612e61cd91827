"""Sequences sorted by length and packed by time: of ``tuned.py``."""

from functools import lru_cache

import torch


class Packing:
    """Row (t, b) of [N, .] is step t of the b-th longest sequence; ``lengths`` [B] on the CPU, or None.

    Block t holds the rows of one step: n of them, for as many sequences are that long.
    """

    def __init__(self, lengths, B, T, device):
        self.shape, self.whole = (B, T), lengths is None
        lengths = torch.full((B,), T) if self.whole else lengths
        lengths, order = torch.sort(lengths, descending=True, stable=True)
        steps, sequences = (torch.arange(T)[:, None] < lengths).nonzero().unbind(dim=1)  # by t, then by b
        counts = steps.bincount(minlength=T)
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.sizes = counts.tolist()

        def there(index):
            return index.to(device, non_blocking=True)

        self.order, self.back = there(order), there(order.argsort())
        self.take = there(order[sequences] * T + steps)  # [N], where each row is in [B * T, .]
        self.put = there(steps * B + order[sequences])  # [N], the same in [T * B, .]
        self.last = there(starts[lengths - 1] + torch.arange(B))  # [B], the row of each sequence's last step
        # the same sequences from their ends: an order that is its own inverse
        self.reverse = there(starts[lengths[sequences] - 1 - steps] + sequences)
        # where the state that each step met is in [B + N, .]: the first state, then every new one
        self.met = there(torch.where(steps > 0, B + starts[steps - 1] + sequences, sequences))

    def pack(self, xs):
        """[N, ...] of [B, T, ...]."""
        if self.whole:
            return xs.transpose(0, 1).flatten(0, 1)
        return xs.flatten(0, 1).index_select(0, self.take)

    def unpack(self, rows):
        """[B, T, H] of [N, H], zero in padding; it lies in memory as [T, B, H]."""
        B, T = self.shape
        if not self.whole:
            rows = rows.new_zeros(T * B, rows.shape[1]).index_copy(0, self.put, rows)
        return rows.view(T, B, -1).transpose(0, 1)

    def reversed(self, rows):
        """Every sequence from its end."""
        return Reordered.apply(rows, self.reverse, self.reverse)

    def sorted(self, state):
        """A state [B, H], the longest sequence first."""
        return state if self.whole else Reordered.apply(state, self.order, self.back)

    def unsorted(self, state):
        """A state [B, H] in the batch's own order."""
        return state if self.whole else Reordered.apply(state, self.back, self.order)

    def split(self, rows):
        """The blocks [n, .] of [N, .]."""
        return torch.split_with_sizes(rows, self.sizes)

    def room(self, first):
        """[B + N, H]: a first state, and room for that of each step."""
        room = first.new_empty(len(first) + len(self.take), first.shape[1])
        room[: len(first)] = first
        return room

    def before(self, room):
        """[N, H]: the state that each step met."""
        return room[: len(self.take)] if self.whole else room.index_select(0, self.met)

    def met_blocks(self, first, blocks):
        """The blocks of the states that each step met: the one before, of as many sequences as go on."""
        met = zip((first, *blocks), (len(first), *self.sizes), self.sizes, strict=False)
        return [state if before == n else state[:n] for state, before, n in met]


class Reordered(torch.autograd.Function):
    """Rows in another order; autograd of an index would add up, row by row, what only changes its place."""

    @staticmethod
    def forward(ctx, rows, order, back):
        ctx.back = back
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx, drows):
        return drows.index_select(0, ctx.back), None, None


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # kept for training, too
def whole(B, T, device):
    """The packing of sequences that are all of one length."""
    return Packing(None, B, T, device)
