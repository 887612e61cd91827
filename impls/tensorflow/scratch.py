"""Recurrent cells in TensorFlow, under a loop over time that AutoGraph makes a graph of.

``tf.GradientTape`` gives the backward pass, so each equation stands here once.
The loop is one ``tf.while_loop`` however long the sequence is: compile time does
not grow with T.

Shapes: x [B, I], h and c [B, H], xs [B, T, I], hs [B, T, H]. Parameters ``p``
of one layer: W_xh [I, G*H], W_hh [H, G*H], b_h [G*H], for ``gru`` b_hn [H].
A cell returns its new state.
"""

import tensorflow as tf

from suites.interface import Implementation
from suites.spec import BOS, GATES, Task

from . import training
from .device import computes, find

# --- rnn: h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)                      (D2L eq. 9.4.4)


def rnn_cell(x, state, p):
    (h,) = state
    h_new = tf.tanh(x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"])  # [B, H]
    return (h_new,)


# --- lstm: c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)       (D2L eq. 10.1.1 to 10.1.5)


def lstm_cell(x, state, p):
    h, c = state
    a = x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"]  # [B, 4H]
    a_i, a_f, a_g, a_o = tf.split(a, 4, axis=1)
    i, f, g, o = tf.sigmoid(a_i), tf.sigmoid(a_f), tf.tanh(a_g), tf.sigmoid(a_o)
    c_new = f * c + i * g  # [B, H]
    h_new = o * tf.tanh(c_new)  # [B, H]
    return (h_new, c_new)


# --- gru: reset after the matrix product, n = tanh(x W_xn + b_n + r (h W_hn + b_hn)),
#     h_t = (1 - z) n + z h_{t-1}                            (Cho et al. 2014; as cuDNN)


def gru_cell(x, state, p):
    (h,) = state
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    a_h = h @ p["W_hh"]  # [B, 3H]
    x_r, x_z, x_n = tf.split(a_x, 3, axis=1)
    h_r, h_z, h_n = tf.split(a_h, 3, axis=1)
    r, z = tf.sigmoid(x_r + h_r), tf.sigmoid(x_z + h_z)
    n = tf.tanh(x_n + r * (h_n + p["b_hn"]))
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,)


# --- gru_reset_before: n = tanh(x W_xn + (r h) W_hn + b_n)   (D2L eq. 10.2.1 to 10.2.3)


def gru_reset_before_cell(x, state, p):
    (h,) = state
    H = h.shape[1]
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    x_r, x_z, x_n = tf.split(a_x, 3, axis=1)
    h_r, h_z = tf.split(h @ p["W_hh"][:, : 2 * H], 2, axis=1)
    r, z = tf.sigmoid(x_r + h_r), tf.sigmoid(x_z + h_z)
    n = tf.tanh(x_n + (r * h) @ p["W_hh"][:, 2 * H :])
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,)


CELLS = {
    "rnn": rnn_cell,
    "lstm": lstm_cell,
    "gru": gru_cell,
    "gru_reset_before": gru_reset_before_cell,
}


# --- the recurrence over time; ``valid`` [B, T] is False in padding, or None


def unroll(cell, xs, state, p, valid=None, reverse=False):
    """Every h [B, T, H], and the final state.

    In padding a state stays as it is, and h counts as zero.
    """
    T = xs.shape[1]
    # Arrays, not slices of xs: the gradient of xs[:, t] is all of xs, at every t.
    x = tf.TensorArray(xs.dtype, T).unstack(tf.transpose(xs, [1, 0, 2]))
    hs = tf.TensorArray(xs.dtype, T)
    for t in tf.range(T - 1, -1, -1) if reverse else tf.range(T):
        new = cell(x.read(t), state, p)
        if valid is None:
            state, hs = new, hs.write(t, new[0])
        else:
            v = valid[:, t, None]  # [B, 1]
            state = tuple(tf.where(v, after, before) for after, before in zip(new, state, strict=True))
            hs = hs.write(t, tf.where(v, new[0], 0))
    return tf.transpose(hs.stack(), [1, 0, 2]), state


# --- the stack of layers, its name "encoder" or "decoder"


def layer(params, name):
    """The parameters of one layer in one direction, without its name before theirs."""
    prefix = name + "."
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def directions(name, model):
    """The directions of a stack: a decoder goes forward only."""
    return model.directions if name == "encoder" else ("fwd",)


def stack(params, name, xs, state, valid, masks, model):
    """Every h of the top layer [B, T, D*H], and the final state of each layer."""
    cell, final = CELLS[model.cell], {}
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * tf.cast(masks[k - 1], xs.dtype) / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            hs, final[at] = unroll(cell, xs, state[at], layer(params, at), valid, reverse=direction == "bwd")
            both.append(hs)
        xs = tf.concat(both, axis=2)  # [B, T, D*H]
    return xs, final


# --- the model: [embedding ->] encoder [-> decoder] -> head


def within(lengths, steps):
    """valid [B, T]: which steps are within the lengths [B]; None where all are."""
    return None if lengths is None else tf.range(steps, dtype=lengths.dtype) < lengths[:, None]


