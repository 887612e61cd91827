"""flax.linen's own layers: nn.RNN around a cell, nn.Bidirectional, nn.Embed, nn.Dense.

Layout: linen has one kernel [I, H] or [H, H] per gate and source, ``ii`` for the
input's part of gate i, ``hi`` for the state's. One of the two has the gate's bias,
none has a second. The carry of an LSTM is (c, h).
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from suites.interface import Implementation
from suites.spec import BOS, Model, Task

from . import training
from .scratch import directions, handed_over, layer, within

CELLS = {
    "rnn": nn.SimpleCell,
    # What linen recommends over LSTMCell up to about 2048 units: one product for all gates.
    "lstm": nn.OptimizedLSTMCell,
    "gru": nn.GRUCell,
    "gru_reset_before": nn.GRUCell,  # resets after the matrix product: see deviations.toml
}

GATES = {"rnn": ("",), "lstm": tuple("ifgo"), "gru": tuple("rzn"), "gru_reset_before": tuple("rzn")}
BIASED = {"rnn": "i", "lstm": "h", "gru": "i", "gru_reset_before": "i"}  # whose part b_h is in

NAMES = {  # of what is no cell's: linen's module and its parameter
    "embed": ("embed", "embedding"),
    "bridge.W_xh": ("bridge", "kernel"),
    "bridge.b_h": ("bridge", "bias"),
    "decoder.embed": ("decoder_embed", "embedding"),
    "head.W_hq": ("head", "kernel"),
    "head.b_q": ("head", "bias"),
}


# --- the stack of layers, its name "encoder" or "decoder"


class Stack(nn.Module):
    """Its layers; the parameters of a cell are under ``k.fwd`` or ``k.bwd``."""

    model: Model

    @nn.compact
    def __call__(self, xs, state, lengths=None, masks=None):
        """Every h of the top layer [B, T, D*H], and the final state of each layer."""
        model, final = self.model, {}
        for k in range(model.layers):
            if k > 0 and masks is not None:
                xs = xs * masks[k - 1] / (1 - model.dropout)
            names = [f"{k}.{direction}" for direction in directions(self.name, model)]
            rnns = [nn.RNN(CELLS[model.cell](model.hidden, name=name), return_carry=True) for name in names]
            first = [to_carry(state[f"{self.name}.{name}"]) for name in names]
            if len(rnns) == 1:
                carry, xs = rnns[0](xs, initial_carry=first[0], seq_lengths=lengths)
                last = [carry]
            else:
                both = nn.Bidirectional(*rnns, return_carry=True)
                last, xs = both(xs, initial_carry=first, seq_lengths=lengths)
            for name, carry in zip(names, last, strict=True):
                final[f"{self.name}.{name}"] = from_carry(carry)
        if lengths is not None:  # in padding linen leaves what it computed there
            xs = jnp.where(within(lengths, xs.shape[1])[..., None], xs, 0)
        return xs, final


def to_carry(parts):
    """Linen's carry of a state: h, or (c, h)."""
    return parts[0] if len(parts) == 1 else parts[::-1]


def from_carry(carry):
    """The state of linen's carry: (h,), or (h, c)."""
    return carry[::-1] if isinstance(carry, tuple) else (carry,)


# --- the model: [embedding ->] encoder [-> decoder] -> head


