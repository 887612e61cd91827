"""The fastest NumPy that we could write, with the same backward pass by hand.

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- Sequences lie sorted by length and packed by time: row (t, b) of one array [N, .], N the valid
  steps of all. A step reads and writes whole blocks of it, padding costs nothing, and each
  product with an input or of a weight's gradient is one large product over all N rows.
- s(a) = (1 + tanh(a/2)) / 2: with the columns of the sigmoid gates halved (exactly), one ``tanh``
  serves all gates. Gates lie so that those treated alike are side by side.
- In the backward pass every factor that does not depend on the gradient is computed for many
  steps at once, CHUNK numbers at a time, so that it stays in the cache; a step then is a product and a few
  multiplications.
- Buffers are taken once and used again; parameters, gradients and moments are one array each.
"""

from functools import partial

import numpy as np

from .in_place import Trainer
from .packing import Buffers, Packing
from .scratch import directions, layer

# --- cells. ``a`` [N, G*H] is the input's part with b_h, in the order of GATES, the columns of sigmoid
#     gates halved; W_hh in that order too. Forward: every h [N, H] and what the way back needs.
#     Backward: da [N, G*H], the gradient of a (before halving), and of the first state [B, H].


def rnn(a, first, p, packing, take):
    """h_t = tanh(a_t + h_{t-1} W_hh)."""
    hs, (h,) = a, first
    for start, n in packing.blocks:
        new = hs[start : start + n]
        new += np.matmul(h[:n], p["W_hh"], out=take("product", *new.shape))
        h = np.tanh(new, out=new)
    return (hs,), ()


def rnn_backward(dhs, dfinal, first, states, cache, p, packing, take):
    (hs,), (dh,) = states, dfinal
    da = take("da", *hs.shape)
    for rows, blocks in packing.chunks(hs.shape[1]):
        np.multiply(hs[rows], hs[rows], out=da[rows])
        np.subtract(1, da[rows], out=da[rows])
        for start, n in reversed(blocks):
            at = slice(start, start + n)
            dh[:n] += dhs[at]
            da[at] *= dh[:n]
            np.matmul(da[at], p["W_hh"].T, out=dh[:n])
    return da, {"W_hh": packing.before(first[0], hs).T @ da}, (dh,)


def lstm(a, first, p, packing, take):
    """Gates o i f g: the sigmoids are side by side, and so are those that c passes through."""
    (N, width), (h, c) = a.shape, first
    H = width // 4
    hs, cs, tanh_cs = (take(name, N, H) for name in ("hs", "cs", "tanh_cs"))
    for start, n in packing.blocks:
        at = slice(start, start + n)
        gates = a[at]
        gates += np.matmul(h[:n], p["W_hh"], out=take("product", n, width))
        np.tanh(gates, out=gates)
        halved(gates[:, : 3 * H])
        o, i, f, g = (gates[:, k * H : (k + 1) * H] for k in range(4))
        c = np.multiply(f, c[:n], out=cs[at])
        c += np.multiply(i, g, out=take("part", n, H))
        h = np.multiply(o, np.tanh(c, out=tanh_cs[at]), out=hs[at])
    return (hs, cs), (a, tanh_cs)


def lstm_backward(dhs, dfinal, first, states, cache, p, packing, take):
    (hs, cs), (gates, tanh_cs), (dh, dc) = states, cache, dfinal
    N, H = hs.shape
    da, through = take("da", N, 4 * H), take("through", N, H)
    met = packing.before(first[1], cs)
    for rows, blocks in packing.chunks(4 * H):
        o, i, _, g = (gates[rows, k * H : (k + 1) * H] for k in range(4))
        np.multiply(tanh_cs[rows], tanh_cs[rows], out=through[rows])
        np.subtract(1, through[rows], out=through[rows])
        through[rows] *= o  # d h / d c
        slopes(gates[rows, : 3 * H], da[rows, : 3 * H])
        for k, factor in enumerate((tanh_cs[rows], g, met[rows])):
            da[rows, k * H : (k + 1) * H] *= factor
        d_g = np.multiply(g, g, out=da[rows, 3 * H :])
        np.subtract(1, d_g, out=d_g)
        d_g *= i
        for start, n in reversed(blocks):
            at = slice(start, start + n)
            dh[:n] += dhs[at]
            dc[:n] += np.multiply(dh[:n], through[at], out=take("part", n, H))
            da[at, :H] *= dh[:n]
            da[at, H:].reshape(n, 3, H)[...] *= dc[:n, None]
            dc[:n] *= gates[at, 2 * H : 3 * H]
            np.matmul(da[at], p["W_hh_T"], out=dh[:n])
    return da, {"W_hh": packing.before(first[0], hs).T @ da}, (dh, dc)


