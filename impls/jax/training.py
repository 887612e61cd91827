"""Loss, clipping, optimisers and the training step in JAX.

The equations are those of ``suites/interface.py``; the optimisers are optax's.
Parameters, gradients and moments are pytrees of the form that the forward pass
takes; ``pack`` makes one of NumPy arrays under the canonical names, ``unpack``
goes back.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .device import find


def squared_error(logits, targets):
    """Mean of (logits - targets)^2 over all elements."""
    return jnp.mean((logits - targets) ** 2)


def cross_entropy(logits, targets):
    """Mean of -log softmax(logits)[target] in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


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
    return optax.adam(training.learning_rate, b1, b2, eps=training.epsilon, eps_root=0)


OPTIMISERS = {"sgd": sgd, "adam": adam}


class Trainer:
    """The contract of ``suites/interface.py``, around a pure forward pass."""

    def __init__(self, task, dtype, device, forward, kernel, pack=dict, unpack=dict):
        # For float32 rows too: their arrays stay float32, but optax computes Adam's
        # 1 - b2^t in JAX's widest float. In float32 that is off by 1.3e-5 at t = 1, and
        # moves parameters in 3 steps by 2.3 times what the parity gate allows (tiny, lr 1e-2).
        jax.config.update("jax_enable_x64", True)
        self.task, self.model, self.training = task, task.model, task.training
        self.device, self.dtype = find(device), np.dtype(dtype)
        self.kernel = kernel
        self._pack, self._unpack = pack, unpack
        self._forward = partial(forward, model=task.model)
        self._loss = LOSSES[task.model.loss]
        update = OPTIMISERS[task.training.optimiser](task.training)
        self._optimiser = optax.chain(clip(task.training.clip), update)
        leaves = (0, 1, 2) if task.model.inputs == "features" else (0, 2)  # tokens have no gradient
        self._run_forward = jax.jit(self._forward)
        self._run_gradients = jax.jit(jax.value_and_grad(self._objective, leaves, has_aux=True))
        self._run_step = jax.jit(self._train_step, donate_argnums=(0, 1, 2))
        self._run_infer = jax.jit(self._infer)
        self._last = None

    # parameters

    def load(self, params, carry=None):
        self.params = self._put(self._pack(params))
        self.moments = self._put(self._optimiser.init(self.params))
        self.steps = 0
        if not self.training.stateful:
            carry = None  # every step starts from zeros
        self.state = self._put(self._zero_state(self.task.batch)) if carry is None else self._state(carry)

    def dump(self):
        return self._canonical(self.params)

    def dump_optimiser(self):
        arrays = {"step": np.int64(self.steps)}
        if self.training.optimiser == "adam":
            for before, key in (("m.", "mu"), ("v.", "nu")):
                moments = self._canonical(optax.tree.get(self.moments, key))
                arrays |= {before + name: value for name, value in moments.items()}
        return arrays

    def dump_carry(self):
        return self._named(self.state, "")

    # what is computed

    def forward(self, batch, carry):
        inputs, _ = self.place(batch)
        logits, hs, final = self._run_forward(self.params, inputs, self._state(carry))
        arrays = {"logits": self.fetch(logits), "hidden.encoder.0.fwd": self.fetch(hs)}
        return arrays | self._named(final, "final.")

    def loss(self, batch, carry):
        loss, _, _, _ = self._value_and_grad(batch, carry)
        return float(loss)

    def gradients(self, batch, carry):
        _, grads, dxs, dstate = self._value_and_grad(batch, carry)
        arrays = self._canonical(grads) | self._named(dstate, "carry.")
        if self.model.inputs == "features":
            arrays["inputs"] = self.fetch(*dxs)
        return arrays

    # what is timed

    def place(self, batch):
        return jax.block_until_ready(self._put((batch.inputs, batch.targets)))

    def step(self, placed):
        inputs, targets = placed
        self.params, self.moments, self.state, loss = self._run_step(
            self.params, self.moments, self.state, inputs, targets
        )
        self.steps += 1
        self._last = loss
        return loss

    def infer(self, placed):
        inputs, _ = placed
        self._last = self._run_infer(self.params, inputs)
        return self._last

    def fetch(self, value):
        return np.array(value)

    def sync(self):
        """A device runs what it is given in order: after the last result nothing is under way."""
        jax.block_until_ready((self.params, self.moments, self.state, self._last))

    def path(self):
        return {"kernel": self.kernel, "compiled": "jit"}

    # pure functions, for jit

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

    def _value_and_grad(self, batch, carry):
        inputs, targets = self.place(batch)
        (loss, _), grads = self._run_gradients(self.params, inputs, self._state(carry), targets)
        dparams, *dxs, dstate = grads
        return loss, dparams, dxs, dstate

    def _parts(self):
        return ("h", "c") if self.model.cell == "lstm" else ("h",)

    def _zero_state(self, batch):
        return tuple(jnp.zeros((batch, self.model.hidden), self.dtype) for _ in self._parts())

    def _state(self, carry):
        return self._put(tuple(carry[f"encoder.0.fwd.{part}"] for part in self._parts()))

    def _named(self, state, before):
        names = (f"{before}encoder.0.fwd.{part}" for part in self._parts())
        return {name: self.fetch(part) for name, part in zip(names, state, strict=True)}

    def _put(self, tree):
        """Copies on the device: floats in the row's dtype, integers as int32.

        device_put commits them to it. The first step would else be compiled for
        uncommitted arrays, and the second once more, for what the first returned.
        """

        def own(value):
            return np.array(value, np.int32 if np.issubdtype(value.dtype, np.integer) else self.dtype)

        return jax.device_put(jax.tree.map(own, tree), self.device)

    def _canonical(self, tree):
        return self._unpack(jax.tree.map(self.fetch, tree))
