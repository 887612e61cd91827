"""The fastest TensorFlow that we could write: loops over time compiled by XLA, with a backward pass by hand.

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- XLA compiles the loop forward and the loop back, and fuses what is elementwise: TensorFlow's own executor
  takes a few microseconds for each operation of each step.
- All steps at once, outside the loops: the product with the inputs and that for each weight's gradient, one
  each (``tf.custom_gradient``). A step back writes da, the gradient of what its gates read, and no more.
- Of tokens, x_t W_xh + b_h is taken once for each of the vocabulary where that is less than for each step.
- s(a) = (1 + tanh(a/2)) / 2: with the weights of the sigmoid gates halved (exactly), one ``tanh`` serves all
  gates, and its value is all that the way back needs of them.
- Inference keeps nothing for a way back; decoding is one loop in XLA (``compiled.py``).

Sequences stand time first, [T, B, .], so that a step is a run of memory.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from suites.interface import Implementation
from suites.spec import BOS, Task

from . import scratch
from .compiled import Trainer
from .device import find
from .scratch import bridge, directions, handed_over, head, layer

# --- cells. Forward: of a_t [B, G*H], the input's part with b_h (see ``arranged``), and the state, the new
#     state and what the way back needs. Backward: of the gradient of the new state, the states before and
#     after, and what was kept, the gradient of the state before, and those of a_t and of what is like it
#     (``das``); its p is transposed. Weights: of the h [N, H] that the steps met, all das [N, .], and what
#     was kept, the gradients of the weights.


def rnn(a, state, p):
    """h_t = tanh(a_t + h_{t-1} W_hh)."""
    (h,) = state
    return (tf.tanh(a + h @ p["W_hh"]),), ()


def rnn_backward(dnew, before, after, kept, p):
    (dh,), (h,) = dnew, after
    da = dh * slope(h)
    return (da @ p["W_hh"],), (da,)


def rnn_weights(h, das, kept):
    (da,) = das
    return {"W_hh": tf.matmul(h, da, transpose_a=True)}


def lstm(a, state, p):
    """c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)."""
    h, c = state
    s = tf.tanh(a + h @ p["W_hh"])  # [B, 4H]
    s_i, s_f, g, s_o = tf.split(s, 4, axis=1)
    c_new = sigmoid(s_f) * c + sigmoid(s_i) * g
    return (sigmoid(s_o) * tf.tanh(c_new), c_new), (s,)


def lstm_backward(dnew, before, after, kept, p):
    (dh, dc), (_, c), (_, c_new), (s,) = dnew, before, after, kept
    s_i, s_f, g, s_o = tf.split(s, 4, axis=1)
    tanh_c = tf.tanh(c_new)
    dc += dh * sigmoid(s_o) * slope(tanh_c)
    d_i, d_f = 0.5 * dc * g * slope(s_i), 0.5 * dc * c * slope(s_f)
    d_g, d_o = dc * sigmoid(s_i) * slope(g), 0.5 * dh * tanh_c * slope(s_o)
    da = tf.concat([d_i, d_f, d_g, d_o], axis=1)
    return (da @ p["W_hh"], dc * sigmoid(s_f)), (da,)


def gru(a, state, p):
    """n = tanh(a_n + r (h W_hn + b_hn)),  h_t = n + z (h_{t-1} - n)."""
    (h,) = state
    H = h.shape[1]
    a_h = h @ p["W_hh"]  # [B, 3H]
    s = tf.tanh(a[:, : 2 * H] + a_h[:, : 2 * H])
    q = a_h[:, 2 * H :] + p["b_hn"]
    n = tf.tanh(a[:, 2 * H :] + sigmoid(s[:, :H]) * q)
    return (n + sigmoid(s[:, H:]) * (h - n),), (s, n, q)


def gru_backward(dnew, before, after, kept, p):
    (dh,), (h,), (s, n, q) = dnew, before, kept
    s_r, s_z = tf.split(s, 2, axis=1)
    z = sigmoid(s_z)
    d_n = dh * (1 - z) * slope(n)
    d_r, d_z = 0.5 * d_n * q * slope(s_r), 0.5 * dh * (h - n) * slope(s_z)
    da_h = tf.concat([d_r, d_z, d_n * sigmoid(s_r)], axis=1)  # of h W_hh + [0, 0, b_hn]
    return (dh * z + da_h @ p["W_hh"],), (tf.concat([d_r, d_z, d_n], axis=1), da_h)


def gru_weights(h, das, kept):
    _, da_h = das
    H = h.shape[1]
    return {"W_hh": tf.matmul(h, da_h, transpose_a=True), "b_hn": tf.reduce_sum(da_h[:, 2 * H :], axis=0)}


def gru_reset_before(a, state, p):
    """n = tanh(a_n + (r h) W_hn),  h_t = n + z (h_{t-1} - n)."""
    (h,) = state
    H = h.shape[1]
    s = tf.tanh(a[:, : 2 * H] + h @ p["W_hrz"])
    reset = sigmoid(s[:, :H]) * h
    n = tf.tanh(a[:, 2 * H :] + reset @ p["W_hn"])
    return (n + sigmoid(s[:, H:]) * (h - n),), (s, n, reset)


def gru_reset_before_backward(dnew, before, after, kept, p):
    (dh,), (h,), (s, n, _) = dnew, before, kept
    s_r, s_z = tf.split(s, 2, axis=1)
    z = sigmoid(s_z)
    d_n = dh * (1 - z) * slope(n)
    dreset = d_n @ p["W_hn"]
    d_r, d_z = 0.5 * dreset * h * slope(s_r), 0.5 * dh * (h - n) * slope(s_z)
    d_rz = tf.concat([d_r, d_z], axis=1)
    dh = dh * z + dreset * sigmoid(s_r) + d_rz @ p["W_hrz"]
    return (dh,), (tf.concat([d_r, d_z, d_n], axis=1),)


def gru_reset_before_weights(h, das, kept):
    (da,), (_, _, reset) = das, kept
    H = h.shape[1]
    return {
        "W_hrz": tf.matmul(h, da[:, : 2 * H], transpose_a=True),
        "W_hn": tf.matmul(reset, da[:, 2 * H :], transpose_a=True),
    }


def sigmoid(tanh):
    """s(a) of tanh(a/2)."""
    return 0.5 * tanh + 0.5


def slope(tanh):
    """d tanh(a) / d a."""
    return 1 - tanh * tanh


class Cell(NamedTuple):
    """The functions of a cell, and the widths in H of what they hand out at each step."""

    forward: Callable
    backward: Callable
    weights: Callable
    kept: tuple[int, ...]
    das: tuple[int, ...]
    halved: tuple[float, ...]  # of each gate: 0.5 where it is a sigmoid


CELLS = {
    "rnn": Cell(rnn, rnn_backward, rnn_weights, (), (1,), (1,)),
    "lstm": Cell(lstm, lstm_backward, rnn_weights, (4,), (4,), (0.5, 0.5, 1, 0.5)),
    "gru": Cell(gru, gru_backward, gru_weights, (2, 1, 1), (3, 3), (0.5, 0.5, 1)),
    "gru_reset_before": Cell(
        gru_reset_before,
        gru_reset_before_backward,
        gru_reset_before_weights,
        (2, 1, 1),
        (3,),
        (0.5, 0.5, 1),
    ),
}


def arranged(p, cell):
    """The parameters of a layer as its cell here wants them: the sigmoid gates' halved."""
    H = p["W_hh"].shape[0]
    half = np.repeat(CELLS[cell].halved, H)
    made = {name: p[name] * tf.constant(half, p[name].dtype) for name in ("W_xh", "W_hh", "b_h")}
    if cell == "gru":
        made["b_hn"] = p["b_hn"]
    if cell == "gru_reset_before":
        W_hh = made.pop("W_hh")
        made |= {"W_hrz": W_hh[:, : 2 * H], "W_hn": W_hh[:, 2 * H :]}
    return made


