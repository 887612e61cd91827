"""Layers of ``tuned.py`` as a loop over time with the backward pass by hand.

``a`` [N, G*H] is the input's part with b_h, packed by time (``packing.py``); W_hh [G*H, H]. A cell takes its
buffers, and views of them a step at a time, when it is made; the gates are written over ``a``.

Backward, in two parts. d loss / d a is a gradient of the state times a factor that hangs on the forward
pass alone: these factors are made for all steps at once, where da is to be, in a few large operations. What
is left for the loop is two to five small operations and the product with W_hh.

What ``tanh`` reads lies whole: of columns it makes a call of MKL's for each row (``TUNED.md``).
"""

import torch
from torch import sigmoid_, tanh_
from torch.ops import aten

sigmoid_backward = aten.sigmoid_backward.grad_input  # (dy, y): dy y (1 - y)
tanh_backward = aten.tanh_backward.grad_input  # (dy, y): dy (1 - y^2)


class Cell:
    """One layer in one direction. ``first``: the parts of its first state [B, H], sorted."""

    def __init__(self, a, first, packing):
        self.a, self.packing, self.first = a, packing, first
        self.B, self.H = first[0].shape
        self.rooms = [packing.room(part) for part in first]
        self.take()

    def take(self):
        """Buffers, and views of them a step at a time."""
        raise NotImplementedError

    def forward(self, p):
        """Every state, from ``a`` and the first."""
        raise NotImplementedError

    def states(self):
        """Every h [N, H], and so on."""
        return [room[self.B :] for room in self.rooms]

    def final(self):
        """The final state, sorted."""
        return [states.index_select(0, self.packing.last) for states in self.states()]

    def blocks(self, *arrays):
        """Views of all arrays, a step at a time; and of the states that each step met, and made."""
        new = [self.packing.split(states) for states in self.states()]
        met = map(self.packing.met_blocks, (room[: self.B] for room in self.rooms), new)
        return list(zip(*map(self.packing.split, arrays), *met, *new, strict=True))

    def blocks_back(self, d, *arrays):
        """The same from the last to the first, with the gradients of the states that were met, and made."""
        new = self.packing.split(d[self.B :])
        views = (*map(self.packing.split, arrays), self.packing.met_blocks(d[: self.B], new), new)
        return zip(*map(reversed, views), strict=True)

    def gates(self, rows, *cuts):
        """Columns of rows [N, n*H]: gates from and to."""
        return [rows[:, start * self.H : stop * self.H] for start, stop in cuts]

    def back(self, dhs):
        """[B + N, H], to which the gradient of every state is added, the first one's first."""
        d = self.packing.room(torch.zeros_like(self.first[0]))
        d[self.B :] = 0 if dhs is None else dhs
        return d


class Rnn(Cell):
    """h_t = tanh(a_t + W_hh h_{t-1})."""

    def take(self):
        self.steps = self.blocks(self.a)

    def forward(self, p):
        W = p["W_hh_T"]
        for a, h, new in self.steps:
            torch.tanh(a.addmm_(h, W), out=new)

    def backward(self, d, dfinal, p):
        (hs,) = self.states()
        da = tanh_backward(torch.ones_like(hs), hs, grad_input=self.a)
        for da_t, dmet, dh in self.blocks_back(d, da):
            dmet.addmm_(da_t.mul_(dh), p["W_hh"])
        return da, {"W_hh": da.t() @ self.packing.before(self.rooms[0])}, [d[: self.B]]


