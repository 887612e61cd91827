"""PyTorch's own layers: nn.RNN, nn.LSTM, nn.GRU between nn.Embedding and nn.Linear.

Layout: a weight is [G*H, I] here, so every matrix but the embedding is transposed;
the gates stand in the canonical order (LSTM i f g o, GRU r z n). nn layers carry a
second bias ``bias_hh_l0`` [G*H]. It stays at zero and out of the optimiser, but for
the n block of ``gru``: that is b_hn.
"""

import torch
from torch import nn

from suites.interface import Implementation
from suites.spec import Task

from . import training

LAYERS = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "gru_reset_before": nn.GRU,  # resets after the matrix product: see deviations.toml
}

NAMES = {
    "embedding.weight": "embed",
    "rnn.weight_ih_l0": "encoder.0.fwd.W_xh",
    "rnn.weight_hh_l0": "encoder.0.fwd.W_hh",
    "rnn.bias_ih_l0": "encoder.0.fwd.b_h",
    "rnn.bias_hh_l0": "encoder.0.fwd.b_hn",
    "head.weight": "head.W_hq",
    "head.bias": "head.b_q",
}
TRANSPOSED = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight")


class Network(nn.Module):
    """The model of a task, as PyTorch's users write it."""

    kernel = "aten loop over time"

    def __init__(self, model):
        super().__init__()
        self.model = model
        if model.inputs == "tokens":
            self.embedding = nn.Embedding(model.vocabulary, model.embedding)
        self.rnn = LAYERS[model.cell](model.input_width, model.hidden, batch_first=True)
        self.head = nn.Linear(model.hidden, model.outputs)
        if model.cell == "gru":
            self.rnn.bias_hh_l0.register_hook(lambda grad: self._behind_zeros(self._b_hn(grad)))
        else:
            self.rnn.bias_hh_l0.requires_grad_(False)

    def forward(self, inputs, state):
        """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
        tokens = self.model.inputs == "tokens"
        xs = self.embedding(inputs) if tokens else inputs  # [B, T, I]
        first = tuple(part.unsqueeze(0) for part in state)  # [1, B, H]
        if self.model.cell == "lstm":
            hs, last = self.rnn(xs, first)
        else:
            hs, *last = self.rnn(xs, *first)
        read = hs[:, -1] if self.model.head == "final" else hs
        return self.head(read), hs, tuple(part.squeeze(0) for part in last)

    def to_canonical(self, named):
        """Tensors under this module's names (parameters, gradients, moments) as canonical ones."""
        canonical = {NAMES[own]: value.T if own in TRANSPOSED else value for own, value in named.items()}
        if "encoder.0.fwd.b_hn" in canonical:
            canonical["encoder.0.fwd.b_hn"] = self._b_hn(canonical["encoder.0.fwd.b_hn"])
        return canonical

    def from_canonical(self, params):
        """The ``state_dict`` of canonical parameters."""
        own = {name: params[canonical] for name, canonical in NAMES.items() if canonical in params}
        own |= {name: own[name].T for name in TRANSPOSED}
        if self.model.cell == "gru":
            own["rnn.bias_hh_l0"] = self._behind_zeros(own["rnn.bias_hh_l0"])
        else:
            own["rnn.bias_hh_l0"] = torch.zeros_like(own["rnn.bias_ih_l0"])
        return own

    def _b_hn(self, bias):
        """The n block [H] of a second bias [3H]."""
        return bias[2 * self.model.hidden :]

    def _behind_zeros(self, b_hn):
        """A second bias [3H] of which only the n block [H] is not zero."""
        return nn.functional.pad(b_hn, (2 * self.model.hidden, 0))


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, Network(task.model))