def gru(a, first, p, packing, take):
    """Gates n r z of the input, r z n of the state: what the way back needs of both is n r z (h W_hn)."""
    (N, width), (h,) = a.shape, first
    H = width // 3
    hs, qs, beyond = (take(name, N, H) for name in ("hs", "qs", "beyond"))
    for start, n in packing.blocks:
        at = slice(start, start + n)
        product = np.matmul(h[:n], p["W_hh"], out=take("product", n, width))
        r_z = a[at, H:]
        r_z += product[:, : 2 * H]
        halved(np.tanh(r_z, out=r_z))
        q = np.add(product[:, 2 * H :], p["b_hn"], out=qs[at])
        n_t = a[at, :H]
        n_t += np.multiply(r_z[:, :H], q, out=take("part", n, H))
        np.tanh(n_t, out=n_t)
        h = gated(h[:n], n_t, r_z[:, H:], beyond[at], hs[at])
    return (hs,), (a, qs, beyond)


def gru_backward(dhs, dfinal, first, states, cache, p, packing, take):
    (hs,), (gates, qs, beyond), (dh,) = states, cache, dfinal
    N, H = hs.shape
    da = take("da", N, 4 * H)  # n r z, and of h W_hn
    for rows, blocks in packing.chunks(4 * H):
        n_t, r, z = (gates[rows, k * H : (k + 1) * H] for k in range(3))
        d_n, d_r, d_z, d_q = (da[rows, k * H : (k + 1) * H] for k in range(4))
        candidate_slope(n_t, z, d_n)
        slopes(gates[rows, H:], da[rows, H : 3 * H])
        d_z *= beyond[rows]
        np.multiply(d_n, r, out=d_q)
        d_r *= d_n
        d_r *= qs[rows]
        for start, n in reversed(blocks):
            at = slice(start, start + n)
            dh[:n] += dhs[at]
            da[at].reshape(n, 4, H)[...] *= dh[:n, None]
            dh[:n] *= gates[at, 2 * H :]
            dh[:n] += np.matmul(da[at, H:], p["W_hh_T"], out=take("part", n, H))
    met = packing.before(first[0], hs)
    return da[:, : 3 * H], {"W_hh": met.T @ da[:, H:], "b_hn": da[:, 3 * H :].sum(axis=0)}, (dh,)


def gru_reset_before(a, first, p, packing, take):
    """Gates r z n; W_hh in two, for r must be known before r h is multiplied."""
    (N, width), (h,) = a.shape, first
    H = width // 3
    hs, resets, beyond = (take(name, N, H) for name in ("hs", "resets", "beyond"))
    for start, n in packing.blocks:
        at = slice(start, start + n)
        r_z = a[at, : 2 * H]
        r_z += np.matmul(h[:n], p["W_hrz"], out=take("product", n, 2 * H))
        halved(np.tanh(r_z, out=r_z))
        reset = np.multiply(r_z[:, :H], h[:n], out=resets[at])
        n_t = a[at, 2 * H :]
        n_t += np.matmul(reset, p["W_hn"], out=take("part", n, H))
        np.tanh(n_t, out=n_t)
        h = gated(h[:n], n_t, r_z[:, H:], beyond[at], hs[at])
    return (hs,), (a, resets, beyond)