class Lstm(Cell):
    """Gates i f g o."""

    def take(self):
        hs, cs = self.states()
        self.gs, self.tanh_cs = torch.empty_like(hs), torch.empty_like(cs)
        self.parts = self.a.split(self.H, dim=1)
        self.steps = self.blocks(self.a, *self.parts, self.gs, self.tanh_cs)

    def forward(self, p):
        W = p["W_hh_T"]
        for a, i, f, a_g, o, g, tanh_c, h, c, h_new, c_new in self.steps:
            a.addmm_(h, W)
            tanh_(g.copy_(a_g))
            sigmoid_(a)  # that of g is not needed, but one call is
            torch.mul(f, c, out=c_new)
            c_new.addcmul_(i, g)
            torch.tanh(c_new, out=tanh_c)
            torch.mul(o, tanh_c, out=h_new)

    def backward(self, d, dfinal, p):
        (i, f, _, o), g = self.parts, self.gs
        da, H = torch.empty_like(self.a), self.H
        d_i, d_f, d_g, d_o = da.split(H, dim=1)
        sigmoid_backward(g, i, grad_input=d_i)
        sigmoid_backward(self.packing.before(self.rooms[1]), f, grad_input=d_f)
        tanh_backward(i, g, grad_input=d_g)
        sigmoid_backward(self.tanh_cs, o, grad_input=d_o)
        # all that is read of tanh(c) has been
        through = tanh_backward(o, self.tanh_cs, grad_input=self.tanh_cs)  # dc_t / dh_t
        d_ifg = da[:, : 3 * H].unflatten(1, (3, H))
        dc = dfinal[1]
        views = self.blocks_back(d, da, d_ifg, d_o, through, f)
        for da_t, d_ifg, d_o, through, f, dmet, dh in views:
            dc_t = dc[: len(dh)]
            dc_t.addcmul_(dh, through)
            d_o.mul_(dh)
            d_ifg.mul_(dc_t[:, None])
            dc_t.mul_(f)
            dmet.addmm_(da_t, p["W_hh"])
        return da, {"W_hh": da.t() @ self.packing.before(self.rooms[0])}, [d[: self.B], dc]


class Gru(Cell):
    """Gates r z n; q = W_hn h + b_hn."""

    def take(self):
        (hs,) = self.states()
        self.qs, self.ns = torch.empty_like(hs), torch.empty_like(hs)
        self.parts = self.gates(self.a, (0, 2), (0, 1), (1, 2), (2, 3))
        self.steps = self.blocks(*self.parts, self.qs, self.ns)

    def forward(self, p):
        W_rz, W_n = p["W_hrz_T"], p["W_hn_T"]
        for r_z, r, z, a_n, q, n, h, h_new in self.steps:
            sigmoid_(r_z.addmm_(h, W_rz))
            torch.addmm(p["b_hn"], h, W_n, out=q)
            tanh_(torch.addcmul(a_n, r, q, out=n))
            torch.lerp(n, h, z, out=h_new)  # n + z (h - n)

    def backward(self, d, dfinal, p):
        (_, r, z, _), n = self.parts, self.ns
        H, met = self.H, self.packing.before(self.rooms[0])
        da = self.a.new_empty(len(self.a), 4 * H)  # q r z n: q r z the state's part, r z n the input's
        d_q, d_r, d_z, d_n = da.split(H, dim=1)
        tanh_backward(torch.sub(1, z, out=d_q), n, grad_input=d_n)
        sigmoid_backward(torch.sub(met, n, out=d_q), z, grad_input=d_z)
        sigmoid_backward(torch.mul(d_n, self.qs, out=d_q), r, grad_input=d_r)
        torch.mul(d_n, r, out=d_q)
        W = torch.cat([p["W_hh"][2 * H :], p["W_hh"][: 2 * H]])
        views = self.blocks_back(d, da.unflatten(1, (4, H)), da[:, : 3 * H], z)
        for da_t, of_h, z, dmet, dh in views:
            da_t.mul_(dh[:, None])
            dmet.addmm_(of_h, W).addcmul_(dh, z)
        dW = da[:, : 3 * H].t() @ met
        recurrent = {"W_hh": torch.cat([dW[H:], dW[:H]]), "b_hn": da[:, :H].sum(dim=0)}
        return da[:, H:], recurrent, [d[: self.B]]


