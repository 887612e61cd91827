"""Loss, clipping, optimisers and the training step in JAX.

The equations are those of ``suites/interface.py``; here optax holds them.
Parameters and gradients are pytrees in whatever form the forward pass takes:
``pack`` makes one from the canonical names, ``unpack`` makes those again.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from suites.interface import Array, Arrays, Batch

from .device import find


def squared_error(logits, targets):
    """Mean of (logits - targets)^2 over all elements."""
    return jnp.mean((logits - targets) ** 2)


def cross_entropy(logits, targets):
    """Mean of -log softmax(logits)[target] in nats."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets))


LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}


def clip(threshold):
    """g * min(1, threshold / ||g||), the norm taken over all parameters (Pascanu et al. 2013)."""
    return optax.clip_by_global_norm(threshold)


def sgd(training):
    """w <- w - lr g."""
    return optax.sgd(training.learning_rate)


def adam(training):
    """Kingma and Ba 2015, algorithm 1; epsilon after the bias correction, outside the root."""
    b1, b2 = training.betas
    return optax.adam(training.learning_rate, b1, b2, eps=training.epsilon, eps_root=0.0)


OPTIMISERS = {"sgd": sgd, "adam": adam}


class Trainer:
    """The contract of ``suites/interface.py``, around a pure forward pass."""

    def __init__(self, task, dtype, device, forward, kernel, pack=dict, unpack=dict):
        jax.config.update("jax_enable_x64", True)
        self.task, self.model, self.training = task, task.model, task.training
        self.dtype = np.dtype(dtype)
        self.device = find(device)
        self.kernel = kernel
        self._pack, self._unpack = pack, unpack
        self._loss = LOSSES[task.model.loss]
        self._optimiser = optax.chain(
            clip(task.training.clip), OPTIMISERS[task.training.optimiser](task.training)
        )
        self._forward = partial(forward, model=task.model)
        self._run = jax.jit(self._forward)
        self._run_objective = jax.jit(self._objective)
        wanted = (0, 1, 2) if task.model.inputs == "features" else (0, 2)
        self._run_gradients = jax.jit(jax.grad(self._objective, wanted, has_aux=True))
        self._run_step = jax.jit(self._train_step, donate_argnums=(0, 1, 2))
        self._run_infer = jax.jit(self._infer)
        self._last = None

    # parameters

    def load(self, params: Arrays, carry: Arrays | None = None) -> None:
        packed = self._pack({name: np.asarray(value, self.dtype) for name, value in params.items()})
        self.params = self._put(packed)
        self.moments = self._put(self._optimiser.init(packed))
        self.steps = 0
        self.state = self._put_zeros() if carry is None else self._state(carry)

    def dump(self) -> Arrays:
        return self._canonical(self.params)

    def dump_optimiser(self) -> Arrays:
        dumped = {"step": np.int64(self.steps)}
        if self.training.optimiser == "adam":
            for moment, key in (("m.", "mu"), ("v.", "nu")):
                tree = optax.tree.get(self.moments, key)
                dumped |= {moment + name: value for name, value in self._canonical(tree).items()}
        return dumped

    def dump_carry(self) -> Arrays:
        return self._named(self.state, "")

    # what is computed

    def forward(self, batch: Batch, carry: Arrays) -> Arrays:
        inputs, _ = self.place(batch)
        logits, hs, final = self._run(self.params, inputs, self._state(carry))
        hidden = {"logits": np.array(logits), "hidden.encoder.0.fwd": np.array(hs)}
        return hidden | self._named(final, "final.")

    def loss(self, batch: Batch, carry: Arrays) -> float:
        inputs, targets = self.place(batch)
        return float(self._run_objective(self.params, inputs, self._state(carry), targets)[0])

    def gradients(self, batch: Batch, carry: Arrays) -> Arrays:
        inputs, targets = self.place(batch)
        found, _ = self._run_gradients(self.params, inputs, self._state(carry), targets)
        grads, *dxs, dstate = found
        named = self._canonical(grads) | self._named(dstate, "carry.")
        return named | {"inputs": np.array(dx) for dx in dxs}

    # what is timed

    def place(self, batch: Batch) -> Any:
        return self._put(self._cast(batch.inputs)), self._put(self._cast(batch.targets))

    def step(self, placed: Any) -> Any:
        self.params, self.moments, self.state, self._last = self._run_step(
            self.params, self.moments, self.state, *placed
        )
        self.steps += 1
        return self._last

    def infer(self, placed: Any) -> Any:
        self._last = self._run_infer(self.params, placed[0])
        return self._last

    def fetch(self, value: Any) -> Array:
        return np.array(value)

    def sync(self) -> None:
        jax.block_until_ready((self.params, self.moments, self.state, self._last))

    def path(self) -> dict[str, str]:
        return {"kernel": self.kernel, "compiled": "jit"}

    # pure functions of their arguments, to be compiled

    def _objective(self, params, inputs, state, targets):
        logits, _, final = self._forward(params, inputs, state)
        return self._loss(logits, targets), final

    def _train_step(self, params, moments, state, inputs, targets):
        start = state if self.training.stateful else self._zero_state(len(inputs))
        value_and_grad = jax.value_and_grad(self._objective, has_aux=True)
        (loss, final), grads = value_and_grad(params, inputs, start, targets)
        updates, moments = self._optimiser.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        return params, moments, final if self.training.stateful else state, loss

    def _infer(self, params, inputs):
        return self._forward(params, inputs, self._zero_state(len(inputs)))[0]

    # helpers

    def _parts(self):
        return ("h", "c") if self.model.cell == "lstm" else ("h",)

    def _zero_state(self, batch):
        return tuple(jnp.zeros((batch, self.model.hidden), self.dtype) for _ in self._parts())

    def _put_zeros(self):
        return tuple(self._put(np.zeros((self.task.batch, self.model.hidden), self.dtype)) for _ in self._parts())

    def _cast(self, array):
        return np.asarray(array, self.dtype) if np.issubdtype(array.dtype, np.floating) else array

    def _put(self, tree):
        return jax.device_put(jax.tree.map(np.array, tree), self.device)

    def _state(self, carry):
        return tuple(self._put(self._cast(carry[f"encoder.0.fwd.{part}"])) for part in self._parts())

    def _canonical(self, tree):
        return self._unpack(jax.tree.map(np.array, tree))

    def _named(self, state, before):
        names = (f"{before}encoder.0.fwd.{part}" for part in self._parts())
        return {name: np.array(part) for name, part in zip(names, state, strict=True)}
