"""Recurrent cells in PyTorch; autograd does the backpropagation through time.

Shapes: x [B, I], h and c [B, H], xs [B, T, I], hs [B, T, H]. Parameters ``p``
of one layer: W_xh [I, G*H], W_hh [H, G*H], b_h [G*H], for ``gru`` b_hn [H].
A cell returns its new state.
"""

import torch
from torch import nn

from suites.interface import Implementation
from suites.spec import BOS, GATES, Task

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


# --- the recurrence over time; ``valid`` [B, T] is False in padding, or None


def unroll(cell, xs, state, p, valid=None, reverse=False):
    """Every h [B, T, H], and the final state.

    In padding a state stays as it is, and h counts as zero.
    """
    xs = xs.unbind(dim=1)  # not xs[:, t]: its gradient is a whole [B, T, I] of zeros per step
    T = len(xs)
    hs = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        new = cell(xs[t], state, p)
        if valid is None:
            state, hs[t] = new, new[0]
        else:
            v = valid[:, t, None]  # [B, 1]
            state = tuple(torch.where(v, after, before) for after, before in zip(new, state, strict=True))
            hs[t] = torch.where(v, new[0], 0)
    return torch.stack(hs, dim=1), state


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
            xs = xs * masks[k - 1] / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            hs, final[at] = unroll(cell, xs, state[at], layer(params, at), valid, reverse=direction == "bwd")
            both.append(hs)
        xs = torch.cat(both, dim=2)  # [B, T, D*H]
    return xs, final


# --- the model: [embedding ->] encoder [-> decoder] -> head


def within(lengths, xs):
    """valid [B, T]: which steps of xs [B, T, ...] are within the lengths [B]; None where all are."""
    if lengths is None:
        return None
    lengths = lengths.to(xs.device, non_blocking=True)
    return torch.arange(xs.shape[1], device=xs.device) < lengths[:, None]


def bridge(params, inputs, model):
    """The first state of a lone decoder: every h = tanh(inputs W_xh + b_h), every c = 0."""
    h = torch.tanh(inputs @ params["bridge.W_xh"] + params["bridge.b_h"])  # [B, H]
    first = (h, torch.zeros_like(h)) if model.cell == "lstm" else (h,)
    return {f"decoder.{k}.fwd": first for k in range(model.layers)}


def handed_over(final):
    """The decoder's first state: the encoder's final one, layer by layer."""
    return {at.replace("encoder", "decoder"): parts for at, parts in final.items()}


def encode(params, batch, state, model):
    """Every h of the encoder's top layer, and its final state."""
    tokens = model.inputs == "tokens"
    xs = nn.functional.embedding(batch.inputs, params["embed"]) if tokens else batch.inputs  # [B, T, I]
    return stack(params, "encoder", xs, state, within(batch.lengths, xs), batch.masks, model)


def decode(params, tokens, state, valid, model):
    """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
    xs = nn.functional.embedding(tokens, params["decoder.embed"])  # [B, S, E]
    return stack(params, "decoder", xs, state, valid, None, model)


def head(params, hidden, final, model):
    """logits [B, O] or [B, T, O]."""
    if model.head == "final":
        at = f"encoder.{model.layers - 1}"
        read = torch.cat([final[f"{at}.{direction}"][0] for direction in model.directions], dim=1)
    else:
        read = hidden["encoder" if model.wiring == "encoder" else "decoder"]
    return read @ params["head.W_hq"] + params["head.b_q"]


def forward(params, batch, state, model, encode=encode, decode=decode, head=head):
    """logits, every h of each stack, and all final states."""
    hidden, final = {}, {}
    if model.wiring != "decoder":
        hidden["encoder"], final = encode(params, batch, state, model)
    if model.wiring != "encoder":
        first = bridge(params, batch.inputs, model) if model.wiring == "decoder" else handed_over(final)
        valid = within(batch.target_lengths, batch.decoder_inputs)
        hidden["decoder"], last = decode(params, batch.decoder_inputs, first, valid, model)
        final = final | last
    return head(params, hidden, final, model), hidden, final


# --- decoding, token by token


def start(params, batch, state, model, encode=encode):
    """The token that is read first [B], and the state that it meets."""
    if model.wiring == "encoder":  # a language model: all of the prompt but its last token
        prompt = batch._replace(inputs=batch.inputs[:, :-1])
        final = encode(params, prompt, state, model)[1] if prompt.inputs.shape[1] else state
        return batch.inputs[:, -1], final
    if model.wiring == "decoder":
        first = bridge(params, batch.inputs, model)
    else:
        first = handed_over(encode(params, batch, state, model)[1])
    return torch.full((len(batch.inputs),), BOS, device=batch.inputs.device), first


def advance(params, tokens, state, model):
    """logits [B, O] after the tokens [B], and the new state."""
    name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
    xs = nn.functional.embedding(tokens, params[embed])[:, None]  # [B, 1, E]
    hs, state = stack(params, name, xs, state, None, None, model)
    return hs[:, 0] @ params["head.W_hq"] + params["head.b_q"], state


# --- the parameters


def weight(*shape):
    """A parameter that waits for ``load``."""
    return nn.Parameter(torch.zeros(shape))


def weights(name, width, model):
    """The parameters of a stack, ``width`` its inputs', nested as their names say."""
    G, H = GATES[model.cell], model.hidden
    layers = nn.ModuleList()
    for k in range(model.layers):
        I = width if k == 0 else len(directions(name, model)) * H  # noqa: E741
        both = nn.ModuleDict()
        for direction in directions(name, model):
            p = {"W_xh": weight(I, G * H), "W_hh": weight(H, G * H), "b_h": weight(G * H)}
            if model.cell == "gru":
                p["b_hn"] = weight(H)
            both[direction] = nn.ParameterDict(p)
        layers.append(both)
    return layers


class Network(nn.Module):
    """The functions above with the parameters of a task; the names of its ``state_dict`` are canonical."""

    def __init__(self, model):
        super().__init__()
        self.model, self.path = model, {"kernel": "loop over time"}
        E, H, O = model.embedding, model.hidden, model.outputs  # noqa: E741
        if model.inputs == "tokens":
            self.embed = weight(model.vocabulary, E)
        if model.wiring == "decoder":
            self.bridge = nn.ParameterDict({"W_xh": weight(model.features, H), "b_h": weight(H)})
        else:
            self.encoder = weights("encoder", model.input_width, model)
        if model.wiring != "encoder":
            self.decoder = weights("decoder", E, model)
            self.decoder.embed = weight(O, E)
        self.head = nn.ParameterDict({"W_hq": weight(model.width, O), "b_q": weight(O)})

    def forward(self, batch, state):
        return forward(dict(self.named_parameters()), batch, state, self.model)

    def start(self, batch, state):
        return start(dict(self.named_parameters()), batch, state, self.model)

    def advance(self, tokens, state):
        return advance(dict(self.named_parameters()), tokens, state, self.model)

    def to_canonical(self, named):
        """Tensors under this module's names, as they are: the names are canonical."""
        return named

    def from_canonical(self, params):
        """The ``state_dict`` of canonical parameters."""
        return params


def build(task: Task, dtype: str, device: str) -> Implementation:
    """See ``suites/interface.py``."""
    return training.Trainer(task, dtype, device, Network(task.model))