# --- the recurrence over time; beyond ``lengths`` [B], where there are any, a state stays as it is. The loops
#     take all T steps: for as many as the longest sequence has, XLA would compile anew for each other number.


@tf.function(jit_compile=True)
def unroll(name, a, state, p, lengths, reverse, keep):
    """Every state [T + 1, B, H] with the first among them, the final one, what each step kept [T, B, .]."""
    cell, (T, B, _), H = CELLS[name], a.shape, state[0].shape[1]
    states, start = arrays(a.dtype, T + 1, B, [H for _ in state]), T if reverse else 0
    states = tuple(array.write(start, part) for array, part in zip(states, state, strict=True))
    kept = arrays(a.dtype, T, B, [width * H for width in cell.kept] if keep else [])
    for t in tf.range(T - 1, -1, -1) if reverse else tf.range(T):
        state, cache = step(cell, a[t], state, p, within(lengths, t))
        at = t if reverse else t + 1
        states = tuple(array.write(at, part) for array, part in zip(states, state, strict=True))
        kept = tuple(array.write(t, part) for array, part in zip(kept, cache, strict=False))
    return tuple(array.stack() for array in states), state, tuple(array.stack() for array in kept)


def step(cell, a, state, p, valid):
    """One step: the state stays as it is where not ``valid`` [B, 1]."""
    new, cache = cell.forward(a, state, p)
    if valid is not None:
        new = tuple(tf.where(valid, after, before) for after, before in zip(new, state, strict=True))
    return new, cache


