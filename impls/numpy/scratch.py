"""Recurrent cells in NumPy, with backpropagation through time written out by hand.

In float64 this is the oracle of the whole project; it is itself proven by
complex-step differentiation (Squire and Trapp 1998), so everything up to the
loss must also run on complex arrays.

Shapes: x [B, I], h and c [B, H], xs [B, T, I], hs [B, T, H]. Parameters ``p``
of one layer: W_xh [I, G*H], W_hh [H, G*H], b_h [G*H], for ``gru`` b_hn [H].
A cell returns its new state and what its backward pass needs; ``*_backward``
takes the gradient of the new state, adds to the gradients ``d`` of the
parameters, and returns the gradients of x and of the old state.
"""

import numpy as np

from . import training


def sigmoid(a):
    """1 / (1 + exp(-a)), written with tanh: it cannot overflow, and holds for complex a."""
    return 0.5 * (1 + np.tanh(0.5 * a))


# --- rnn: h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)                      (D2L eq. 9.4.4)


def rnn_cell(x, state, p):
    (h,) = state
    h_new = np.tanh(x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"])  # [B, H]
    return (h_new,), (x, h, h_new)


def rnn_cell_backward(dstate, cache, p, d):
    (dh_new,), (x, h, h_new) = dstate, cache
    da = dh_new * (1 - h_new * h_new)  # [B, H]
    d["W_xh"] += x.T @ da
    d["W_hh"] += h.T @ da
    d["b_h"] += da.sum(axis=0)
    return da @ p["W_xh"].T, (da @ p["W_hh"].T,)


# --- lstm: c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)       (D2L eq. 10.1.1 to 10.1.5)


def lstm_cell(x, state, p):
    h, c = state
    a = x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"]  # [B, 4H]
    a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + i * g  # [B, H]
    tanh_c = np.tanh(c_new)
    h_new = o * tanh_c  # [B, H]
    return (h_new, c_new), (x, h, c, i, f, g, o, tanh_c)


def lstm_cell_backward(dstate, cache, p, d):
    (dh_new, dc_new), (x, h, c, i, f, g, o, tanh_c) = dstate, cache
    dc = dc_new + dh_new * o * (1 - tanh_c * tanh_c)
    da = np.concatenate(
        [
            dc * g * i * (1 - i),
            dc * c * f * (1 - f),
            dc * i * (1 - g * g),
            dh_new * tanh_c * o * (1 - o),
        ],
        axis=1,
    )  # [B, 4H]
    d["W_xh"] += x.T @ da
    d["W_hh"] += h.T @ da
    d["b_h"] += da.sum(axis=0)
    return da @ p["W_xh"].T, (da @ p["W_hh"].T, dc * f)


# --- gru: reset after the matrix product, n = tanh(x W_xn + b_n + r (h W_hn + b_hn)),
#     h_t = (1 - z) n + z h_{t-1}                            (Cho et al. 2014; as cuDNN)


def gru_cell(x, state, p):
    (h,) = state
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    a_h = h @ p["W_hh"]  # [B, 3H]
    x_r, x_z, x_n = np.split(a_x, 3, axis=1)
    h_r, h_z, h_n = np.split(a_h, 3, axis=1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    q = h_n + p["b_hn"]
    n = np.tanh(x_n + r * q)
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,), (x, h, r, z, n, q)


def gru_cell_backward(dstate, cache, p, d):
    (dh_new,), (x, h, r, z, n, q) = dstate, cache
    da_n = dh_new * (1 - z) * (1 - n * n)
    da_z = dh_new * (h - n) * z * (1 - z)
    da_r = da_n * q * r * (1 - r)
    da_x = np.concatenate([da_r, da_z, da_n], axis=1)  # [B, 3H]
    da_h = np.concatenate([da_r, da_z, da_n * r], axis=1)  # [B, 3H]
    d["W_xh"] += x.T @ da_x
    d["W_hh"] += h.T @ da_h
    d["b_h"] += da_x.sum(axis=0)
    d["b_hn"] += (da_n * r).sum(axis=0)
    return da_x @ p["W_xh"].T, (da_h @ p["W_hh"].T + dh_new * z,)


# --- gru_reset_before: n = tanh(x W_xn + (r h) W_hn + b_n)   (D2L eq. 10.2.1 to 10.2.3)


def gru_reset_before_cell(x, state, p):
    (h,) = state
    H = h.shape[1]
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    x_r, x_z, x_n = np.split(a_x, 3, axis=1)
    h_r, h_z = np.split(h @ p["W_hh"][:, : 2 * H], 2, axis=1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + (r * h) @ p["W_hh"][:, 2 * H :])
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,), (x, h, r, z, n)


