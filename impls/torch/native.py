"""PyTorch's own layers: nn.RNN, nn.LSTM, nn.GRU between nn.Embedding and nn.Linear.

Layout: a weight is [G*H, I] here, so every matrix but an embedding is transposed;
the gates stand in the canonical order (LSTM i f g o, GRU r z n). nn layers carry a
second bias ``bias_hh`` [G*H]. It stays at zero and out of the optimiser, but for
the n block of ``gru``: that is b_hn.

One module runs all layers of a stack, in both directions. Where there is dropout,
each layer is a module of its own: a module of many draws its masks itself, and
lets nothing between its layers. Ragged batches are packed. The state of a module
of n layers is torch's: h [n*D, B, H], or (h, c).
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from suites.interface import Implementation
from suites.spec import BOS, Task

from . import training
from .scratch import directions

LAYERS = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "gru_reset_before": nn.GRU,  # resets after the matrix product: see deviations.toml
}

NAMES = {
    "embedding.weight": "embed",
    "bridge.weight": "bridge.W_xh",
    "bridge.bias": "bridge.b_h",
    "decoder_embedding.weight": "decoder.embed",
    "head.weight": "head.W_hq",
    "head.bias": "head.b_q",
}
LAYER_NAMES = {"weight_ih": "W_xh", "weight_hh": "W_hh", "bias_ih": "b_h", "bias_hh": "b_hn"}


# --- the recurrence over time; ``lengths`` [B] of ragged sequences are on the CPU, or None


def unroll(module, xs, state, lengths):
    """Every h of the module's top layer [B, T, D*H], zero in padding, and its final state.

    On a GPU a ragged batch waits: ``pad_packed_sequence`` copies the order of its rows to the CPU.
    """
    if lengths is None:
        return module(xs, state)
    packed, final = module(pack_padded_sequence(xs, lengths, batch_first=True, enforce_sorted=False), state)
    hs, _ = pad_packed_sequence(packed, batch_first=True, total_length=xs.shape[1])
    return hs, final


# --- the stack of layers, its name "encoder" or "decoder"


def layers(name, width, model):
    """The modules of a stack, ``width`` its inputs'."""
    make, H, D = LAYERS[model.cell], model.hidden, len(directions(name, model))
    if model.dropout == 0:
        return nn.ModuleList([make(width, H, model.layers, batch_first=True, bidirectional=D == 2)])
    widths = [width, *[D * H] * (model.layers - 1)]
    return nn.ModuleList(make(width, H, batch_first=True, bidirectional=D == 2) for width in widths)


def stack(modules, xs, state, lengths, masks, model):
    """Every h of the top layer [B, T, D*H], and the final state of each module."""
    final = []
    for k, module in enumerate(modules):
        if k > 0 and masks is not None:
            xs = xs * masks[k - 1] / (1 - model.dropout)
        xs, last = unroll(module, xs, state[k], lengths)
        final.append(last)
    return xs, final


def joined(state, modules):
    """The state of each module, from that of each layer and direction, in their order."""
    each, n = list(state.values()), len(state) // len(modules)
    first = []
    for i in range(0, len(each), n):
        # of one layer a view: a copy is a kernel more, in each call
        parts = tuple(
            part[0][None] if n == 1 else torch.stack(part) for part in zip(*each[i : i + n], strict=True)
        )  # [n, B, H]
        first.append(parts if len(parts) == 2 else parts[0])
    return first


def parted(name, final, model):
    """The state of each layer and direction, from that of each module."""
    names = [f"{name}.{k}.{direction}" for k in range(model.layers) for direction in directions(name, model)]
    each: list = []
    for last in final:
        parts = last if model.cell == "lstm" else (last,)
        each += zip(*(part.unbind() for part in parts), strict=True)
    return dict(zip(names, each, strict=True))


def canonical(own):
    """The canonical name of a parameter here: encoder.0.bias_ih_l1_reverse is encoder.1.bwd.b_h."""
    if own in NAMES:
        return NAMES[own]
    name, module, weight = own.split(".")
    part, at = weight.split("_l")
    layer, _, reverse = at.partition("_")
    k = int(module) + int(layer)  # one module of all layers, or a module each: one of the two is 0
    return f"{name}.{k}.{'bwd' if reverse else 'fwd'}.{LAYER_NAMES[part]}"


# --- the model: [embedding ->] encoder [-> decoder] -> head


