"""Layers of ``tuned.py`` as a loop over time, and the backward pass by hand.

``a`` is the input's part with b_h, a block [G*H, n] for each step (``packing.py``), which the next may write
over, in the order of ``tuned.GATES``, the rows of sigmoid gates halved; W_hh [G*H, H] in that order too.
Forward: the blocks of each part of the state, and of what the way back needs. Backward, of dhs [N, H] and
of ``met`` [N, H], the h that each step met: da [G*H, N], the gradient of a (before halving), the gradient of
what is recurrent, and of the first state. ``take`` gives buffers: of the layer's own, or of all
(``tuned.SHARED``).
"""

import numpy as np


def rnn(a, first, p, packing, take):
    """h_t = tanh(a_t + W_hh h_{t-1})."""
    (h,) = first
    H, N = len(h), len(packing.take)
    hs = packing.blocks(take("hs", H * N), H)
    for a_t, new in zip(a, hs, strict=True):
        np.matmul(p["W_hh"], h[:, : new.shape[1]], out=new)
        new += a_t
        h = np.tanh(new, out=new)
    return (hs,), ()


def rnn_backward(dhs, dfinal, first, states, cache, met, p, packing, take):
    (hs,), (dh,) = states, dfinal
    N, H = dhs.shape
    das, room = take("da", H, N), take("room", H * dh.shape[1])
    for h, dh_t, every in reversed(list(zip(hs, packing.columns(dhs.T), packing.columns(das), strict=True))):
        n = h.shape[1]
        da, dh_new = room[: H * n].reshape(H, n), first_of(dh, n)
        dh_new += dh_t
        np.multiply(h, h, out=da)
        np.subtract(1, da, out=da)
        da *= dh_new
        every[...] = da
        np.matmul(p["W_hh_T"], da, out=dh_new)
    return das, {"W_hh": met.T @ das.T}, (dh,)


def lstm(a, first, p, packing, take):
    """Gates o i f g: the sigmoids are side by side, and so are those that c passes through."""
    h, c = first
    H, N = len(h), len(packing.take)
    hs, cs, tanh_cs = (packing.blocks(take(name, H * N), H) for name in ("hs", "cs", "tanh_cs"))
    gates = packing.blocks(take("gates", 4 * H * N), 4 * H)
    for a_t, s, h_t, c_t, tanh_c in zip(a, gates, hs, cs, tanh_cs, strict=True):
        n = s.shape[1]
        np.matmul(p["W_hh"], h[:, :n], out=s)
        s += a_t
        np.tanh(s, out=s)
        halved(s[: 3 * H])
        o, i, f, g = s[:H], s[H : 2 * H], s[2 * H : 3 * H], s[3 * H :]
        np.multiply(f, c[:, :n], out=c_t)
        c_t += np.multiply(i, g, out=tanh_c)
        np.tanh(c_t, out=tanh_c)
        h, c = np.multiply(o, tanh_c, out=h_t), c_t
    return (hs, cs), (gates, tanh_cs)


def lstm_backward(dhs, dfinal, first, states, cache, met, p, packing, take):
    (_, cs), (gates, tanh_cs), (dh, dc) = states, cache, dfinal
    N, H = dhs.shape
    das, room = take("da", 4 * H, N), take("room", 4 * H * dh.shape[1])
    met_c, every = [first[1], *cs], packing.columns(das)
    for t, dh_t in reversed(list(enumerate(packing.columns(dhs.T)))):
        s, tanh_c = gates[t], tanh_cs[t]
        n = s.shape[1]
        da = room[: 4 * H * n].reshape(4 * H, n)
        o, i, f, g = s[:H], s[H : 2 * H], s[2 * H : 3 * H], s[3 * H :]
        d_o, d_i, d_f, d_g = da[:H], da[H : 2 * H], da[2 * H : 3 * H], da[3 * H :]
        dh_new, dc_new = first_of(dh, n), first_of(dc, n)
        dh_new += dh_t
        np.multiply(tanh_c, tanh_c, out=d_g)  # dc += dh o (1 - tanh(c)^2)
        np.subtract(1, d_g, out=d_g)
        d_g *= o
        d_g *= dh_new
        dc_new += d_g
        slopes(s[: 3 * H], da[: 3 * H])
        d_o *= tanh_c
        d_o *= dh_new
        d_i *= g
        d_f *= first_of(met_c[t], n)
        np.multiply(g, g, out=d_g)
        np.subtract(1, d_g, out=d_g)
        d_g *= i
        da[H:].reshape(3, H, n)[...] *= dc_new
        dc_new *= f
        every[t][...] = da
        np.matmul(p["W_hh_T"], da, out=dh_new)
    return das, {"W_hh": met.T @ das.T}, (dh, dc)


