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

from suites.spec import BOS

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


# --- the recurrence over time; ``valid`` [B, T] is False in padding, or None


def unroll(cell, xs, state, p, valid=None, reverse=False):
    """Every h [B, T, H], the final state, and a cache for each step.

    In padding a state stays as it is, and h counts as zero.
    """
    T = xs.shape[1]
    hs: list = [None] * T
    caches: list = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        new, caches[t] = cell(xs[:, t], state, p)
        if valid is None:
            state, hs[t] = new, new[0]
        else:
            v = valid[:, t, None]  # [B, 1]
            state = tuple(np.where(v, after, before) for after, before in zip(new, state, strict=True))
            hs[t] = np.where(v, new[0], 0)
    return np.stack(hs, axis=1), state, caches


def unroll_backward(cell_backward, dhs, caches, dfinal, p, valid=None, reverse=False):
    """Backpropagation through time: gradients of xs [B, T, I], of the initial state, of p."""
    T = len(caches)
    d = {name: np.zeros_like(value) for name, value in p.items()}
    dstate = dfinal
    dxs: list = [None] * T
    for t in range(T) if reverse else reversed(range(T)):
        dh = dhs[:, t]
        if valid is None:
            dxs[t], dstate = cell_backward((dstate[0] + dh, *dstate[1:]), caches[t], p, d)
        else:
            v = valid[:, t, None]  # [B, 1]
            dnew = tuple(np.where(v, part, 0) for part in (dstate[0] + dh, *dstate[1:]))
            kept = tuple(np.where(v, 0, part) for part in dstate)  # goes past the step
            dxs[t], dold = cell_backward(dnew, caches[t], p, d)
            dstate = tuple(a + b for a, b in zip(dold, kept, strict=True))
    return np.stack(dxs, axis=1), dstate, d


# --- the stack of layers, its name "encoder" or "decoder"


def layer(params, name):
    """The parameters of one layer in one direction, without its name before theirs."""
    prefix = name + "."
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def directions(name, model):
    """The directions of a stack: a decoder goes forward only."""
    return model.directions if name == "encoder" else ("fwd",)


def stack(params, name, xs, state, valid, masks, model):
    """Every h of the top layer [B, T, D*H], the final state of each layer, and the caches."""
    cell, _ = CELLS[model.cell]
    final, caches = {}, {}
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * masks[k - 1] / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            hs, final[at], caches[at] = unroll(
                cell, xs, state[at], layer(params, at), valid, reverse=direction == "bwd"
            )
            both.append(hs)
        xs = np.concatenate(both, axis=2)  # [B, T, D*H]
    return xs, final, caches


def stack_backward(params, name, dhs, dfinal, caches, valid, masks, model):
    """Gradients of the parameters, of the stack's input [B, T, I], of each initial state.

    ``dhs`` is the gradient of every h of the top layer, ``dfinal`` of the final states.
    """
    _, cell_backward = CELLS[model.cell]
    grads: dict = {}
    dstate: dict = {}
    for k in reversed(range(model.layers)):
        dxs = 0
        both = np.split(dhs, len(directions(name, model)), axis=2)
        for direction, dh in zip(directions(name, model), both, strict=True):
            at = f"{name}.{k}.{direction}"
            dx, dstate[at], d = unroll_backward(
                cell_backward,
                dh,
                caches[at],
                dfinal[at],
                layer(params, at),
                valid,
                reverse=direction == "bwd",
            )
            dxs = dxs + dx
            grads |= {f"{at}.{key}": value for key, value in d.items()}
        if k > 0 and masks is not None:
            dxs = dxs * masks[k - 1] / (1 - model.dropout)
        dhs = dxs
    return grads, dhs, {at: dstate[at] for at in dfinal}


# --- the model: [embedding ->] encoder [-> decoder] -> head


def within(lengths, steps):
    """valid [B, T]: which steps are within the lengths [B]; None where all are."""
    return None if lengths is None else np.arange(steps) < lengths[:, None]


def bridge(params, inputs, model):
    """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
    h = np.tanh(inputs @ params["bridge.W_xh"] + params["bridge.b_h"])  # [B, H]
    first = (h, np.zeros_like(h)) if model.cell == "lstm" else (h,)
    return {f"decoder.{k}.fwd": first for k in range(model.layers)}


def handed_over(final):
    """The decoder's first state: the encoder's final one, layer by layer."""
    return {at.replace("encoder", "decoder"): parts for at, parts in final.items()}


def encode(params, batch, state, model, stack=stack):
    """Every h of the encoder's top layer, its final state, and the caches."""
    xs = params["embed"][batch.inputs] if model.inputs == "tokens" else batch.inputs  # [B, T, I]
    return stack(params, "encoder", xs, state, within(batch.lengths, xs.shape[1]), batch.masks, model)


def decode(params, tokens, state, valid, model, stack=stack):
    """Every h of the decoder's top layer over the tokens [B, S], its final state, and the caches."""
    return stack(params, "decoder", params["decoder.embed"][tokens], state, valid, None, model)


