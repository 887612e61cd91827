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
from suites.spec import GATES, Task

from . import training
from .device import find

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


# --- the recurrence over time


def unroll(cell, xs, state, p):
    """Every h [B, T, H] and the final state."""
    T = xs.shape[1]
    # Arrays, not slices of xs: the gradient of xs[:, t] is all of xs, at every t.
    x = tf.TensorArray(xs.dtype, T).unstack(tf.transpose(xs, [1, 0, 2]))
    hs = tf.TensorArray(xs.dtype, T)
    for t in tf.range(T):
        state = cell(x.read(t), state, p)
        hs = hs.write(t, state[0])
    return tf.transpose(hs.stack(), [1, 0, 2]), state


# --- the model: [embedding ->] recurrent layer -> linear head


def layer(params, name="encoder.0.fwd"):
    """The parameters of one layer, without its name before theirs."""
    prefix = name + "."
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def forward(params, inputs, state, model):
    """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
    params = {name: tf.convert_to_tensor(w) for name, w in params.items()}  # read once, not in the loop
    xs = tf.gather(params["embed"], inputs) if model.inputs == "tokens" else inputs  # [B, T, I]
    hs, final = unroll(CELLS[model.cell], xs, state, layer(params))
    read = hs[:, -1] if model.head == "final" else hs
    logits = tf.tensordot(read, params["head.W_hq"], 1) + params["head.b_q"]
    return logits, hs, final


def weight(*shape, dtype):
    """A parameter that waits for ``load``."""
    return tf.Variable(tf.zeros(shape, dtype))


class Network(tf.Module):
    """The model of a task; the names of its ``params`` are the canonical ones."""

    kernel = "loop over time"

    def __init__(self, model, dtype):
        super().__init__()
        self.model = model
        G, H, I, O = GATES[model.cell], model.hidden, model.input_width, model.outputs  # noqa: E741
        self.params = {
            "encoder.0.fwd.W_xh": weight(I, G * H, dtype=dtype),
            "encoder.0.fwd.W_hh": weight(H, G * H, dtype=dtype),
            "encoder.0.fwd.b_h": weight(G * H, dtype=dtype),
            "head.W_hq": weight(H, O, dtype=dtype),
            "head.b_q": weight(O, dtype=dtype),
        }
        if model.inputs == "tokens":
            self.params["embed"] = weight(model.vocabulary, model.embedding, dtype=dtype)
        if model.cell == "gru":
            self.params["encoder.0.fwd.b_hn"] = weight(H, dtype=dtype)

    def __call__(self, inputs, state):
        """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
        return forward(self.params, inputs, state, self.model)

    def to_canonical(self, named):
        """Arrays under the names of ``params``, as they are: the names are canonical."""
        return named

    def from_canonical(self, params):
        """What ``params`` are set to for these canonical parameters."""
        return params

    def trained(self, grads):
        """The gradients that the optimiser sees: all of them."""
        return grads


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    with tf.device(find(device)):
        net = Network(task.model, dtype)
    return training.Trainer(task, dtype, device, net)
