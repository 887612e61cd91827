"""The recurrent layers of Keras: SimpleRNN, LSTM, GRU, Bidirectional, between Embedding and Dense.

Layout: as the canonical one, but for a GRU, whose gates stand as z r n. With
``reset_after`` its bias is [2, 3H]: row 0 is b_h, and the n block of row 1 is b_hn;
the z and r blocks of row 1, a second bias, stay at zero and out of the optimiser.
"""

import keras
import numpy as np
import tensorflow as tf

from suites.interface import Implementation, Unavailable
from suites.spec import BOS, Task

from . import training
from .device import computes, find, policy
from .scratch import directions, handed_over, within

LAYERS = {
    "rnn": (keras.layers.SimpleRNN, {}),
    "lstm": (keras.layers.LSTM, {}),
    "gru": (keras.layers.GRU, {"reset_after": True}),
    "gru_reset_before": (keras.layers.GRU, {"reset_after": False}),
}
CUDNN = ("lstm", "gru")  # the cells that Keras runs by cuDNN on a GPU


# --- the stack of layers, its name "encoder" or "decoder"


def layers(name, width, model, dtype, cudnn):
    """The layers of a stack, ``width`` its inputs'."""
    make, options = LAYERS[model.cell]
    # Without zero_output_for_mask the last valid h is repeated in padding.
    options = options | {"return_sequences": True, "return_state": True, "zero_output_for_mask": True}
    if model.cell != "rnn":
        # Not "auto", which falls back in silence: True raises where cuDNN cannot serve. Of masks it
        # serves those with padding on the right and no sequence empty, as lengths of 1 to T make them.
        options["use_cudnn"] = cudnn
    made = []
    for _ in range(model.layers):
        rnn = make(model.hidden, dtype=dtype, **options)
        if len(directions(name, model)) == 2:
            rnn = keras.layers.Bidirectional(rnn, dtype=dtype)
        rnn.build((None, None, width))
        made.append(rnn)
        width = model.width
    return made


def cells(rnn):
    """The cells of a layer, which hold its weights: one for each direction."""
    if isinstance(rnn, keras.layers.Bidirectional):
        return rnn.forward_layer.cell, rnn.backward_layer.cell
    return (rnn.cell,)


def stack(rnns, name, xs, state, valid, masks, model):
    """Every h of the top layer [B, T, D*H], and the final state of each layer."""
    final: dict = {}
    parts = len(model.parts)
    for k, rnn in enumerate(rnns):
        if k > 0 and masks is not None:
            xs = xs * tf.cast(masks[k - 1], xs.dtype) / (1 - model.dropout)
        at = [f"{name}.{k}.{direction}" for direction in directions(name, model)]
        first = [part for each in at for part in state[each]]
        xs, *last = rnn(xs, initial_state=first, mask=valid)  # [B, T, D*H]
        final |= {each: tuple(last[i * parts : (i + 1) * parts]) for i, each in enumerate(at)}
    return xs, final


def weights(rnns, name, model):
    """The variables of a stack, by canonical name; the bias of a layer, of one row or two, goes by b_h."""
    found: dict = {}
    for k, rnn in enumerate(rnns):
        for direction, cell in zip(directions(name, model), cells(rnn), strict=True):
            at = f"{name}.{k}.{direction}"
            found |= {f"{at}.W_xh": cell.kernel, f"{at}.W_hh": cell.recurrent_kernel, f"{at}.b_h": cell.bias}
    return found


# --- the model: [embedding ->] encoder [-> decoder] -> head


def embedding(count, model, dtype):
    """A table of ``count`` rows."""
    made = keras.layers.Embedding(count, model.embedding, dtype=dtype)
    made.build()
    return made


def dense(width, outputs, dtype, activation=None):
    """A linear layer, ``width`` its inputs'."""
    made = keras.layers.Dense(outputs, activation, dtype=dtype)
    made.build((None, width))
    return made