def head(params, hidden, final, model):
    """logits [B, O] or [B, T, O], and what they were read from."""
    if model.head == "final":
        at = f"encoder.{model.layers - 1}"
        read = np.concatenate([final[f"{at}.{direction}"][0] for direction in model.directions], axis=1)
    else:
        read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
    return read @ params["head.W_hq"] + params["head.b_q"], read


def forward(params, batch, state, model, stack=stack):
    """logits, every h of each stack, all final states, and the caches."""
    hidden, final, caches = {}, {}, {}
    if model.wiring != "decoder":
        hidden["encoder"], final, caches = encode(params, batch, state, model, stack)
    if model.wiring != "encoder":
        first = bridge(params, batch.inputs, model) if model.wiring == "decoder" else handed_over(final)
        valid = within(batch.target_lengths, batch.decoder_inputs.shape[1])
        hidden["decoder"], last, more = decode(params, batch.decoder_inputs, first, valid, model, stack)
        final, caches = final | last, caches | more
    logits, caches["head"] = head(params, hidden, final, model)
    return logits, hidden, final, caches


def embed_backward(embed, tokens, dxs):
    """The gradient of an embedding: rows are added, for a token may come more than once."""
    d = np.zeros_like(embed)
    np.add.at(d, tokens, dxs)
    return d


def backward(
    params,
    batch,
    caches,
    dlogits,
    state,
    final,
    model,
    stack_backward=stack_backward,
    embed_backward=embed_backward,
):
    """Gradients of the parameters, of the initial state, and of the inputs (features only)."""
    read, O = caches["head"], dlogits.shape[-1]  # noqa: E741
    dread = dlogits @ params["head.W_hq"].T
    grads = {
        "head.W_hq": read.reshape(-1, read.shape[-1]).T @ dlogits.reshape(-1, O),
        "head.b_q": dlogits.reshape(-1, O).sum(axis=0),
    }
    dfinal = {at: tuple(np.zeros_like(part) for part in parts) for at, parts in final.items()}
    encoded = {at: parts for at, parts in dfinal.items() if at.startswith("encoder")}
    if model.wiring != "encoder":
        decoded = {at: parts for at, parts in dfinal.items() if at.startswith("decoder")}
        valid = within(batch.target_lengths, dread.shape[1])
        more, dxs, dfirst = stack_backward(params, "decoder", dread, decoded, caches, valid, None, model)
        grads |= more
        grads["decoder.embed"] = embed_backward(params["decoder.embed"], batch.decoder_inputs, dxs)
        if model.wiring == "decoder":
            more, dinputs = bridge_backward(params, batch.inputs, dfirst)
            return grads | more, {}, dinputs
        encoded = {at.replace("decoder", "encoder"): parts for at, parts in dfirst.items()}
    valid = within(batch.lengths, batch.inputs.shape[1])
    dhs = np.zeros((*batch.inputs.shape[:2], model.width), dread.dtype)
    if model.wiring == "encoder" and model.head == "every":
        dhs = dread
    elif model.wiring == "encoder":
        for direction, dh in zip(
            model.directions, np.split(dread, len(model.directions), axis=1), strict=True
        ):
            at = f"encoder.{model.layers - 1}.{direction}"
            encoded[at] = (dh, *encoded[at][1:])
    more, dxs, dstate = stack_backward(params, "encoder", dhs, encoded, caches, valid, batch.masks, model)
    grads |= more
    if model.inputs == "tokens":
        grads["embed"] = embed_backward(params["embed"], batch.inputs, dxs)
    return grads, dstate, dxs


def bridge_backward(params, inputs, dfirst):
    """Gradients of the bridge and of the features; its h goes to every layer."""
    h = np.tanh(inputs @ params["bridge.W_xh"] + params["bridge.b_h"])
    da = sum(parts[0] for parts in dfirst.values()) * (1 - h * h)  # [B, H]
    grads = {"bridge.W_xh": inputs.T @ da, "bridge.b_h": da.sum(axis=0)}
    return grads, da @ params["bridge.W_xh"].T


# --- decoding, token by token


def start(params, batch, state, model, stack=stack):
    """The token that is read first [B], and the state that it meets."""
    if model.wiring == "encoder":  # a language model: all of the prompt but its last token
        prompt = batch._replace(inputs=batch.inputs[:, :-1])
        final = encode(params, prompt, state, model, stack)[1] if prompt.inputs.shape[1] else state
        return batch.inputs[:, -1], final
    if model.wiring == "decoder":
        first = bridge(params, batch.inputs, model)
    else:
        first = handed_over(encode(params, batch, state, model, stack)[1])
    return np.full(len(batch.inputs), BOS), first


def advance(params, tokens, state, model, stack=stack):
    """logits [B, O] after the tokens [B], and the new state."""
    name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
    hs, state, _ = stack(params, name, params[embed][tokens][:, None], state, None, None, model)
    return hs[:, 0] @ params["head.W_hq"] + params["head.b_q"], state


def build(task, dtype, device):
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, forward, backward, start, advance)
