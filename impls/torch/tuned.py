"""The fastest PyTorch that we could write: fused layers where they are right, the rest by hand.

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- On a CPU in float32 an LSTM over sequences of one length is oneDNN's, as in ``native.py``. In training its
  inputs carry the bias: a column of ones, for oneDNN adds up the gradient of a bias in one running sum.
- Everything else is the loop of ``loops.py``, packed by time (``packing.py``): padding costs nothing.
- A small vocabulary is multiplied once: a row of embed @ W_xh + b_h for each token, not for each step.
- The optimiser is one kernel for each parameter. Decoding makes tables, buffers and views once a call.
- On a GPU it is cuDNN's layers in CUDA graphs (``graphs.py``).

Matrices of a stack lie as PyTorch's layers have them: W_xh [G*H, I], W_hh [G*H, H].
"""

import ctypes
import sys
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from suites.interface import Implementation, Unavailable
from suites.spec import Task

from . import graphs, native, scratch, training
from .loops import CELLS, Layer, arranged
from .packing import Packing, whole
from .scratch import directions, layer, weight, within

# A product with so few columns costs no more than with fewer: below it a vocabulary counts as small.
FEW = 16


class Tokens(NamedTuple):
    """A stack's inputs, still to be looked up."""

    tokens: torch.Tensor  # [B, T], or [N] packed
    table: torch.Tensor  # [V, E]


class Looked(torch.autograd.Function):
    """Rows of a small table; the gradient as one product, in place of a sum over rows one by one."""

    @staticmethod
    def forward(ctx, tokens, table):
        ctx.save_for_backward(tokens)
        ctx.rows = len(table)
        return table.index_select(0, tokens)

    @staticmethod
    def backward(ctx, drows):
        (tokens,) = ctx.saved_tensors
        return None, one_hot(tokens, ctx.rows, drows.dtype).t() @ drows


def one_hot(tokens, V, dtype):
    """[N, V] of [N]."""
    return torch.eye(V, dtype=dtype, device=tokens.device).index_select(0, tokens)


# --- one layer in one direction over packed inputs: every h [N, H], and the parts of its final state, sorted


def by_loop(xs, first, p, packing, cell):
    """The loop over time by hand."""
    if isinstance(xs, Tokens):
        a = Looked.apply(xs.tokens, torch.addmm(p["b_h"], xs.table, p["W_xh"].t()))
    else:
        a = torch.addmm(p["b_h"], xs, p["W_xh"].t())
    hs, *final = Layer.apply(CELLS[cell], packing, a, p["W_hh"], p.get("b_hn"), *first)
    return hs, tuple(final)


def by_onednn(xs, first, p, packing):
    """oneDNN's LSTM, its bias a column of the weights: of ones in the inputs, or in each token's own.

    Where no gradient is asked for, the bias of features is oneDNN's.
    """
    B, T = packing.shape
    H, none = first[0].shape[1], torch.zeros_like(p["b_h"])
    train, b_h = torch.is_grad_enabled(), none
    if isinstance(xs, Tokens):
        W = torch.addmm(p["b_h"][:, None], p["W_xh"], xs.table.t())  # [4H, V]
        xs = one_hot(xs.tokens, len(xs.table), W.dtype)
    elif train:
        W = torch.cat([p["W_xh"], p["b_h"][:, None]], dim=1)  # [4H, I + 1]
        xs = torch.cat([xs, xs.new_ones(len(xs), 1)], dim=1)
    else:
        W, b_h = p["W_xh"], p["b_h"]
    hs, h, c, _ = torch.ops.aten.mkldnn_rnn_layer(
        xs.view(T, B, -1),
        W,
        p["W_hh"],
        b_h,
        none,
        *(part.contiguous()[None] for part in first),
        False,
        [],
        LSTM,
        H,
        1,
        b_h is not none,
        False,
        False,
        train,
    )
    return hs.flatten(0, 1), (h[0], c[0])


LSTM = 2  # oneDNN's number of the cell


# --- the stack of layers, its name "encoder" or "decoder"