class Network(nn.Module):
    """The model of a task, as PyTorch's users write it."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        E, H, O = model.embedding, model.hidden, model.outputs  # noqa: E741
        if model.inputs == "tokens":
            self.embedding = nn.Embedding(model.vocabulary, E)
        if model.wiring == "decoder":
            self.bridge = nn.Linear(model.features, H)
        else:
            self.encoder = layers("encoder", model.input_width, model)
        if model.wiring != "encoder":
            self.decoder_embedding = nn.Embedding(O, E)
            self.decoder = layers("decoder", E, model)
        self.head = nn.Linear(model.width, O)
        each = "a module each, for dropout's masks" if model.dropout else "one module"
        self.path = {"kernel": "aten loop over time", "layers": each}
        for name, w in self.named_parameters():
            if ".bias_hh" in name and model.cell == "gru":
                w.register_hook(lambda grad: self._behind_zeros(self._b_hn(grad)))
            elif ".bias_hh" in name:
                w.requires_grad_(False)

    def first(self, inputs):
        """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
        h = torch.tanh(self.bridge(inputs))  # [B, H]
        first = (h, torch.zeros_like(h)) if self.model.cell == "lstm" else (h,)
        return joined(dict.fromkeys(range(self.model.layers), first), self.decoder)

    def encode(self, batch, state):
        """Every h of the encoder's top layer, and its final state."""
        xs = self.embedding(batch.inputs) if self.model.inputs == "tokens" else batch.inputs  # [B, T, I]
        return stack(self.encoder, xs, state, batch.lengths, batch.masks, self.model)

    def decode(self, tokens, state, lengths):
        """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
        return stack(self.decoder, self.decoder_embedding(tokens), state, lengths, None, self.model)

    def forward(self, batch, state):
        """logits, every h of each stack, and all final states."""
        model, hidden, final = self.model, {}, {}
        if model.wiring != "decoder":
            hidden["encoder"], last = self.encode(batch, joined(state, self.encoder))
            final = parted("encoder", last, model)
        if model.wiring != "encoder":
            first = self.first(batch.inputs) if model.wiring == "decoder" else last
            hidden["decoder"], last = self.decode(batch.decoder_inputs, first, batch.target_lengths)
            final = final | parted("decoder", last, model)
        if model.head == "final":
            at = f"encoder.{model.layers - 1}"
            read = torch.cat([final[f"{at}.{direction}"][0] for direction in model.directions], dim=1)
        else:
            read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
        return self.head(read), hidden, final

    def start(self, batch, state):
        """The token that is read first [B], and the state of the modules that it meets."""
        if self.model.wiring == "encoder":  # a language model: all of the prompt but its last token
            prompt = batch._replace(inputs=batch.inputs[:, :-1])
            if prompt.inputs.shape[1] == 0:
                return batch.inputs[:, -1], joined(state, self.encoder)
            return batch.inputs[:, -1], self.encode(prompt, joined(state, self.encoder))[1]
        if self.model.wiring == "decoder":
            first = self.first(batch.inputs)
        else:
            first = self.encode(batch, joined(state, self.encoder))[1]
        return torch.full((len(batch.inputs),), BOS, device=batch.inputs.device), first

    def advance(self, tokens, state):
        """logits [B, O] after the tokens [B], and the new state."""
        if self.model.wiring == "encoder":
            modules, embedding = self.encoder, self.embedding
        else:
            modules, embedding = self.decoder, self.decoder_embedding
        hs, state = stack(modules, embedding(tokens)[:, None], state, None, None, self.model)
        return self.head(hs[:, 0]), state

    def to_canonical(self, named):
        """Tensors under this module's names (parameters, gradients, moments) as canonical ones."""
        found = {}
        for own, value in named.items():
            name = canonical(own)
            if ".W_" in name:
                value = value.T
            elif name.endswith(".b_hn"):
                value = self._b_hn(value)
            found[name] = value
        return found

    def from_canonical(self, params):
        """The ``state_dict`` of canonical parameters."""
        found = {}
        for own, w in self.named_parameters():
            name = canonical(own)
            if not w.requires_grad:  # a second bias
                found[own] = torch.zeros_like(w)
            elif ".W_" in name:
                found[own] = params[name].T
            elif name.endswith(".b_hn"):
                found[own] = self._behind_zeros(params[name])
            else:
                found[own] = params[name]
        return found

    def _b_hn(self, bias):
        """The n block [H] of a second bias [3H]."""
        return bias[2 * self.model.hidden :]

    def _behind_zeros(self, b_hn):
        """A second bias [3H] of which only the n block [H] is not zero."""
        return nn.functional.pad(b_hn, (2 * self.model.hidden, 0))


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, Network(task.model))