def gru_reset_before_backward(dhs, dfinal, first, states, cache, p, packing, take):
    (hs,), (gates, resets, beyond), (dh,) = states, cache, dfinal
    N, H = hs.shape
    da, met = take("da", N, 3 * H), packing.before(first[0], hs)
    for rows, blocks in packing.chunks(3 * H):
        _, z, n_t = (gates[rows, k * H : (k + 1) * H] for k in range(3))
        slopes(gates[rows, : 2 * H], da[rows, : 2 * H])
        da[rows, :H] *= met[rows]
        da[rows, H : 2 * H] *= beyond[rows]
        candidate_slope(n_t, z, da[rows, 2 * H :])
        for start, n in reversed(blocks):
            at = slice(start, start + n)
            dh[:n] += dhs[at]
            da[at, H:].reshape(n, 2, H)[...] *= dh[:n, None]
            dreset = np.matmul(da[at, 2 * H :], p["W_hn_T"], out=take("part", n, H))
            da[at, :H] *= dreset
            dreset *= gates[at, :H]
            dh[:n] *= gates[at, H : 2 * H]
            dh[:n] += dreset
            dh[:n] += np.matmul(da[at, : 2 * H], p["W_hrz_T"], out=take("part", n, H))
    return da, {"W_hh": np.concatenate([met.T @ da[:, : 2 * H], resets.T @ da[:, 2 * H :]], axis=1)}, (dh,)


def halved(tanh):
    """s(a) of tanh(a/2), in place."""
    tanh *= 0.5
    tanh += 0.5


def slopes(s, out):
    """s (1 - s)."""
    np.multiply(s, s, out=out)
    np.subtract(s, out, out=out)


def gated(h, n, z, beyond, out):
    """(1 - z) n + z h = n + z (h - n); ``beyond`` keeps h - n."""
    np.subtract(h, n, out=beyond)
    np.multiply(z, beyond, out=out)
    out += n
    return out


def candidate_slope(n, z, out):
    """(1 - z) (1 - n^2)."""
    np.multiply(n, n, out=out)
    np.subtract(1, out, out=out)
    out -= out * z


CELLS = {
    "rnn": (rnn, rnn_backward),
    "lstm": (lstm, lstm_backward),
    "gru": (gru, gru_backward),
    "gru_reset_before": (gru_reset_before, gru_reset_before_backward),
}

# the order in which gates lie here, of the input's part and of the state's, and which are sigmoids there
GATES = {
    "rnn": ((0,), (0,), (), ()),
    "lstm": ((3, 0, 1, 2), (3, 0, 1, 2), (0, 1, 2), (0, 1, 2)),
    "gru": ((2, 0, 1), (0, 1, 2), (1, 2), (0, 1)),
    "gru_reset_before": ((0, 1, 2), (0, 1, 2), (0, 1), (0, 1)),
}


def in_order(w, order):
    """The gates of W [., G*H] or b [G*H] in this order."""
    blocks = w.reshape(*w.shape[:-1], len(order), -1)
    return blocks[..., order, :].reshape(w.shape)


def canonical(w, order):
    """Back from it."""
    return in_order(w, np.argsort(order))


def arranged(p, cell):
    """The parameters of a layer as its cell here wants them."""
    of_x, of_h, sigmoid_x, sigmoid_h = GATES[cell]

    def half(w, order, sigmoids):
        scaled = w.reshape(*w.shape[:-1], len(order), -1).copy()
        scaled[..., sigmoids, :] *= 0.5
        return scaled.reshape(w.shape)

    W_xh, W_hh = in_order(p["W_xh"], of_x), in_order(p["W_hh"], of_h)
    made = {
        "W_xh": half(W_xh, of_x, sigmoid_x),
        "b_h": half(in_order(p["b_h"], of_x), of_x, sigmoid_x),
        "W_hh": half(W_hh, of_h, sigmoid_h),
        "W_xh_T": W_xh.T,
        "W_hh_T": W_hh.T,
    }
    if cell == "gru":
        made["b_hn"] = p["b_hn"]
    if cell == "gru_reset_before":
        H = len(W_hh)
        made["W_hrz"], made["W_hn"] = (np.ascontiguousarray(w) for w in np.split(made["W_hh"], [2 * H], 1))
        made["W_hrz_T"], made["W_hn_T"] = (w.T for w in np.split(W_hh, [2 * H], 1))
    return made


# --- the stack of layers, its name "encoder" or "decoder"