@tf.function(jit_compile=True)
def unroll_backward(name, dhs, dstate, states, kept, p, lengths, reverse):
    """The gradients of a [T, B, G*H] and of what is like it, and of the first state; p is transposed."""
    cell, (T, B, H) = CELLS[name], dhs.shape
    das = arrays(dhs.dtype, T, B, [width * H for width in cell.das])
    for t in tf.range(T) if reverse else tf.range(T - 1, -1, -1):
        first, second = tuple(part[t] for part in states), tuple(part[t + 1] for part in states)
        around = (second, first) if reverse else (first, second)
        cache = tuple(part[t] for part in kept)
        dstate, found = step_backward(cell, dhs[t], dstate, around, cache, p, within(lengths, t))
        das = tuple(array.write(t, part) for array, part in zip(das, found, strict=True))
    return tuple(array.stack() for array in das), dstate


def step_backward(cell, dh, dstate, around, kept, p, valid):
    """One step back: where not ``valid`` [B, 1] the gradient of the state goes past it."""
    dnew = (dstate[0] + dh, *dstate[1:])
    if valid is None:
        return cell.backward(dnew, *around, kept, p)
    dnew = tuple(tf.where(valid, part, 0) for part in dnew)
    dold, das = cell.backward(dnew, *around, kept, p)
    return tuple(tf.where(valid, part, past) for part, past in zip(dold, dstate, strict=True)), das


def within(lengths, t):
    """valid [B, 1]: which sequences have a step t; None where all have."""
    return None if lengths is None else (t < tf.cast(lengths, tf.int32))[:, None]


def arrays(dtype, T, B, widths):
    """Arrays over time, of elements [B, width]."""
    return tuple(tf.TensorArray(dtype, T, element_shape=(B, width)) for width in widths)


def recurrence(name, a, state, p, lengths, reverse, keep):
    """Every h [T, B, H], zero in padding, and the final state; a [T, B, G*H] holds the inputs' part."""
    weights = sorted(p)

    @tf.custom_gradient
    def run(a, *rest):
        first, own = rest[: len(state)], dict(zip(weights, rest[len(state) :], strict=True))
        states, final, kept = unroll(name, a, first, own, lengths, reverse, keep)

        def backward(dhs, *dfinal):
            transposed = {key: tf.transpose(w) for key, w in own.items()}
            das, dfirst = unroll_backward(name, dhs, dfinal, states, kept, transposed, lengths, reverse)
            met = states[0][1:] if reverse else states[0][:-1]
            dweights = CELLS[name].weights(flat(met), [flat(da) for da in das], [flat(part) for part in kept])
            return (das[0], *dfirst, *(dweights[key] for key in weights))

        return (states[0][:-1] if reverse else states[0][1:], *final), backward

    hs, *final = run(a, *state, *(p[key] for key in weights))
    if lengths is not None:
        valid = tf.range(a.shape[0], dtype=lengths.dtype)[:, None] < lengths  # [T, B]
        hs = tf.where(valid[..., None], hs, 0)
    return hs, tuple(final)


def flat(xs):
    """[T * B, I] of [T, B, I]."""
    return tf.reshape(xs, (-1, xs.shape[2]))


# --- the stack of layers, its name "encoder" or "decoder"


class Tokens(NamedTuple):
    """Tokens, and the table [V, E] whose rows they stand for."""

    table: tf.Tensor
    tokens: tf.Tensor  # [T, B]


def read(xs, p):
    """x_t W_xh + b_h of all steps, [T, B, G*H]."""
    if isinstance(xs, Tokens):
        if xs.table.shape[0] <= np.prod(xs.tokens.shape):
            return tf.gather(xs.table @ p["W_xh"] + p["b_h"], xs.tokens)
        xs = tf.gather(xs.table, xs.tokens)
    a = flat(xs) @ p["W_xh"] + p["b_h"]
    return tf.reshape(a, (*xs.shape[:2], a.shape[1]))


