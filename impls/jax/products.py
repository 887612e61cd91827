"""What ``tuned.py`` reads: inputs multiplied by W_xh, small embeddings looked up so; parameters arranged."""

import jax
import jax.numpy as jnp
import numpy as np

HALVED = {  # what the columns of each gate are multiplied by: s(a) = (1 + tanh(a/2)) / 2
    "rnn": (1,),
    "lstm": (0.5, 0.5, 1, 0.5),
    "gru": (0.5, 0.5, 1),
    "gru_reset_before": (0.5, 0.5, 1),
}


class Table:
    """x W_xh + b_h for each row x of an embedding, [V, D*G*H], both directions side by side."""

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, tokens):
        """The rows of tokens [B], or [B, T]; these are laid out by time, as they are read."""
        if tokens.ndim == 1:
            return self.rows[tokens]
        return looked_up(self.rows, tokens.T).swapaxes(0, 1)


@jax.custom_vjp
def looked_up(rows, tokens):
    """The rows [V, G*H] of tokens [T, B]."""
    return rows[tokens]


def looked_up_forward(rows, tokens):
    return rows[tokens], (rows, tokens)


def looked_up_backward(residuals, d):
    """As a product with [T, B, V]: the gradient of a gather adds up rows one by one."""
    rows, tokens = residuals
    return gathered(jax.nn.one_hot(tokens, len(rows), dtype=d.dtype), d), None


@jax.custom_vjp
def product(xs, W):
    """xs [T, B, I] @ W [I, G*H]."""
    return xs @ W


def product_forward(xs, W):
    return xs @ W, (xs, W)


def product_backward(residuals, d):
    xs, W = residuals
    return d @ W.T, gathered(xs, d)


def gathered(xs, d):
    """The gradient of W, where that of xs [T, B, I] @ W is d [T, B, G*H].

    For JAX's own, (d^T @ xs)^T, XLA on a CPU first copies all of d to lay it out the other way.
    """
    return xs.reshape(-1, xs.shape[-1]).T @ d.reshape(-1, d.shape[-1])


looked_up.defvjp(looked_up_forward, looked_up_backward)
product.defvjp(product_forward, product_backward)


def arranged(params, model, tables=True):
    """The parameters, differentiably: those of layers halved; of ``tables``, small embeddings as such."""
    made = dict(params)
    halved = np.repeat(HALVED[model.cell], model.hidden)
    for name, w in params.items():
        if name.endswith((".W_xh", ".W_hh", ".b_h")) and not name.startswith("bridge"):
            made[name] = w * halved.astype(w.dtype)
    for name, stack in (("embed", "encoder"), ("decoder.embed", "decoder")):
        if tables and name in params and pays(*params[name].shape):
            both = [at for at in (f"{stack}.0.fwd", f"{stack}.0.bwd") if f"{at}.W_xh" in made]
            W_xh, b_h = (
                jnp.concatenate([made[f"{at}.{key}"] for at in both], axis=-1) for key in ("W_xh", "b_h")
            )
            made[name] = Table(params[name] @ W_xh + b_h)
    return made


def pays(V, E):
    """Whether V rows are few enough. A token then costs one product with V rows, on the way back; else three
    with E, of which two on the way back, and the adding up of its row's gradient."""
    return V <= 2 * E
