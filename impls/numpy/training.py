"""Loss, clipping, optimisers and the training step in NumPy.

The equations are those of ``suites/interface.py``. Parameters, gradients and
moments are flat dicts of arrays under the canonical names.
"""

import numpy as np

from suites.interface import Unavailable


def squared_error(logits, targets):
    """Mean of (logits - targets)^2 over all elements, and its gradient."""
    error = logits - targets
    return (error * error).mean(), 2 * error / error.size


def cross_entropy(logits, targets):
    """Mean of -log softmax(logits)[target] in nats, and its gradient."""
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(axis=-1, keepdims=True)
    at = targets[..., None]
    picked = np.take_along_axis(shifted, at, axis=-1) - np.log(total)
    dlogits = exp / total
    np.put_along_axis(dlogits, at, np.take_along_axis(dlogits, at, axis=-1) - 1, axis=-1)
    return -picked.mean(), dlogits / targets.size


LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}


def clip(grads, threshold):
    """g * min(1, threshold / ||g||), the norm taken over all parameters (Pascanu et al. 2013)."""
    norm = np.sqrt(sum((g * g).sum() for g in grads.values()))
    if norm <= threshold:
        return grads
    scale = threshold / norm
    return {name: g * scale for name, g in grads.items()}


def sgd(params, grads, moments, step, training):
    """w <- w - lr g."""
    return {name: w - training.learning_rate * grads[name] for name, w in params.items()}, moments


def adam(params, grads, moments, step, training):
    """Kingma and Ba 2015, algorithm 1; epsilon after the bias correction, outside the root."""
    b1, b2 = training.betas
    lr, eps = training.learning_rate, training.epsilon
    updated, moved = {}, {}
    for name, w in params.items():
        g = grads[name]
        m = b1 * moments["m." + name] + (1 - b1) * g
        v = b2 * moments["v." + name] + (1 - b2) * (g * g)
        m_hat = m / (1 - b1**step)
        v_hat = v / (1 - b2**step)
        updated[name] = w - lr * m_hat / (np.sqrt(v_hat) + eps)
        moved["m." + name], moved["v." + name] = m, v
    return updated, moved


OPTIMISERS = {"sgd": sgd, "adam": adam}


class Trainer:
    """The contract of ``suites/interface.py``, around a forward and a backward pass."""

    def __init__(self, task, dtype, device, forward, backward):
        if device != "cpu":
            raise Unavailable(f"NumPy runs on the CPU only, not on {device!r}")
        self.task, self.model, self.training = task, task.model, task.training
        self.dtype = np.dtype(dtype)
        self._forward, self._backward = forward, backward
        self._loss = LOSSES[task.model.loss]
        self._update = OPTIMISERS[task.training.optimiser]

    # parameters

    def load(self, params, carry=None):
        self.params = {name: np.array(value, self.dtype) for name, value in params.items()}
        self.moments: dict = {}
        if self.training.optimiser == "adam":
            for moment in ("m.", "v."):
                self.moments |= {moment + name: np.zeros_like(w) for name, w in self.params.items()}
        self.steps = 0
        if not self.training.stateful:
            carry = None  # every step starts from zeros
        self.state = self._zero_state() if carry is None else self._state(carry)

    def dump(self):
        return {name: value.copy() for name, value in self.params.items()}

    def dump_optimiser(self):
        return {"step": np.array(self.steps, np.int64)} | {
            name: value.copy() for name, value in self.moments.items()
        }

    def dump_carry(self):
        return self._named(self.state, "")

    # what is computed

    def forward(self, batch, carry):
        logits, hs, final, _ = self._forward(self.params, batch.inputs, self._state(carry), self.model)
        return {"logits": logits, "hidden.encoder.0.fwd": hs} | self._named(final, "final.")

    def loss(self, batch, carry):
        logits, *_ = self._forward(self.params, batch.inputs, self._state(carry), self.model)
        return float(self._loss(logits, batch.targets)[0])

    def gradients(self, batch, carry):
        _, grads, dstate, dxs, _ = self._value_and_grad(batch, self._state(carry))
        if self.model.inputs == "features":
            grads["inputs"] = dxs
        return grads | self._named(dstate, "carry.")

    # what is timed

    def place(self, batch):
        return batch

    def step(self, placed):
        state = self.state if self.training.stateful else self._zero_state(len(placed.inputs))
        loss, grads, _, _, final = self._value_and_grad(placed, state)
        grads = clip(grads, self.training.clip)
        self.steps += 1
        self.params, self.moments = self._update(self.params, grads, self.moments, self.steps, self.training)
        if self.training.stateful:
            self.state = final
        return loss

    def infer(self, placed):
        state = self._zero_state(len(placed.inputs))
        return self._forward(self.params, placed.inputs, state, self.model)[0]

    def fetch(self, value):
        return np.asarray(value)

    def sync(self):
        """NumPy has finished when it returns."""

    def path(self):
        return {"kernel": "loop over time", "compiled": "no"}

    # helpers

    def _value_and_grad(self, batch, state):
        logits, hs, final, caches = self._forward(self.params, batch.inputs, state, self.model)
        loss, dlogits = self._loss(logits, batch.targets)
        grads, dstate, dxs = self._backward(self.params, batch.inputs, hs, caches, dlogits, state, self.model)
        return loss, grads, dstate, dxs, final

    def _parts(self):
        return ("h", "c") if self.model.cell == "lstm" else ("h",)

    def _zero_state(self, batch=None):
        shape = (batch or self.task.batch, self.model.hidden)
        return tuple(np.zeros(shape, self.dtype) for _ in self._parts())

    def _state(self, carry):
        return tuple(np.array(carry[f"encoder.0.fwd.{part}"], self.dtype) for part in self._parts())

    def _named(self, state, before):
        names = (f"{before}encoder.0.fwd.{part}" for part in self._parts())
        return {name: np.array(part) for name, part in zip(names, state, strict=True)}