class GruResetBefore(Cell):
    """Gates r z n; r must be known before r h is multiplied."""

    def take(self):
        (hs,) = self.states()
        self.resets, self.ns = torch.empty_like(hs), torch.empty_like(hs)
        self.parts = self.gates(self.a, (0, 2), (0, 1), (1, 2), (2, 3))
        self.steps = self.blocks(*self.parts, self.resets, self.ns)

    def forward(self, p):
        W_rz, W_n = p["W_hrz_T"], p["W_hn_T"]
        for r_z, r, z, a_n, reset, n, h, h_new in self.steps:
            sigmoid_(r_z.addmm_(h, W_rz))
            tanh_(torch.addmm(a_n, torch.mul(r, h, out=reset), W_n, out=n))
            torch.lerp(n, h, z, out=h_new)

    def backward(self, d, dfinal, p):
        (_, r, z, _), n = self.parts, self.ns
        H, met = self.H, self.packing.before(self.rooms[0])
        da = torch.empty_like(self.a)
        d_r, d_z, d_n = da.split(H, dim=1)
        tanh_backward(torch.sub(1, z, out=d_r), n, grad_input=d_n)
        sigmoid_backward(torch.sub(met, n, out=d_r), z, grad_input=d_z)
        sigmoid_backward(met, r, grad_input=d_r)
        d_rz, d_zn = da[:, : 2 * H], da[:, H:].unflatten(1, (2, H))
        W_rz, W_n = p["W_hh"][: 2 * H], p["W_hh"][2 * H :]
        views = self.blocks_back(d, d_rz, d_zn, d_r, d_n, r, z)
        for d_rz, d_zn, d_r, d_n, r, z, dmet, dh in views:
            d_zn.mul_(dh[:, None])
            dreset = d_n @ W_n  # d loss / d (r h)
            d_r.mul_(dreset)
            dmet.addmm_(d_rz, W_rz).addcmul_(dh, z).addcmul_(dreset, r)
        recurrent = {"W_hh": torch.cat([da[:, : 2 * H].t() @ met, da[:, 2 * H :].t() @ self.resets])}
        return da, recurrent, [d[: self.B]]


def arranged(W_hh, b_hn, cell):
    """The weights of the loop's products, whole: [H, G*H], or where gates come in two [H, 2H] and [H, H]."""
    p = {"W_hh": W_hh, "b_hn": b_hn}
    if cell in (Gru, GruResetBefore):
        H = W_hh.shape[1]
        return p | {"W_hrz_T": W_hh[: 2 * H].t().contiguous(), "W_hn_T": W_hh[2 * H :].t().contiguous()}
    return p | {"W_hh_T": W_hh.t().contiguous()}


CELLS = {"rnn": Rnn, "lstm": Lstm, "gru": Gru, "gru_reset_before": GruResetBefore}


class Layer(torch.autograd.Function):
    """Every h [N, H] and the parts of the final state, of ``a`` (which is written over), W_hh, b_hn or None,
    and the parts of the first state."""

    @staticmethod
    def forward(ctx, make, packing, a, W_hh, b_hn, *first):
        ctx.cell, ctx.p = make(a, first, packing), arranged(W_hh, b_hn, make)
        ctx.set_materialize_grads(False)
        ctx.cell.forward(ctx.p)
        return ctx.cell.states()[0], *ctx.cell.final()

    @staticmethod
    def backward(ctx, dhs, *dfinal):
        cell = ctx.cell
        d = cell.back(dhs)
        if dfinal[0] is not None:
            d[cell.B :].index_add_(0, cell.packing.last, dfinal[0])
        dlast = [
            torch.zeros_like(part) if last is None else last.clone()
            for last, part in zip(dfinal, cell.first, strict=True)
        ]
        da, recurrent, dfirst = cell.backward(d, dlast, ctx.p)
        return None, None, da, recurrent["W_hh"], recurrent.get("b_hn"), *dfirst