def gru_reset_before_cell_backward(dstate, cache, p, d):
    (dh_new,), (x, h, r, z, n) = dstate, cache
    H = h.shape[1]
    W_hrz, W_hn = p["W_hh"][:, : 2 * H], p["W_hh"][:, 2 * H :]
    da_n = dh_new * (1 - z) * (1 - n * n)
    da_z = dh_new * (h - n) * z * (1 - z)
    drh = da_n @ W_hn.T  # [B, H], gradient of r * h
    da_r = drh * h * r * (1 - r)
    da_rz = np.concatenate([da_r, da_z], axis=1)  # [B, 2H]
    da_x = np.concatenate([da_rz, da_n], axis=1)  # [B, 3H]
    d["W_xh"] += x.T @ da_x
    d["W_hh"] += np.concatenate([h.T @ da_rz, (r * h).T @ da_n], axis=1)
    d["b_h"] += da_x.sum(axis=0)
    return da_x @ p["W_xh"].T, (da_rz @ W_hrz.T + drh * r + dh_new * z,)


CELLS = {
    "rnn": (rnn_cell, rnn_cell_backward),
    "lstm": (lstm_cell, lstm_cell_backward),
    "gru": (gru_cell, gru_cell_backward),
    "gru_reset_before": (gru_reset_before_cell, gru_reset_before_cell_backward),
}


# --- the recurrence over time


def unroll(cell, xs, state, p):
    """Every h [B, T, H], the final state, and a cache for each step."""
    hs, caches = [], []
    for t in range(xs.shape[1]):
        state, cache = cell(xs[:, t], state, p)
        hs.append(state[0])
        caches.append(cache)
    return np.stack(hs, axis=1), state, caches


def unroll_backward(cell_backward, dhs, caches, state, p):
    """Backpropagation through time: gradients of xs [B, T, I], of the initial state, of p."""
    d = {name: np.zeros_like(value) for name, value in p.items()}
    dstate = tuple(np.zeros_like(part) for part in state)
    dxs = []
    for t in reversed(range(len(caches))):
        dstate = (dstate[0] + dhs[:, t], *dstate[1:])
        dx, dstate = cell_backward(dstate, caches[t], p, d)
        dxs.append(dx)
    return np.stack(dxs[::-1], axis=1), dstate, d


# --- the model: [embedding ->] recurrent layer -> linear head


def layer(params, name="encoder.0.fwd"):
    """The parameters of one layer, without its name before theirs."""
    prefix = name + "."
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def forward(params, inputs, state, model):
    """logits [B, O] or [B, T, O], every h [B, T, H], the final state, and the caches."""
    xs = params["embed"][inputs] if model.inputs == "tokens" else inputs  # [B, T, I]
    cell, _ = CELLS[model.cell]
    hs, final, caches = unroll(cell, xs, state, layer(params))
    read = hs[:, -1] if model.head == "final" else hs
    logits = read @ params["head.W_hq"] + params["head.b_q"]
    return logits, hs, final, caches


def backward(params, inputs, hs, caches, dlogits, state, model):
    """Gradients of the parameters, of the initial state, and of xs [B, T, I]."""
    _, cell_backward = CELLS[model.cell]
    W_hq = params["head.W_hq"]
    dhs = np.zeros_like(hs)
    if model.head == "final":
        dhs[:, -1] = dlogits @ W_hq.T
        read = hs[:, -1]
    else:
        dhs += dlogits @ W_hq.T
        read = hs
    H, O = W_hq.shape  # noqa: E741
    flat = dlogits.reshape(-1, O)
    dxs, dstate, d = unroll_backward(cell_backward, dhs, caches, state, layer(params))
    grads = {f"encoder.0.fwd.{name}": value for name, value in d.items()}
    grads["head.W_hq"] = read.reshape(-1, H).T @ flat
    grads["head.b_q"] = flat.sum(axis=0)
    if model.inputs == "tokens":
        grads["embed"] = np.zeros_like(params["embed"])
        np.add.at(grads["embed"], inputs, dxs)  # add: a token may come more than once
    return grads, dstate, dxs


def build(task, dtype, device):
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, forward, backward)
