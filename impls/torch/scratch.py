"""Recurrent cells in PyTorch; autograd does the backpropagation through time.

Shapes: x [B, I], h and c [B, H], xs [B, T, I], hs [B, T, H]. Parameters ``p``
of one layer: W_xh [I, G*H], W_hh [H, G*H], b_h [G*H], for ``gru`` b_hn [H].
A cell returns its new state.
"""

import torch
from torch import nn

from suites.interface import Implementation
from suites.spec import GATES, Task

from . import training

# --- rnn: h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h)                      (D2L eq. 9.4.4)


def rnn_cell(x, state, p):
    (h,) = state
    h_new = torch.tanh(x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"])  # [B, H]
    return (h_new,)


# --- lstm: c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)       (D2L eq. 10.1.1 to 10.1.5)


def lstm_cell(x, state, p):
    h, c = state
    a = x @ p["W_xh"] + h @ p["W_hh"] + p["b_h"]  # [B, 4H]
    a_i, a_f, a_g, a_o = torch.chunk(a, 4, dim=1)
    i, f, g, o = torch.sigmoid(a_i), torch.sigmoid(a_f), torch.tanh(a_g), torch.sigmoid(a_o)
    c_new = f * c + i * g  # [B, H]
    h_new = o * torch.tanh(c_new)  # [B, H]
    return (h_new, c_new)


# --- gru: reset after the matrix product, n = tanh(x W_xn + b_n + r (h W_hn + b_hn)),
#     h_t = (1 - z) n + z h_{t-1}                            (Cho et al. 2014; as cuDNN)


def gru_cell(x, state, p):
    (h,) = state
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    a_h = h @ p["W_hh"]  # [B, 3H]
    x_r, x_z, x_n = torch.chunk(a_x, 3, dim=1)
    h_r, h_z, h_n = torch.chunk(a_h, 3, dim=1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * (h_n + p["b_hn"]))
    h_new = (1 - z) * n + z * h  # [B, H]
    return (h_new,)


# --- gru_reset_before: n = tanh(x W_xn + (r h) W_hn + b_n)   (D2L eq. 10.2.1 to 10.2.3)


def gru_reset_before_cell(x, state, p):
    (h,) = state
    H = h.shape[1]
    a_x = x @ p["W_xh"] + p["b_h"]  # [B, 3H]
    x_r, x_z, x_n = torch.chunk(a_x, 3, dim=1)
    h_r, h_z = torch.chunk(h @ p["W_hh"][:, : 2 * H], 2, dim=1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + (r * h) @ p["W_hh"][:, 2 * H :])
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
    """Every h [B, T, H], and the final state."""
    hs = []
    for x in xs.unbind(dim=1):  # not xs[:, t]: its gradient is a whole [B, T, I] of zeros per step
        state = cell(x, state, p)
        hs.append(state[0])
    return torch.stack(hs, dim=1), state


# --- the model: [embedding ->] recurrent layer -> linear head


def weight(*shape):
    """A parameter that waits for ``load``."""
    return nn.Parameter(torch.zeros(shape))


class Network(nn.Module):
    """The model of a task; the names of its ``state_dict`` are the canonical ones."""

    kernel = "loop over time"

    def __init__(self, model):
        super().__init__()
        self.model = model
        G, H, I, O = GATES[model.cell], model.hidden, model.input_width, model.outputs  # noqa: E741
        if model.inputs == "tokens":
            self.embed = weight(model.vocabulary, model.embedding)
        layer = {"W_xh": weight(I, G * H), "W_hh": weight(H, G * H), "b_h": weight(G * H)}
        if model.cell == "gru":
            layer["b_hn"] = weight(H)
        self.encoder = nn.ModuleList([nn.ModuleDict({"fwd": nn.ParameterDict(layer)})])
        self.head = nn.ParameterDict({"W_hq": weight(H, O), "b_q": weight(O)})

    def forward(self, inputs, state):
        """logits [B, O] or [B, T, O], every h [B, T, H], and the final state."""
        tokens = self.model.inputs == "tokens"
        xs = nn.functional.embedding(inputs, self.embed) if tokens else inputs  # [B, T, I]
        cell, p = CELLS[self.model.cell], dict(self.encoder[0]["fwd"].items())
        hs, final = unroll(cell, xs, state, p)
        read = hs[:, -1] if self.model.head == "final" else hs
        logits = read @ self.head["W_hq"] + self.head["b_q"]
        return logits, hs, final

    def to_canonical(self, named):
        """Tensors under this module's names, as they are: the names are canonical."""
        return named

    def from_canonical(self, params):
        """The ``state_dict`` of canonical parameters."""
        return params


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, Network(task.model))