def embedding(tokens, table):
    """Rows of a table [V, E]; where it is small, to be looked up when it has been multiplied."""
    if len(table) <= max(FEW, table.shape[1]):
        return Tokens(tokens, table)
    return nn.functional.embedding(tokens, table)


def at_once(run, xs, first, p, packing):
    """One layer in one direction over all of its inputs."""
    return run(xs, first, p, packing)


def stack(params, name, xs, state, valid, masks, model, over=at_once):
    """Every h of the top layer [B, T, D*H], and the final state of each layer."""
    packing, final = packed(xs, valid), {}
    xs = Tokens(packing.pack(xs.tokens), xs.table) if isinstance(xs, Tokens) else packing.pack(xs)
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * packing.pack(masks[k - 1]) / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at, back = f"{name}.{k}.{direction}", direction == "bwd"
            p, first = layer(params, at), tuple(packing.sorted(part) for part in state[at])
            run = by_onednn if fused(p["W_hh"], packing, model) else partial(by_loop, cell=model.cell)
            hs, last = over(run, reversed_inputs(xs, packing) if back else xs, first, p, packing)
            final[at] = tuple(packing.unsorted(part) for part in last)
            both.append(packing.reversed(hs) if back else hs)
        xs = torch.cat(both, dim=1) if len(both) > 1 else both[0]  # [N, D*H]
    return packing.unpack(xs), final


def packed(xs, valid):
    """The packing of a stack's inputs."""
    rows = xs.tokens if isinstance(xs, Tokens) else xs
    B, T = rows.shape[:2]
    if valid is None:
        return whole(B, T, rows.device)
    return Packing(valid.sum(dim=1).cpu(), B, T, rows.device)


def reversed_inputs(xs, packing):
    """Inputs, every sequence from its end."""
    if isinstance(xs, Tokens):
        return Tokens(xs.tokens[packing.reverse], xs.table)
    return packing.reversed(xs)


def fused(W, packing, model):
    """Whether oneDNN has this layer."""
    return (
        model.cell == "lstm"
        and packing.whole
        and W.dtype == torch.float32
        and W.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
    )


# --- the model: [embedding ->] encoder [-> decoder] -> head


def encode(params, batch, state, model, stack=stack):
    """Every h of the encoder's top layer, and its final state."""
    tokens = model.inputs == "tokens"
    xs = embedding(batch.inputs, params["embed"]) if tokens else batch.inputs  # [B, T, I]
    valid = within(batch.lengths, batch.inputs)
    return stack(params, "encoder", xs, state, valid, batch.masks, model)


def decode(params, tokens, state, valid, model, stack=stack):
    """Every h of the decoder's top layer over the tokens [B, S], and its final state."""
    return stack(params, "decoder", embedding(tokens, params["decoder.embed"]), state, valid, None, model)


def head(params, hidden, final, model):
    """``scratch.head``; every h lies in memory as [T, B, H], and is read so."""
    if model.head == "every":
        hidden = {name: hs.transpose(0, 1) for name, hs in hidden.items()}
        return scratch.head(params, hidden, final, model).transpose(0, 1)
    return scratch.head(params, hidden, final, model)


# --- decoding, token by token


class Writer:
    """The layers that write, with tables, buffers and views that every token uses again."""

    def __init__(self, params, state, model):
        name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
        B = len(next(iter(state.values()))[0])
        packing = whole(B, 1, params[embed].device)
        self.layers, self.head = [], (params["head.b_q"], params["head.W_hq"])
        for k in range(model.layers):
            at = f"{name}.{k}.fwd"
            p = layer(params, at)
            a = p["b_h"].new_empty(B, len(p["b_h"]))
            cell = CELLS[model.cell](a, state[at], packing)
            self.layers.append(
                (cell, arranged(p["W_hh"], p.get("b_hn"), type(cell)), p["b_h"], p["W_xh"].t())
            )
        p = layer(params, f"{name}.0.fwd")
        self.table = torch.addmm(p["b_h"], params[embed], p["W_xh"].t())  # [V, G*H]

    def write(self, tokens):
        """logits [B, O] after the tokens [B]."""
        h = None
        for cell, p, b_h, W_xh in self.layers:
            if h is None:
                torch.index_select(self.table, 0, tokens, out=cell.a)
            else:
                torch.addmm(b_h, h, W_xh, out=cell.a)
            cell.forward(p)
            for room in cell.rooms:
                room[: cell.B] = room[cell.B :]
            h = cell.rooms[0][: cell.B]
        return torch.addmm(self.head[0], h, self.head[1])