class Network(tf.Module):
    """The model of a task, as Keras' users write it; ``params`` holds the variables of its layers."""

    def __init__(self, model, dtype, cudnn):
        super().__init__()
        self.model, self.computes = model, computes(dtype)
        dtype = policy(dtype)
        make, _ = LAYERS[model.cell]
        cudnn = cudnn and model.cell in CUDNN
        self.kernel = "cuDNN" if cudnn else f"keras.layers.{make.__name__}, loop over time"
        found = {}
        if model.inputs == "tokens":
            self.embedding = embedding(model.vocabulary, model, dtype)
            found["embed"] = self.embedding.embeddings
        if model.wiring == "decoder":
            self.bridge = dense(model.features, model.hidden, dtype, "tanh")
            found |= {"bridge.W_xh": self.bridge.kernel, "bridge.b_h": self.bridge.bias}
        else:
            self.encoder = layers("encoder", model.input_width, model, dtype, cudnn)
            found |= weights(self.encoder, "encoder", model)
        if model.wiring != "encoder":
            self.decoder_embedding = embedding(model.outputs, model, dtype)
            self.decoder = layers("decoder", model.embedding, model, dtype, cudnn)
            found["decoder.embed"] = self.decoder_embedding.embeddings
            found |= weights(self.decoder, "decoder", model)
        self.head = dense(model.width, model.outputs, dtype)
        found |= {"head.W_hq": self.head.kernel, "head.b_q": self.head.bias}
        self.params = {name: weight.value for name, weight in found.items()}
        self.recurrent = [name.removesuffix(".W_hh") for name in found if name.endswith(".W_hh")]

    def first(self, inputs):
        """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
        h = self.bridge(inputs)  # [B, H]
        first = (h, tf.zeros_like(h)) if self.model.cell == "lstm" else (h,)
        return {f"decoder.{k}.fwd": first for k in range(self.model.layers)}

    def encode(self, batch, state):
        """Every h of the encoder's top layer, and its final state."""
        xs = self.embedding(batch.inputs) if self.model.inputs == "tokens" else batch.inputs  # [B, T, I]
        valid = within(batch.lengths, xs.shape[1])
        return stack(self.encoder, "encoder", xs, state, valid, batch.masks, self.model)

    def decode(self, tokens, state, valid):
        """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
        xs = self.decoder_embedding(tokens)  # [B, S, E]
        return stack(self.decoder, "decoder", xs, state, valid, None, self.model)

    def __call__(self, batch, state):
        """logits, every h of each stack, and all final states."""
        model, hidden, final = self.model, {}, {}
        if model.wiring != "decoder":
            hidden["encoder"], final = self.encode(batch, state)
        if model.wiring != "encoder":
            first = self.first(batch.inputs) if model.wiring == "decoder" else handed_over(final)
            valid = within(batch.target_lengths, batch.decoder_inputs.shape[1])
            hidden["decoder"], last = self.decode(batch.decoder_inputs, first, valid)
            final = final | last
        if model.head == "final":
            at = f"encoder.{model.layers - 1}"
            read = tf.concat([final[f"{at}.{direction}"][0] for direction in model.directions], axis=1)
        else:
            read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
        return self.head(read), hidden, final

    def start(self, batch, state):
        """The token that is read first [B], and the state that it meets."""
        if self.model.wiring == "encoder":  # a language model: all of the prompt but its last token
            if batch.inputs.shape[1] > 1:  # Keras' layers refuse a sequence of no steps
                _, state = self.encode(batch._replace(inputs=batch.inputs[:, :-1]), state)
            return batch.inputs[:, -1], state
        if self.model.wiring == "decoder":
            first = self.first(batch.inputs)
        else:
            first = handed_over(self.encode(batch, state)[1])
        return tf.fill(batch.inputs.shape[:1], tf.constant(BOS, tf.int64)), first

    def advance(self, tokens, state):
        """logits [B, O] after the tokens [B], and the new state."""
        if self.model.wiring == "encoder":
            xs = self.embedding(tokens)[:, None]  # [B, 1, E]
            hs, state = stack(self.encoder, "encoder", xs, state, None, None, self.model)
        else:
            hs, state = self.decode(tokens[:, None], state, None)
        return self.head(hs[:, 0]), state

    # Keras' arrays and the canonical ones

    def to_canonical(self, named):
        """Arrays under the names of ``params`` (parameters, gradients, moments) as canonical ones."""
        canonical = dict(named)
        for at in self._swapped():
            if self.model.cell == "gru":
                canonical[f"{at}.b_h"], second = named[f"{at}.b_h"]
                canonical[f"{at}.b_hn"] = second[2 * self.model.hidden :].copy()
            canonical |= {name: swap(canonical[name]) for name in gated(at)}
        return canonical

    def from_canonical(self, params):
        """What ``params`` are set to for these canonical parameters."""
        own = dict(params)
        for at in self._swapped():
            own |= {name: swap(own[name]) for name in gated(at)}
            if self.model.cell == "gru":
                second = np.pad(own.pop(f"{at}.b_hn"), (2 * self.model.hidden, 0))
                own[f"{at}.b_h"] = np.stack([own[f"{at}.b_h"], second])
        return own

    def trained(self, grads):
        """The gradients that the optimiser sees: none of a second bias of z and r."""
        if self.model.cell != "gru":
            return grads
        H = self.model.hidden
        mask = np.array([[1] * 3 * H, [0] * 2 * H + [1] * H])
        return grads | {f"{at}.b_h": grads[f"{at}.b_h"] * mask for at in self.recurrent}

    def _swapped(self):
        """The layers whose gates stand in another order here: a GRU's."""
        return self.recurrent if LAYERS[self.model.cell][0] is keras.layers.GRU else []


def gated(at):
    """The names of a layer's arrays that have all gates side by side."""
    return [f"{at}.W_xh", f"{at}.W_hh", f"{at}.b_h"]


def swap(array):
    """Gates r z n as z r n, and back."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


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