class Stack:
    """``stack`` and ``stack_backward`` of ``scratch.py``, with buffers and weights that are used again."""

    def __init__(self, dtype):
        self.buffers, self.kept, self.packings = Buffers(dtype), {}, {}
        self.dinputs = True  # whether the gradient of features is asked for

    def forget(self):
        """The parameters have changed."""
        self.kept.clear()

    def parameters(self, params, at, model):
        if at not in self.kept:
            self.kept[at] = arranged(layer(params, at), model.cell)
        return self.kept[at]

    def packing(self, valid, B, T):
        if valid is not None:
            return Packing(valid, B, T)
        if (B, T) not in self.packings:
            self.packings[B, T] = Packing(None, B, T)
        return self.packings[B, T]

    def forward(self, params, name, xs, state, valid, masks, model):
        """Every h of the top layer [B, T, D*H], the final state of each layer, and the caches."""
        cell, _ = CELLS[model.cell]
        packing = self.packing(valid, *xs.shape[:2])
        xs, final, caches = packing.pack(xs), {}, {name: packing}
        for k in range(model.layers):
            if k > 0 and masks is not None:
                xs = xs * packing.pack(masks[k - 1]) / (1 - model.dropout)
            both = []
            for direction in directions(name, model):
                at = f"{name}.{k}.{direction}"
                p, take = self.parameters(params, at, model), partial(self._take, at)
                given = xs[packing.reverse] if direction == "bwd" else xs
                a = np.matmul(given, p["W_xh"], out=take("a", len(given), p["W_xh"].shape[1]))
                a += p["b_h"]
                first = tuple(part[packing.rows] for part in state[at])
                states, cache = cell(a, first, p, packing, take)
                final[at] = tuple(packing.unsorted(part[packing.last]) for part in states)
                caches[at] = (given, first, states, cache)
                both.append(states[0][packing.reverse] if direction == "bwd" else states[0])
            xs = np.concatenate(both, axis=1) if len(both) > 1 else both[0]  # [N, D*H]
        return packing.unpack(xs), final, caches

    def backward(self, params, name, dhs, dfinal, caches, valid, masks, model):
        """Gradients of the parameters, of the stack's input [B, T, I], of each initial state."""
        _, cell_backward = CELLS[model.cell]
        of_x, of_h, *_ = GATES[model.cell]
        packing = caches[name]
        grads: dict = {}
        dstate: dict = {}
        dhs = packing.pack(dhs)
        for k in reversed(range(model.layers)):
            wanted = k > 0 or model.inputs == "tokens" or name == "decoder" or self.dinputs
            dxs = []
            both = np.split(dhs, len(directions(name, model)), axis=1)
            for direction, dh in zip(directions(name, model), both, strict=True):
                at = f"{name}.{k}.{direction}"
                p, (given, first, states, cache) = self.parameters(params, at, model), caches[at]
                dh = dh[packing.reverse] if direction == "bwd" else dh
                dlast = tuple(part[packing.rows] for part in dfinal[at])
                da, d, dfirst = cell_backward(
                    dh, dlast, first, states, cache, p, packing, partial(self._take, at)
                )
                d["W_hh"] = canonical(d["W_hh"], of_h)
                d["W_xh"] = canonical(given.T @ da, of_x)
                d["b_h"] = canonical(da.sum(axis=0), of_x)
                grads |= {f"{at}.{key}": value for key, value in d.items()}
                dstate[at] = tuple(packing.unsorted(part) for part in dfirst)
                if wanted:
                    dx = da @ p["W_xh_T"]
                    dxs.append(dx[packing.reverse] if direction == "bwd" else dx)
            if wanted:
                dhs = sum(dxs[1:], start=dxs[0])
            if k > 0 and masks is not None:
                dhs = dhs * packing.pack(masks[k - 1]) / (1 - model.dropout)
        return grads, packing.unpack(dhs) if wanted else None, {at: dstate[at] for at in dfinal}

    def _take(self, at, name, *shape):
        return self.buffers(name if name in ("product", "part") else f"{at}.{name}", *shape)


def build(task, dtype, device):
    """See ``suites/interface.py``."""
    return Trainer(task, dtype, device, Stack(dtype))
