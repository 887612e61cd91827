"""Loss, clipping, optimisers and the training step in JAX.

The equations are those of ``suites/interface.py``; the optimisers are optax's.
Parameters, gradients and moments are pytrees of the form that the forward pass
takes; ``pack`` makes one of NumPy arrays under the canonical names, ``unpack``
goes back. A batch is a pytree too: what it does not have is None, and has no leaf.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from suites.spec import EOS, PAD

from .device import find


def squared_error(logits, targets, valid=None):
    """Mean of (logits - targets)^2 over all valid elements."""
    return mean((logits - targets) ** 2, valid)


def cross_entropy(logits, targets, valid=None):
    """Mean of -log softmax(logits)[target] over all valid elements in nats."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return mean(losses[..., None], valid)


def binary_cross_entropy(logits, targets, valid=None):
    """Mean of -t log s(z) - (1 - t) log(1 - s(z)) over all valid elements in nats."""
    return mean(optax.sigmoid_binary_cross_entropy(logits, targets), valid)


def mean(losses, valid):
    """The mean of losses [B, ..., n] over valid steps [B, ...]."""
    return losses.mean(where=None if valid is None else valid[..., None])


LOSSES = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def choose(logits, u, temperature):
    """The next tokens [B] of logits [B, O]: the likeliest, or by the draws u [B] from the softmax."""
    if u is None:
        return logits.argmax(axis=1).astype(jnp.int32)
    below = jnp.cumsum(jax.nn.softmax(logits / temperature, axis=1), axis=1) <= u[:, None]
    return jnp.minimum(below.sum(axis=1), logits.shape[1] - 1).astype(jnp.int32)


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

    def __init__(self, task, dtype, device, forward, start, advance, kernel, pack=dict, unpack=dict):
        # For float32 rows too: their arrays stay float32, but optax computes Adam's
        # 1 - b2^t in JAX's widest float. In float32 that is off by 1.3e-5 at t = 1, and
        # moves parameters in 3 steps by 1.2 times what the parity gate allows (tiny, lr 1e-2).
        jax.config.update("jax_enable_x64", True)
        self.task, self.model, self.training = task, task.model, task.training
        self.device, self.dtype = find(device), np.dtype(dtype)
        self.kernel = kernel
        self._pack, self._unpack = pack, unpack
        self._forward = partial(forward, model=task.model)
        self._start = partial(start, model=task.model)
        self._advance = partial(advance, model=task.model)
        self._loss = LOSSES[task.model.loss]
        update = OPTIMISERS[task.training.optimiser](task.training)
        self._optimiser = optax.chain(clip(task.training.clip), update)
        leaves = (0, 1, 2) if task.model.inputs == "features" else (0, 1)  # tokens have no gradient
        self._run_forward = jax.jit(self._forward)
        self._run_gradients = jax.jit(jax.value_and_grad(self._objective, leaves, has_aux=True))
        self._run_step = jax.jit(self._train_step, donate_argnums=(0, 1, 2))
        self._run_infer = jax.jit(self._infer)
        self._run_decode = jax.jit(self._decode, static_argnames="steps")
        self._last = None

    # parameters

    def load(self, params, carry=None):
        self.params = self._put(self._pack(params))
        self.moments = self._put(self._optimiser.init(self.params))
        self.steps = 0
        if not self.training.stateful:
            carry = None  # every step starts from zeros
        self.state = self._put(self._zero_state()) if carry is None else self._state(carry)

    def dump(self):
        return self._canonical(self.params)

    def dump_optimiser(self):
        arrays = {"step": np.array(self.steps, np.int64)}
        if self.training.optimiser == "adam":
            for before, key in (("m.", "mu"), ("v.", "nu")):
                moments = self._canonical(optax.tree.get(self.moments, key))
                arrays |= {before + name: value for name, value in moments.items()}
        return arrays

    def dump_carry(self):
        return self._named(self.state, "")

    # what is computed

    def forward(self, batch, carry):
        logits, hidden, final = self._run_forward(self.params, self.place(batch), self._state(carry))
        arrays = {"logits": logits} | {f"hidden.{name}": hs for name, hs in hidden.items()}
        return jax.tree.map(self.fetch, arrays) | self._named(final, "final.")

    def loss(self, batch, carry):
        loss, _, _, _ = self._value_and_grad(batch, carry)
        return float(loss)

    def gradients(self, batch, carry):
        _, grads, dstate, dinputs = self._value_and_grad(batch, carry)
        arrays = self._canonical(grads) | self._named(dstate, "carry.")
        if self.model.inputs == "features":
            arrays["inputs"] = self.fetch(*dinputs)
        return arrays

    # what is timed

    def place(self, batch):
        return jax.block_until_ready(self._put(batch))

    def step(self, placed):
        self.params, self.moments, self.state, loss = self._run_step(
            self.params, self.moments, self.state, placed
        )
        self.steps += 1
        self._last = loss
        return loss

    def infer(self, placed):
        self._last = self._run_infer(self.params, placed._replace(masks=None))
        return self._last

    def decode(self, placed, steps, draws=None, temperature=1.0):
        if draws is not None:
            draws = jax.device_put(np.array(draws), self.device)  # in float64 for every dtype
        prompt = placed._replace(targets=None, decoder_inputs=None, target_lengths=None, masks=None)
        self._last = self._run_decode(self.params, prompt, steps, draws, temperature)
        return self._last

    def fetch(self, value):
        return np.array(value)

    def sync(self):
        """A device runs what it is given in order: after the last result nothing is under way."""
        jax.block_until_ready((self.params, self.moments, self.state, self._last))

    def path(self):
        path = {"kernel": self.kernel, "compiled": "jit"}
        if self.kernel == "cuDNN":
            path["batch"] = f"padded, {'with lengths' if self.model.ragged else 'all of one length'}"
        return path

    # pure functions, for jit

    def _objective(self, params, state, inputs, batch):
        logits, _, final = self._forward(params, batch._replace(inputs=inputs), state)
        return self._loss(logits, batch.targets, self._valid(batch)), final

    def _train_step(self, params, moments, state, batch):
        first = state if self.training.stateful else self._zero_state(len(batch.inputs))
        value_and_grad = jax.value_and_grad(self._objective, has_aux=True)
        (loss, final), grads = value_and_grad(params, first, batch.inputs, batch)
        updates, moments = self._optimiser.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        return params, moments, final if self.training.stateful else state, loss

    def _infer(self, params, batch):
        return self._forward(params, batch, self._zero_state(len(batch.inputs)))[0]

    def _decode(self, params, batch, steps, draws, temperature):
        token, state = self._start(params, batch, self._zero_state(len(batch.inputs)))

        def step(before, u):
            token, state, ended = before
            logits, state = self._advance(params, token, state)
            token = choose(logits, u, temperature)
            if self.model.wiring != "encoder":
                token = jnp.where(ended, PAD, token)
                ended |= token == EOS
            return (token, state, ended), token

        first = (token, state, jnp.zeros(len(token), bool))
        _, tokens = jax.lax.scan(step, first, None if draws is None else draws.T, length=steps)
        return tokens.T  # [B, steps]

    # helpers

    def _value_and_grad(self, batch, carry):
        placed = self.place(batch)
        (loss, _), grads = self._run_gradients(self.params, self._state(carry), placed.inputs, placed)
        dparams, dstate, *dinputs = grads
        return loss, dparams, dstate, dinputs

    def _valid(self, batch):
        """Which steps [B, T] the loss counts; None for all."""
        if self.model.head == "final":
            return None
        lengths = batch.lengths if self.model.wiring == "encoder" else batch.target_lengths
        return None if lengths is None else jnp.arange(batch.targets.shape[1]) < lengths[:, None]

    def _layers(self):
        """The names of the layers whose initial state is given."""
        layers = range(0 if self.model.wiring == "decoder" else self.model.layers)
        return [f"encoder.{k}.{direction}" for k in layers for direction in self.model.directions]

    def _zero_state(self, batch=None):
        shape = (batch or self.task.batch, self.model.hidden)
        return {at: tuple(jnp.zeros(shape, self.dtype) for _ in self.model.parts) for at in self._layers()}

    def _state(self, carry):
        return self._put(
            {at: tuple(carry[f"{at}.{part}"] for part in self.model.parts) for at in self._layers()}
        )

    def _named(self, state, before):
        return {
            f"{before}{at}.{part}": self.fetch(value)
            for at, values in state.items()
            for part, value in zip(self.model.parts, values, strict=True)
        }

    def _put(self, tree):
        """Copies on the device: floats in the row's dtype, tokens and lengths as int32, masks as they are.

        device_put commits them to it. The first step would else be compiled for
        uncommitted arrays, and the second once more, for what the first returned.
        """
        dtypes = {"f": self.dtype, "i": np.int32, "b": np.bool_}
        own = jax.tree.map(lambda value: np.array(value, dtypes[value.dtype.kind]), tree)
        return jax.device_put(own, self.device)

    def _canonical(self, tree):
        return self._unpack(jax.tree.map(self.fetch, tree))
