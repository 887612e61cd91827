"""The fastest NumPy that we could write, with the same backward pass by hand.

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- States stand upright: h [H, n], gates [G*H, n]. A gate is then a run of memory and not a strided slice of
  each row, for which NumPy starts its inner loop anew: 5 us in place of 1.2 for 32 x 128 numbers.
- Sequences lie sorted by length and packed by time (``packing.py``): padding costs nothing, and each product
  with the inputs, or for a weight's gradient, is one large product over all N valid steps.
- Rows of a small embedding are multiplied by W_xh once, and looked up then (``products.py``).
- s(a) = (1 + tanh(a/2)) / 2: with the rows of the sigmoid gates halved (exactly), one ``tanh`` serves all
  gates, which lie so that those treated alike are side by side.
- Buffers are taken once and used again; parameters, gradients and moments are one array each.
"""

from functools import partial

import numpy as np

from .in_place import Trainer
from .loops import CELLS
from .packing import Buffers, Packing
from .products import Tokens, read, read_backward
from .scratch import directions, layer

# the order in which gates lie here, of the input's part and of the state's, and which are sigmoids there
GATES = {
    "rnn": ((0,), (0,), (), ()),
    "lstm": ((3, 0, 1, 2), (3, 0, 1, 2), (0, 1, 2), (0, 1, 2)),
    "gru": ((2, 0, 1), (0, 1, 2), (1, 2), (0, 1)),
    "gru_reset_before": ((0, 1, 2), (0, 1, 2), (0, 1), (0, 1)),
}


# buffers that every layer uses, for what is read before the next one writes
SHARED = ("product", "room", "looked_up", "da", "met", "reset")


def reordered(xs, order):
    """[N, I], or tokens [N], in another order."""
    return xs.at(order) if isinstance(xs, Tokens) else xs[order]


def ordered(w, order):
    """W [., G*H] or b [G*H], its gates in this order."""
    gates = w.reshape(*w.shape[:-1], len(order), -1)
    return gates[..., list(order), :].reshape(w.shape)


def arranged(p, cell):
    """The parameters of a layer as its cell here wants them: upright, and those of sigmoids halved."""
    of_x, of_h, sigmoid_x, sigmoid_h = GATES[cell]

    def half(w, order, sigmoids):
        scaled = w.reshape(*w.shape[:-1], len(order), -1).copy()
        scaled[..., list(sigmoids), :] *= 0.5
        return scaled.reshape(w.shape).T

    W_xh, W_hh, b_h = ordered(p["W_xh"], of_x), ordered(p["W_hh"], of_h), ordered(p["b_h"], of_x)
    made = {
        "W_xh": half(W_xh, of_x, sigmoid_x),
        "b_h": half(b_h, of_x, sigmoid_x)[:, None],
        "W_hh": half(W_hh, of_h, sigmoid_h),
        "W_xh_T": W_xh,
        "W_hh_T": W_hh,
    }
    if cell == "gru":
        made["b_hn"] = p["b_hn"][:, None]
    if cell == "gru_reset_before":
        H = len(W_hh)
        made["W_hrz"], made["W_hn"] = made["W_hh"][: 2 * H], made["W_hh"][2 * H :]
        made["W_hrz_T"], made["W_hn_T"] = W_hh[:, : 2 * H], W_hh[:, 2 * H :]
    return made


# --- the stack of layers, its name "encoder" or "decoder"


