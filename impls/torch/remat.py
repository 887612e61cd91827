"""The tuned PyTorch for long sequences: what the way back reads is made again, not kept (rematerialisation).

Time is cut into segments of about sqrt(T) steps. Of each only the state that it meets is kept; its gates are
made a second time when the way back comes to it. What a layer keeps besides its inputs and every h then
grows with sqrt(T), for one more pass forward (Chen et al. 2016, arXiv:1604.06174).

``torch.utils.checkpoint`` does not serve: its one form refuses ``torch.autograd.grad``, its other one looks
after saved tensors alone, and a layer of ``loops.py`` has buffers of its own.
"""

import math
from functools import partial

import torch

from suites.interface import Implementation
from suites.spec import Task

from . import tuned
from .packing import Packing, whole
from .tuned import Tokens


class Segment(torch.autograd.Function):
    """``run`` of its inputs, run again on the way back."""

    @staticmethod
    def forward(ctx, run, *inputs):
        ctx.run = run
        ctx.save_for_backward(*inputs)
        return run(*inputs)

    @staticmethod
    def backward(ctx, *grads):
        asked = ctx.needs_input_grad[1:]
        inputs = [
            part.detach().requires_grad_(is_asked)
            for part, is_asked in zip(ctx.saved_tensors, asked, strict=True)
        ]
        with torch.enable_grad():
            outputs = ctx.run(*inputs)
        found = iter(torch.autograd.grad(outputs, [part for part in inputs if part.requires_grad], grads))
        return None, *(next(found) if is_asked else None for is_asked in asked)


class FusedSegment(Segment):
    """Of oneDNN's layer: a graph shows the name, and no more (``path``)."""


def in_segments(run, xs, first, p, packing):
    """``tuned.at_once``, a segment of K steps after the other."""
    K, names, state, every_h = math.isqrt(packing.shape[1]), list(p), first, []
    made_again = FusedSegment if run is tuned.by_onednn else Segment
    for rows, part in segments(packing, K):
        n = part.shape[0]

        def layer(inputs, *rest, rows=rows, part=part):
            if isinstance(xs, Tokens):
                inputs = Tokens(xs.tokens[rows], inputs)
            own = dict(zip(names, rest, strict=False))
            hs, last = run(inputs, rest[len(names) :], own, part)
            return hs, *last

        inputs = xs.table if isinstance(xs, Tokens) else xs[rows]
        hs, *last = made_again.apply(layer, inputs, *p.values(), *(before[:n] for before in state))
        every_h.append(hs)
        # sequences that have ended keep their final state
        state = tuple(torch.cat([new, before[n:]]) for new, before in zip(last, state, strict=True))
    return torch.cat(every_h), state


def segments(packing, K):
    """The rows of each K steps, and their packing: of the n sequences that get so far."""
    T, start = packing.shape[1], 0
    for t in range(0, T, K):
        sizes = torch.tensor(packing.sizes[t : t + K])
        n, stop = int(sizes[0]), start + int(sizes.sum())
        if n == 0:
            return
        device = packing.take.device
        if packing.whole:
            yield slice(start, stop), whole(n, len(sizes), device)
        else:
            lengths = (torch.arange(n)[:, None] < sizes).sum(dim=1)
            yield slice(start, stop), Packing(lengths, n, len(sizes), device)
        start = stop


stack = partial(tuned.stack, over=in_segments)


class Network(tuned.Network):
    """The model of ``tuned.py``, its layers in segments; decoding keeps nothing anyway."""

    kernel = "loop over time, packed by time, in segments made again"
    encode = staticmethod(partial(tuned.encode, stack=stack))
    decode = staticmethod(partial(tuned.decode, stack=stack))


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return tuned.build(task, dtype, device, Network)