def gru(a, first, p, packing, take):
    """Gates n r z of the input, r z and h W_hn of the state."""
    (h,) = first
    H, N = len(h), len(packing.take)
    hs, beyond = (packing.blocks(take(name, H * N), H) for name in ("hs", "beyond"))
    gates = packing.blocks(take("gates", 3 * H * N), 3 * H)  # r z n
    qs = packing.blocks(take("qs", H * N), H)  # h W_hn + b_hn
    for a_t, s, h_t, q, less in zip(a, gates, hs, qs, beyond, strict=True):
        n = s.shape[1]
        r, z, new = s[:H], s[H : 2 * H], s[2 * H :]
        np.matmul(p["W_hh"], h[:, :n], out=s)
        np.add(new, p["b_hn"], out=q)
        s[: 2 * H] += a_t[H:]
        np.tanh(s[: 2 * H], out=s[: 2 * H])
        halved(s[: 2 * H])
        np.multiply(r, q, out=new)
        new += a_t[:H]
        np.tanh(new, out=new)
        h = gated(first_of(h, n), new, z, less, h_t)
    return (hs,), (gates, qs, beyond)


def gru_backward(dhs, dfinal, first, states, cache, met, p, packing, take):
    (gates, qs, beyond), (dh,) = cache, dfinal
    N, H = dhs.shape
    das, room = take("da", 4 * H, N), take("room", 4 * H * dh.shape[1])  # n r z, and of h W_hn
    every = packing.columns(das)
    for t, dh_t in reversed(list(enumerate(packing.columns(dhs.T)))):
        s = gates[t]
        n = s.shape[1]
        da = room[: 4 * H * n].reshape(4 * H, n)
        r, z, new = s[:H], s[H : 2 * H], s[2 * H :]
        d_n, d_r, d_q = da[:H], da[H : 2 * H], da[3 * H :]
        dh_new = first_of(dh, n)
        dh_new += dh_t
        candidate_slope(new, z, d_n, d_q)
        slopes(s[: 2 * H], da[H : 3 * H])
        da[2 * H : 3 * H] *= beyond[t]
        np.multiply(d_n, r, out=d_q)
        d_r *= d_n
        d_r *= qs[t]
        da.reshape(4, H, n)[...] *= dh_new
        dh_new *= z
        every[t][...] = da
        dh_new += np.matmul(p["W_hh_T"], da[H:], out=take("product", H, n))
    return das[: 3 * H], {"W_hh": met.T @ das[H:].T, "b_hn": das[3 * H :].sum(axis=1)}, (dh,)


def gru_reset_before(a, first, p, packing, take):
    """Gates r z n; W_hh in two, for r must be known before r h is multiplied."""
    (h,) = first
    H, N = len(h), len(packing.take)
    hs, resets, beyond = (packing.blocks(take(name, H * N), H) for name in ("hs", "resets", "beyond"))
    gates = packing.blocks(take("gates", 3 * H * N), 3 * H)
    for a_t, s, h_t, reset, less in zip(a, gates, hs, resets, beyond, strict=True):
        n = s.shape[1]
        r_z, new = s[: 2 * H], s[2 * H :]
        np.matmul(p["W_hrz"], h[:, :n], out=r_z)
        r_z += a_t[: 2 * H]
        halved(np.tanh(r_z, out=r_z))
        np.multiply(s[:H], h[:, :n], out=reset)
        np.matmul(p["W_hn"], reset, out=new)
        new += a_t[2 * H :]
        np.tanh(new, out=new)
        h = gated(first_of(h, n), new, s[H : 2 * H], less, h_t)
    return (hs,), (gates, resets, beyond)


def gru_reset_before_backward(dhs, dfinal, first, states, cache, met, p, packing, take):
    (hs,), (gates, resets, beyond), (dh,) = states, cache, dfinal
    N, H = dhs.shape
    das, room = take("da", 3 * H, N), take("room", 3 * H * dh.shape[1])
    met_h, every = [first[0], *hs], packing.columns(das)
    for t, dh_t in reversed(list(enumerate(packing.columns(dhs.T)))):
        s = gates[t]
        n = s.shape[1]
        da = room[: 3 * H * n].reshape(3 * H, n)
        r, z, new = s[:H], s[H : 2 * H], s[2 * H :]
        d_r, d_z, d_n = da[:H], da[H : 2 * H], da[2 * H :]
        dh_new, product = first_of(dh, n), take("product", H, n)
        dh_new += dh_t
        candidate_slope(new, z, d_n, product)
        slopes(s[: 2 * H], da[: 2 * H])
        d_r *= first_of(met_h[t], n)
        d_z *= beyond[t]
        da[H:].reshape(2, H, n)[...] *= dh_new
        np.matmul(p["W_hn_T"], d_n, out=product)  # d loss / d (r h)
        d_r *= product
        product *= r
        dh_new *= z
        dh_new += product
        every[t][...] = da
        dh_new += np.matmul(p["W_hrz_T"], da[: 2 * H], out=product)
    reset = packing.rows(resets, take("reset", N, H))
    return das, {"W_hh": np.concatenate([met.T @ das[: 2 * H].T, reset.T @ das[2 * H :].T], axis=1)}, (dh,)


def first_of(state, n):
    """[H, n], of the n longest sequences; a view."""
    return state if state.shape[1] == n else state[:, :n]


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


def candidate_slope(n, z, out, other):
    """(1 - z) (1 - n^2); ``other`` is written over."""
    np.multiply(n, n, out=out)
    np.subtract(1, out, out=out)
    out *= np.subtract(1, z, out=other)


CELLS = {
    "rnn": (rnn, rnn_backward),
    "lstm": (lstm, lstm_backward),
    "gru": (gru, gru_backward),
    "gru_reset_before": (gru_reset_before, gru_reset_before_backward),
}