def stack(params, name, xs, state, lengths, masks, model, keep):
    """Every h of the top layer [T, B, D*H], and the final state of each layer; xs [T, B, I] or tokens."""
    final = {}
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * tf.cast(turned(masks[k - 1]), xs.dtype) / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            p = arranged(layer(params, at), model.cell)
            a = read(xs, {key: p.pop(key) for key in ("W_xh", "b_h")})
            hs, final[at] = recurrence(model.cell, a, state[at], p, lengths, direction == "bwd", keep)
            both.append(hs)
        xs = tf.concat(both, axis=2) if len(both) > 1 else both[0]  # [T, B, D*H]
    return xs, final


def turned(xs):
    """[T, B, ...] of [B, T, ...], and back."""
    return tf.transpose(xs, [1, 0, *range(2, len(xs.shape))])


# --- the model: [embedding ->] encoder [-> decoder] -> head


def encode(params, batch, state, model, keep):
    """Every h of the encoder's top layer [T, B, D*H], and its final state."""
    xs = turned(batch.inputs)
    if model.inputs == "tokens":
        xs = Tokens(params["embed"], xs)
    return stack(params, "encoder", xs, state, batch.lengths, batch.masks, model, keep)


def decode(params, tokens, state, lengths, model, keep):
    """Every h of the decoder's top layer [S, B, H] over the tokens [B, S], and its final state."""
    xs = Tokens(params["decoder.embed"], turned(tokens))
    return stack(params, "decoder", xs, state, lengths, None, model, keep)


def forward(params, batch, state, model, keep):
    """logits, every h of each stack, and all final states; batch first."""
    hidden, final = {}, {}
    if model.wiring != "decoder":
        hidden["encoder"], final = encode(params, batch, state, model, keep)
    if model.wiring != "encoder":
        first = bridge(params, batch.inputs, model) if model.wiring == "decoder" else handed_over(final)
        lengths = batch.target_lengths
        hidden["decoder"], last = decode(params, batch.decoder_inputs, first, lengths, model, keep)
        final = final | last
    logits = head(params, hidden, final, model)
    if model.head == "every":
        logits = turned(logits)
    return logits, {name: turned(hs) for name, hs in hidden.items()}, final


# --- decoding, token by token


def start(params, batch, state, model):
    """The token that is read first [B], and the state that it meets."""
    if model.wiring == "encoder":  # a language model: all of the prompt but its last token
        if batch.inputs.shape[1] > 1:
            prompt = batch._replace(inputs=batch.inputs[:, :-1])
            _, state = encode(params, prompt, state, model, keep=False)
        return batch.inputs[:, -1], state
    if model.wiring == "decoder":
        first = bridge(params, batch.inputs, model)
    else:
        first = handed_over(encode(params, batch, state, model, keep=False)[1])
    return tf.fill(batch.inputs.shape[:1], tf.constant(BOS, tf.int64)), first


def reader(params, model, count):
    """Reads tokens: logits [B, O] after the tokens [B], and the new state; ``count`` tokens in all."""
    name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
    layers = {
        at: arranged(layer(params, at), model.cell) for at in (f"{name}.{k}.fwd" for k in range(model.layers))
    }
    bottom, table = layers[f"{name}.0.fwd"], params[embed]
    known = table.shape[0] <= count
    if known:
        table = table @ bottom["W_xh"] + bottom["b_h"]

    def advance(tokens, state):
        xs, new = tf.gather(table, tokens), {}
        for at, p in layers.items():
            a = xs if known and p is bottom else xs @ p["W_xh"] + p["b_h"]
            new[at], _ = CELLS[model.cell].forward(a, state[at], p)
            xs = new[at][0]
        return xs @ params["head.W_hq"] + params["head.b_q"], new

    return advance


class Network(scratch.Network):
    """The network of ``scratch.py``, by the functions above."""

    kernel = "loop over time in XLA"

    def __call__(self, batch, state, keep=True):
        """logits, every h of each stack, and all final states; ``keep`` what a way back needs."""
        return forward(self.read(), batch, state, self.model, keep)

    def start(self, batch, state):
        """The token that is read first [B], and the state that it meets."""
        return start(self.read(), batch, state, self.model)

    def read(self):
        """The parameters as tensors."""
        return self._read()


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    with tf.device(find(device)):
        net = Network(task.model, dtype)
    return Trainer(task, dtype, device, net, reader)