class Network(nn.Module):
    """The model of a task, as Flax's users write it."""

    model: Model

    def setup(self):
        model = self.model
        if model.inputs == "tokens":
            self.embed = nn.Embed(model.vocabulary, model.embedding)
        if model.wiring == "decoder":
            self.bridge = nn.Dense(model.hidden)
        else:
            self.encoder = Stack(model)
        if model.wiring != "encoder":
            self.decoder_embed = nn.Embed(model.outputs, model.embedding)
            self.decoder = Stack(model)
        self.head = nn.Dense(model.outputs)

    def first(self, inputs):
        """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
        h = nn.tanh(self.bridge(inputs))  # [B, H]
        first = (h, jnp.zeros_like(h)) if self.model.cell == "lstm" else (h,)
        return {f"decoder.{k}.fwd": first for k in range(self.model.layers)}

    def encode(self, batch, state):
        """Every h of the encoder's top layer, and its final state."""
        xs = self.embed(batch.inputs) if self.model.inputs == "tokens" else batch.inputs  # [B, T, I]
        return self.encoder(xs, state, batch.lengths, batch.masks)

    def decode(self, tokens, state, lengths):
        """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
        return self.decoder(self.decoder_embed(tokens), state, lengths)

    def __call__(self, batch, state):
        """logits, every h of each stack, and all final states."""
        model, hidden, final = self.model, {}, {}
        if model.wiring != "decoder":
            hidden["encoder"], final = self.encode(batch, state)
        if model.wiring != "encoder":
            first = self.first(batch.inputs) if model.wiring == "decoder" else handed_over(final)
            hidden["decoder"], last = self.decode(batch.decoder_inputs, first, batch.target_lengths)
            final = final | last
        if model.head == "final":
            at = f"encoder.{model.layers - 1}"
            read = jnp.concatenate([final[f"{at}.{direction}"][0] for direction in model.directions], axis=1)
        else:
            read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
        return self.head(read), hidden, final

    def start(self, batch, state):
        """The token that is read first [B], and the state that it meets."""
        if self.model.wiring == "encoder":  # a language model: all of the prompt but its last token
            _, final = self.encode(batch._replace(inputs=batch.inputs[:, :-1]), state)
            return batch.inputs[:, -1], final
        if self.model.wiring == "decoder":
            first = self.first(batch.inputs)
        else:
            first = handed_over(self.encode(batch, state)[1])
        return jnp.full(len(batch.inputs), BOS, jnp.int32), first

    def advance(self, tokens, state):
        """logits [B, O] after the tokens [B], and the new state."""
        if self.model.wiring == "encoder":
            hs, state = self.encoder(self.embed(tokens)[:, None], state)
        else:
            hs, state = self.decoder(self.decoder_embed(tokens)[:, None], state)
        return self.head(hs[:, 0]), state


def call(method, params, *inputs, model):
    """A method of the network with these parameters."""
    if model.cell == "gru_reset_before":
        params = with_zero_b_hn(params)
    return Network(model).apply({"params": params}, *inputs, method=method)


def with_zero_b_hn(params):
    """GRUCell always has a b_hn: here it is a constant, in no tree of parameters."""

    def fill(cell):
        zero = jnp.zeros_like(cell["in"]["bias"])
        return cell | {"hn": cell["hn"] | {"bias": zero}}

    stacks = {
        name: {at: fill(cell) for at, cell in params[name].items()}
        for name in ("encoder", "decoder")
        if name in params
    }
    return params | stacks


# --- the parameters


def pack(params, model):
    """Linen's tree of canonical parameters."""
    packed: dict = {}
    for name, (module, own) in NAMES.items():
        if name in params:
            packed.setdefault(module, {})[own] = params[name]
    for name in params:
        if name.endswith(".W_hh"):
            at = name.removesuffix(".W_hh")
            stack, _, within_stack = at.partition(".")
            packed.setdefault(stack, {})[within_stack] = pack_cell(layer(params, at), model.cell)
    return packed


def unpack(packed, model):
    """Canonical parameters of linen's tree."""
    params = {name: packed[module][own] for name, (module, own) in NAMES.items() if module in packed}
    for stack in ("encoder", "decoder"):
        for at, cell in packed.get(stack, {}).items():
            params |= {f"{stack}.{at}.{name}": w for name, w in unpack_cell(cell, model.cell).items()}
    return params


def pack_cell(p, kind):
    """Linen's parameters of one layer in one direction."""
    gates = GATES[kind]
    cell: dict = {}
    for source, name in (("i", "W_xh"), ("h", "W_hh")):
        kernels = np.split(p[name], len(gates), axis=1)
        cell |= {source + gate: {"kernel": W} for gate, W in zip(gates, kernels, strict=True)}
    for gate, b in zip(gates, np.split(p["b_h"], len(gates)), strict=True):
        cell[BIASED[kind] + gate]["bias"] = b
    if kind == "gru":
        cell["hn"]["bias"] = p["b_hn"]
    return cell


def unpack_cell(cell, kind):
    """The canonical parameters of one layer in one direction."""
    gates = GATES[kind]
    p = {
        "W_xh": np.concatenate([cell["i" + gate]["kernel"] for gate in gates], axis=1),
        "W_hh": np.concatenate([cell["h" + gate]["kernel"] for gate in gates], axis=1),
        "b_h": np.concatenate([cell[BIASED[kind] + gate]["bias"] for gate in gates]),
    }
    if kind == "gru":
        p["b_hn"] = cell["hn"]["bias"]
    return p


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    kernel = f"linen.RNN({CELLS[task.model.cell].__name__})"
    forward, start, advance = (partial(call, method) for method in ("__call__", "start", "advance"))
    translate = partial(pack, model=task.model), partial(unpack, model=task.model)
    return training.Trainer(task, dtype, device, forward, start, advance, kernel, *translate)