# --- the parameters


class Network(scratch.Network):
    """The model of a task; the names are canonical, the matrices of a stack turned."""

    kernel = "loop over time, packed by time"
    encode, decode = staticmethod(encode), staticmethod(decode)

    def __init__(self, model):
        super().__init__(model)
        self.path = {"kernel": self.kernel}
        for name, w in [*self.named_parameters()]:
            if turned(name):
                at, _, key = name.rpartition(".")
                self.get_submodule(at)[key] = weight(*w.shape[::-1])

    def forward(self, batch, state):
        params = dict(self.named_parameters())
        parts = {"encode": self.encode, "decode": self.decode, "head": head}
        return scratch.forward(params, batch, state, self.model, **parts)

    def start(self, batch, state):
        params = dict(self.named_parameters())
        tokens, state = scratch.start(params, batch, state, self.model, encode=encode)
        return tokens, Writer(params, state, self.model)

    def advance(self, tokens, writer):
        return writer.write(tokens), writer

    def to_canonical(self, named):
        """Tensors under canonical names, the matrices of a stack as [I, G*H]."""
        return {name: value.T if turned(name) else value for name, value in named.items()}

    def from_canonical(self, params):
        """The ``state_dict`` of canonical parameters."""
        return self.to_canonical(params)


def turned(name):
    """Whether a parameter is a matrix of a stack."""
    return name.startswith(("encoder.", "decoder.")) and ".W_" in name


class Trainer(training.Trainer):
    """``training.Trainer`` with parameters, gradients and moments in one array each, and one kernel."""

    def __init__(self, task, dtype, device, net):
        super().__init__(task, dtype, device, net)
        self._whole = nn.Parameter(torch.cat([w.detach().flatten() for w in self.params.values()]))
        for w, part in zip(self.params.values(), self._parts(self._whole.data), strict=True):
            w.data = part

    def load(self, params, carry=None):
        super().load(params, carry)
        self.optimiser = self._optimiser([self._whole], self.training)
        self.optimiser.param_groups[0]["fused"] = True

    def _move(self, loss):
        grads = torch.autograd.grad(loss, [*self.params.values()])
        self._whole.grad = torch.cat([g.flatten() for g in grads])
        training.clip([self._whole.grad], self.training.clip)
        self.optimiser.step()

    def _moments(self, key):
        whole = self.optimiser.state[self._whole].get(key, torch.zeros_like(self._whole))
        return dict(zip(self.params, self._parts(whole), strict=True))

    def _parts(self, whole):
        """Views, each in the shape of its parameter."""
        sizes = [w.numel() for w in self.params.values()]
        return [part.view(w.shape) for part, w in zip(whole.split(sizes), self.params.values(), strict=True)]


def keep_memory():
    """Let glibc keep what is freed, and say whether it does.

    A large array comes from the system a page at a time, and goes back; those of the next step are as large.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return "as the system has it"
    return "kept" if mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, LARGEST) else "not kept"


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1


def build(task: Task, dtype: str, device: str, network=Network) -> Implementation:
    """See ``suites/interface.py``. On a GPU cuDNN's layers are the fastest, as ``native.py`` has them, in
    CUDA graphs (``graphs.py``); in these too the loop of the one cell that cuDNN lacks."""
    recorded = device == "gpu" and network is Network
    if recorded and task.model.cell != "gru_reset_before":
        return graphs.Trainer(task, dtype, device, native.Network(task.model))
    if torch.is_autocast_enabled("cpu" if device == "cpu" else "cuda"):
        raise Unavailable("expected float32 or float64 of the loop by hand, got bf16: ask native for it")
    net = network(task.model)
    if recorded:
        return graphs.Trainer(task, dtype, device, net)
    if device == "cpu":
        net.path["freed memory"] = keep_memory()
    return Trainer(task, dtype, device, net)
