"""What ``tuned.py`` reads: inputs multiplied by W_xh, small embeddings looked up so, and the way back."""

from typing import NamedTuple

import numpy as np

from . import scratch


class Tokens(NamedTuple):
    """Tokens [B, T], or packed [N], and the table [V, E] whose rows they stand for."""

    table: np.ndarray
    tokens: np.ndarray

    @property
    def shape(self):
        """Of the rows."""
        return (*self.tokens.shape, self.table.shape[1])

    def at(self, positions):
        """The tokens at these positions."""
        return self._replace(tokens=self.tokens.reshape(-1)[positions])


class Embedding:
    """A table [V, E]; tokens are not looked up where V rows are few enough."""

    def __init__(self, table):
        self.table = table

    def __getitem__(self, tokens):
        V, E = self.table.shape
        return Tokens(self.table, tokens) if pays(V, E, tokens.size) else self.table[tokens]


def pays(V, E, tokens):
    """Whether V rows are few enough. A token then costs one product with V rows, on the way back; else three
    with E, of which two on the way back, and the adding up of its row's gradient."""
    return min(2 * E, tokens) >= V


def embedded(function):
    """``forward`` or ``start`` of ``scratch.py``, its embeddings as such."""

    def run(params, *given, **named):
        tables = {name: Embedding(params[name]) for name in ("embed", "decoder.embed") if name in params}
        return function(params | tables, *given, **named)

    return run


def read(xs, p, packing, take):
    """W_xh x + b_h step by step, [G*H, n] each, for a step to use before the next; xs [N, I], or tokens."""
    width = len(p["W_xh"])
    if isinstance(xs, Tokens):
        rows = p["W_xh"] @ xs.table.T + p["b_h"]  # [G*H, V]
        return looked_up(rows, packing.columns(xs.tokens), take("looked_up", width * packing.shape[0]))
    a = np.matmul(p["W_xh"], xs.T, out=take("a", width, len(xs)))
    a += p["b_h"]
    return packing.columns(a)


def looked_up(rows, steps, room):
    """The columns that the tokens of each step stand for, where a cache holds them."""
    for tokens in steps:
        a = room[: len(rows) * len(tokens)].reshape(len(rows), len(tokens))
        yield np.take(rows, tokens, axis=1, out=a, mode="clip")  # "raise" would fill a copy first


def read_backward(da, xs, p, wanted):
    """Gradients of W_xh [I, G*H] and b_h, and where ``wanted`` of xs [N, I], or of the table [V, E]."""
    if isinstance(xs, Tokens):
        N, V = len(xs.tokens), len(xs.table)
        one_hot = np.zeros((N, V), da.dtype)
        one_hot[np.arange(N), xs.tokens] = 1
        drows = da @ one_hot  # [G*H, V]
        return {"W_xh": xs.table.T @ drows.T, "b_h": drows.sum(axis=1)}, drows.T @ p["W_xh_T"].T
    return {"W_xh": xs.T @ da.T, "b_h": da.sum(axis=1)}, da.T @ p["W_xh_T"].T if wanted else None


def embed_backward(embed, tokens, dxs):
    """``scratch.embed_backward``, unless the gradient of the table [V, E] has been made."""
    return dxs if dxs.ndim == 2 else scratch.embed_backward(embed, tokens, dxs)