class Stack:
    """``stack`` and ``stack_backward`` of ``scratch.py``, with buffers and weights that are used again."""

    tables = True  # whether small embeddings are looked up once they are multiplied

    def __init__(self, dtype):
        self.buffers, self.kept, self.packings = Buffers(dtype), {}, {}
        self.dinputs = True  # whether the gradient of features is asked for

    def forget(self):
        """The parameters have changed."""
        self.kept.clear()

    def forward(self, params, name, xs, state, valid, masks, model):
        """Every h of the top layer [B, T, D*H], the final state of each layer, and the caches."""
        packing = self._packing(valid, *xs.shape[:2])
        xs = xs.at(packing.take) if isinstance(xs, Tokens) else packing.pack(xs)
        final: dict = {}
        caches = {name: packing}
        for k in range(model.layers):
            if k > 0 and masks is not None:
                xs = xs * packing.pack(masks[k - 1]) / (1 - model.dropout)
            both = []
            for direction in directions(name, model):
                at = f"{name}.{k}.{direction}"
                given = reordered(xs, packing.reverse) if direction == "bwd" else xs
                p = self._parameters(params, at, model)
                first = tuple(packing.sorted(part) for part in state[at])
                hs, last, cache = self._layer(at, model.cell, given, first, p, packing)
                caches[at] = (given, first, cache)
                final[at] = tuple(packing.unsorted(part) for part in last)
                both.append(hs[packing.reverse] if direction == "bwd" else hs)
            xs = np.concatenate(both, axis=1) if len(both) > 1 else both[0]  # [N, D*H]
        return packing.unpack(xs), final, caches

    def backward(self, params, name, dhs, dfinal, caches, valid, masks, model):
        """Gradients of the parameters, of the stack's input [B, T, I] or its table, of each initial state."""
        of_x, of_h, *_ = GATES[model.cell]
        packing = caches[name]
        grads: dict = {}
        dstate: dict = {}
        dhs = packing.pack(dhs)  # [N, D*H]
        for k in reversed(range(model.layers)):
            wanted = k > 0 or model.inputs == "tokens" or name == "decoder" or self.dinputs
            dxs = []
            both = np.split(dhs, len(directions(name, model)), axis=1)
            for direction, dh in zip(directions(name, model), both, strict=True):
                at = f"{name}.{k}.{direction}"
                p, (given, first, cache) = self._parameters(params, at, model), caches[at]
                dh = dh[packing.reverse] if direction == "bwd" else dh
                dlast = tuple(packing.sorted(part) for part in dfinal[at])
                given_back = self._layer_back(
                    at, model.cell, dh, dlast, given, first, cache, p, packing, wanted
                )
                dx, d, dfirst = given_back
                d |= {key: ordered(d[key], np.argsort(of_x)) for key in ("W_xh", "b_h")}
                d["W_hh"] = ordered(d["W_hh"], np.argsort(of_h))
                grads |= {f"{at}.{key}": value for key, value in d.items()}
                dstate[at] = tuple(packing.unsorted(part) for part in dfirst)
                table = isinstance(given, Tokens)
                if wanted:
                    dxs.append(dx[packing.reverse] if direction == "bwd" and not table else dx)
            if wanted:
                dhs = sum(dxs[1:], start=dxs[0])
            if k > 0 and masks is not None:
                dhs = dhs * packing.pack(masks[k - 1]) / (1 - model.dropout)
        dinputs = dhs if table else packing.unpack(dhs) if wanted else None
        return grads, dinputs, {at: dstate[at] for at in dfinal}

    def _layer(self, at, name, xs, first, p, packing):
        """One layer in one direction: every h [N, H], the parts of its final state [H, B], and a cache."""
        cell, _ = CELLS[name]
        take = partial(self._take, at)
        states, cache = cell(read(xs, p, packing, take), first, p, packing, take)
        hs = packing.rows(states[0], take("rows", len(packing.take), len(first[0])))
        return hs, [packing.final(part) for part in states], (states, cache, hs)

    def _layer_back(self, at, name, dhs, dlast, xs, first, cache, p, packing, wanted):
        """Gradients of its inputs or their table, where ``wanted``, of its parameters, of its first state."""
        (_, cell_backward), (states, kept, hs) = CELLS[name], cache
        take = partial(self._take, at)
        met = packing.before(first[0], hs, take("met", *hs.shape))
        da, d, dfirst = cell_backward(dhs, dlast, first, states, kept, met, p, packing, take)
        of_inputs, dx = read_backward(da, xs, p, wanted)
        return dx, d | of_inputs, dfirst

    def _parameters(self, params, at, model):
        if at not in self.kept:
            self.kept[at] = arranged(layer(params, at), model.cell)
        return self.kept[at]

    def _packing(self, valid, B, T):
        if valid is not None:
            return Packing(valid, B, T)
        if (B, T) not in self.packings:
            self.packings[B, T] = Packing(None, B, T)
        return self.packings[B, T]

    def _take(self, at, name, *shape):
        return self.buffers(name if name in SHARED else f"{at}.{name}", *shape)


def build(task, dtype, device):
    """See ``suites/interface.py``."""
    return Trainer(task, dtype, device, Stack(dtype))
