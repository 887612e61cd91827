"""The recurrent layers of Keras.

Layout: as the canonical one, but for a GRU, whose gates stand as z r n. With
``reset_after`` its bias is [2, 3H]: row 0 is b_h, and the n block of row 1 is b_hn;
the z and r blocks of row 1, a second bias, stay at zero and out of the optimiser.
"""

import keras
import numpy as np
import tensorflow as tf

from suites.interface import Implementation, Unavailable
from suites.spec import Task

from . import training
from .device import find

LAYERS = {
    "rnn": (keras.layers.SimpleRNN, {}),
    "lstm": (keras.layers.LSTM, {}),
    "gru": (keras.layers.GRU, {"reset_after": True}),
    "gru_reset_before": (keras.layers.GRU, {"reset_after": False}),
}
CUDNN = ("lstm", "gru")  # the cells that Keras runs by cuDNN on a GPU
GATED = ("encoder.0.fwd.W_xh", "encoder.0.fwd.W_hh", "encoder.0.fwd.b_h")


def swap(array):
    """Gates r z n as z r n, and back."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


class Network(tf.Module):
    """The model of a task, of Keras layers; ``params`` holds their variables."""

    def __init__(self, model, dtype, cudnn):
        super().__init__()
        self.model = model
        layer, options = LAYERS[model.cell]
        cudnn = cudnn and model.cell in CUDNN
        if model.cell != "rnn":
            # Not "auto", which falls back in silence: True raises where cuDNN cannot serve.
            options = options | {"use_cudnn": cudnn}
        self.kernel = "cuDNN" if cudnn else f"keras.layers.{layer.__name__}, loop over time"
        self.rnn = layer(model.hidden, return_sequences=True, return_state=True, dtype=dtype, **options)
        self.rnn.build((None, None, model.input_width))
        self.head = keras.layers.Dense(model.outputs, dtype=dtype)
        self.head.build((None, model.hidden))
        weights = {
            "encoder.0.fwd.W_xh": self.rnn.cell.kernel,
            "encoder.0.fwd.W_hh": self.rnn.cell.recurrent_kernel,
            "encoder.0.fwd.b_h": self.rnn.cell.bias,
            "head.W_hq": self.head.kernel,
            "head.b_q": self.head.bias,
        }
        if model.inputs == "tokens":
            self.embedding = keras.layers.Embedding(model.vocabulary, model.embedding, dtype=dtype)
            self.embedding.build()
            weights["embed"] = self.embedding.embeddings
        self.params = {name: weight.value for name, weight in weights.items()}

    def __call__(self, inputs, state):
        """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
        xs = self.embedding(inputs) if self.model.inputs == "tokens" else inputs  # [B, T, I]
        hs, *final = self.rnn(xs, initial_state=list(state))
        logits = self.head(hs[:, -1] if self.model.head == "final" else hs)
        return logits, hs, tuple(final)

    def to_canonical(self, named):
        """Arrays under the names of ``params`` (parameters, gradients, moments) as canonical ones."""
        if LAYERS[self.model.cell][0] is not keras.layers.GRU:
            return named
        canonical = {name: swap(a) if name in GATED else a for name, a in named.items()}
        if self.model.cell == "gru":
            b_h, second = named["encoder.0.fwd.b_h"]
            b_hn = second[2 * self.model.hidden :].copy()
            canonical |= {"encoder.0.fwd.b_h": swap(b_h), "encoder.0.fwd.b_hn": b_hn}
        return canonical

    def from_canonical(self, params):
        """What ``params`` are set to for these canonical parameters."""
        if LAYERS[self.model.cell][0] is not keras.layers.GRU:
            return params
        own = {name: swap(a) if name in GATED else a for name, a in params.items()}
        if self.model.cell == "gru":
            second = np.pad(own.pop("encoder.0.fwd.b_hn"), (2 * self.model.hidden, 0))
            own["encoder.0.fwd.b_h"] = np.stack([own["encoder.0.fwd.b_h"], second])
        return own

    def trained(self, grads):
        """The gradients that the optimiser sees: none of a second bias of z and r."""
        if self.model.cell != "gru":
            return grads
        H, b_h = self.model.hidden, grads["encoder.0.fwd.b_h"]  # [2, 3H]
        mask = tf.constant([[1] * 3 * H, [0] * 2 * H + [1] * H], b_h.dtype)
        return grads | {"encoder.0.fwd.b_h": b_h * mask}


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    if keras.backend.backend() != "tensorflow":
        raise Unavailable(
            f"expected Keras on TensorFlow, got Keras on {keras.backend.backend()}. "
            "Set the environment variable KERAS_BACKEND=tensorflow"
        )
    with tf.device(find(device)):
        net = Network(task.model, dtype, cudnn=device == "gpu")
    return training.Trainer(task, dtype, device, net)