def bridge(params, inputs, model):
    """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
    h = tf.tanh(inputs @ params["bridge.W_xh"] + params["bridge.b_h"])  # [B, H]
    first = (h, tf.zeros_like(h)) if model.cell == "lstm" else (h,)
    return {f"decoder.{k}.fwd": first for k in range(model.layers)}


def handed_over(final):
    """The decoder's first state: the encoder's final one, layer by layer."""
    return {at.replace("encoder", "decoder"): parts for at, parts in final.items()}


def encode(params, batch, state, model):
    """Every h of the encoder's top layer, and its final state."""
    tokens = model.inputs == "tokens"
    xs = tf.gather(params["embed"], batch.inputs) if tokens else batch.inputs  # [B, T, I]
    return stack(params, "encoder", xs, state, within(batch.lengths, xs.shape[1]), batch.masks, model)


def decode(params, tokens, state, valid, model):
    """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
    xs = tf.gather(params["decoder.embed"], tokens)  # [B, S, E]
    return stack(params, "decoder", xs, state, valid, None, model)


def head(params, hidden, final, model):
    """logits [B, O] or [B, T, O]."""
    if model.head == "final":
        at = f"encoder.{model.layers - 1}"
        read = tf.concat([final[f"{at}.{direction}"][0] for direction in model.directions], axis=1)
    else:
        read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
    return tf.tensordot(read, params["head.W_hq"], 1) + params["head.b_q"]


def forward(params, batch, state, model):
    """logits, every h of each stack, and all final states."""
    hidden, final = {}, {}
    if model.wiring != "decoder":
        hidden["encoder"], final = encode(params, batch, state, model)
    if model.wiring != "encoder":
        first = bridge(params, batch.inputs, model) if model.wiring == "decoder" else handed_over(final)
        valid = within(batch.target_lengths, batch.decoder_inputs.shape[1])
        hidden["decoder"], last = decode(params, batch.decoder_inputs, first, valid, model)
        final = final | last
    return head(params, hidden, final, model), hidden, final


# --- decoding, token by token


def start(params, batch, state, model):
    """The token that is read first [B], and the state that it meets."""
    if model.wiring == "encoder":  # a language model: all of the prompt but its last token
        _, final = encode(params, batch._replace(inputs=batch.inputs[:, :-1]), state, model)
        return batch.inputs[:, -1], final
    if model.wiring == "decoder":
        first = bridge(params, batch.inputs, model)
    else:
        first = handed_over(encode(params, batch, state, model)[1])
    return tf.fill(batch.inputs.shape[:1], tf.constant(BOS, tf.int64)), first


def advance(params, tokens, state, model):
    """logits [B, O] after the tokens [B], and the new state."""
    name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
    xs = tf.gather(params[embed], tokens)[:, None]  # [B, 1, E]
    hs, state = stack(params, name, xs, state, None, None, model)
    return hs[:, 0] @ params["head.W_hq"] + params["head.b_q"], state


# --- the parameters


def shapes(model):
    """The parameters of the model, with their shapes."""
    H, E, O = model.hidden, model.embedding, model.outputs  # noqa: E741
    found: dict = {}
    if model.inputs == "tokens":
        found["embed"] = (model.vocabulary, E)
    if model.wiring == "decoder":
        found |= {"bridge.W_xh": (model.features, H), "bridge.b_h": (H,)}
    else:
        found |= stack_shapes("encoder", model.input_width, model)
    if model.wiring != "encoder":
        found |= {"decoder.embed": (O, E)} | stack_shapes("decoder", E, model)
    return found | {"head.W_hq": (model.width, O), "head.b_q": (O,)}


def stack_shapes(name, width, model):
    """The parameters of a stack, ``width`` its inputs', with their shapes."""
    G, H = GATES[model.cell], model.hidden
    found: dict = {}
    for k in range(model.layers):
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            found |= {f"{at}.W_xh": (width, G * H), f"{at}.W_hh": (H, G * H), f"{at}.b_h": (G * H,)}
            if model.cell == "gru":
                found[f"{at}.b_hn"] = (H,)
        width = model.width
    return found


class Network(tf.Module):
    """The model of a task; the names of its ``params`` are the canonical ones."""

    kernel = "loop over time"

    def __init__(self, model, dtype):
        super().__init__()
        self.model, self.computes = model, computes(dtype)
        self.params = {name: tf.Variable(tf.zeros(shape, dtype)) for name, shape in shapes(model).items()}

    def __call__(self, batch, state):
        """logits, every h of each stack, and all final states."""
        return forward(self._read(), batch, state, self.model)

    def start(self, batch, state):
        """The token that is read first [B], and the state that it meets."""
        return start(self._read(), batch, state, self.model)

    def advance(self, tokens, state):
        """logits [B, O] after the tokens [B], and the new state."""
        return advance(self._read(), tokens, state, self.model)

    def to_canonical(self, named):
        """Arrays under the names of ``params``, as they are: the names are canonical."""
        return named

    def from_canonical(self, params):
        """What ``params`` are set to for these canonical parameters."""
        return params

    def trained(self, grads):
        """The gradients that the optimiser sees: all of them."""
        return grads

    def _read(self):
        return {name: tf.cast(w, self.computes) for name, w in self.params.items()}  # once, not in the loop


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    with tf.device(find(device)):
        net = Network(task.model, dtype)
    return training.Trainer(task, dtype, device, net)
