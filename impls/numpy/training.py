"""Loss, clipping, optimisers and the training step in NumPy.

The equations are those of ``suites/interface.py``. Parameters, gradients and
moments are flat dicts of arrays under the canonical names.
"""

import numpy as np

from suites.interface import Batch, Unavailable
from suites.spec import EOS, PAD


def squared_error(logits, targets, valid=None):
    """Mean of (logits - targets)^2 over all valid elements, and its gradient."""
    error = logits - targets
    return mean(error * error, 2 * error, valid)


def cross_entropy(logits, targets, valid=None):
    """Mean of -log softmax(logits)[target] over all valid elements in nats, and its gradient."""
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(axis=-1, keepdims=True)
    at = targets[..., None]
    picked = np.take_along_axis(shifted, at, axis=-1) - np.log(total)
    dlogits = exp / total
    np.put_along_axis(dlogits, at, np.take_along_axis(dlogits, at, axis=-1) - 1, axis=-1)
    return mean(-picked, dlogits, valid)


def binary_cross_entropy(logits, targets, valid=None):
    """Mean of -t log s(z) - (1 - t) log(1 - s(z)) over all valid elements in nats, and its gradient.

    log(1 + exp(z)) is taken as max(z, 0) + log(1 + exp(-|z|)), which cannot overflow.
    """
    positive = logits.real > 0
    away = np.where(positive, -logits, logits)  # -|z|
    exp = np.exp(away)
    losses = np.where(positive, logits, 0) + np.log1p(exp) - targets * logits
    return mean(losses, np.where(positive, 1, exp) / (1 + exp) - targets, valid)


def mean(losses, dlosses, valid):
    """The mean of losses [B, ..., n] over valid steps [B, ...], and its gradient."""
    if valid is None:
        return losses.mean(), dlosses / losses.size
    valid = valid[..., None]
    count = int(valid.sum()) * losses.shape[-1]  # an int, so that float32 stays
    return np.where(valid, losses, 0).sum() / count, np.where(valid, dlosses, 0) / count


LOSSES = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def choose(logits, u, temperature):
    """The next tokens [B] of logits [B, O]: the likeliest, or by the draws u [B] from the softmax."""
    if u is None:
        return logits.argmax(axis=1)
    exp = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    below = np.cumsum(exp / exp.sum(axis=1, keepdims=True), axis=1) <= u[:, None]
    return np.minimum(below.sum(axis=1), logits.shape[1] - 1)


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

    def __init__(self, task, dtype, device, forward, backward, start, advance):
        if device != "cpu":
            raise Unavailable(f"NumPy runs on the CPU only, not on {device!r}")
        self.task, self.model, self.training = task, task.model, task.training
        self.dtype = np.dtype(dtype)
        self._forward, self._backward = forward, backward
        self._start, self._advance = start, advance
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
        logits, hidden, final, _ = self._forward(self.params, batch, self._state(carry), self.model)
        arrays = {"logits": logits} | {f"hidden.{name}": hs for name, hs in hidden.items()}
        return arrays | self._named(final, "final.")

    def loss(self, batch, carry):
        logits, *_ = self._forward(self.params, batch, self._state(carry), self.model)
        return float(self._loss(logits, batch.targets, self._valid(batch))[0])

    def gradients(self, batch, carry):
        _, grads, dstate, dinputs, _ = self._value_and_grad(batch, self._state(carry))
        if self.model.inputs == "features":
            grads["inputs"] = dinputs
        return grads | self._named(dstate, "carry.")

    # what is timed

    def place(self, batch):
        return Batch._make(None if array is None else array.copy() for array in batch)

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
        return self._forward(self.params, placed._replace(masks=None), state, self.model)[0]

    def decode(self, placed, steps, draws=None, temperature=1.0):
        state = self._zero_state(len(placed.inputs))
        token, state = self._start(self.params, placed._replace(masks=None), state, self.model)
        ended, tokens = np.zeros(len(token), bool), []
        for k in range(steps):
            logits, state = self._advance(self.params, token, state, self.model)
            token = choose(logits, None if draws is None else draws[:, k], temperature)
            if self.model.wiring != "encoder":
                token = np.where(ended, PAD, token)
                ended |= token == EOS
            tokens.append(token)
        return np.stack(tokens, axis=1)

    def fetch(self, value):
        return np.asarray(value)

    def sync(self):
        """NumPy has finished when it returns."""

    def path(self):
        return {"kernel": "loop over time", "compiled": "no"}

    # helpers

    def _value_and_grad(self, batch, state):
        logits, _, final, caches = self._forward(self.params, batch, state, self.model)
        loss, dlogits = self._loss(logits, batch.targets, self._valid(batch))
        grads, dstate, dinputs = self._backward(self.params, batch, caches, dlogits, state, final, self.model)
        return loss, grads, dstate, dinputs, final

    def _valid(self, batch):
        """Which steps [B, T] the loss counts; None for all."""
        if self.model.head == "final":
            return None
        lengths = batch.lengths if self.model.wiring == "encoder" else batch.target_lengths
        return None if lengths is None else np.arange(batch.targets.shape[1]) < lengths[:, None]

    def _layers(self):
        """The names of the layers whose initial state is given."""
        layers = range(0 if self.model.wiring == "decoder" else self.model.layers)
        return [f"encoder.{k}.{direction}" for k in layers for direction in self.model.directions]

    def _zero_state(self, batch=None):
        shape = (batch or self.task.batch, self.model.hidden)
        return {at: tuple(np.zeros(shape, self.dtype) for _ in self.model.parts) for at in self._layers()}

    def _state(self, carry):
        return {
            at: tuple(np.array(carry[f"{at}.{part}"], self.dtype) for part in self.model.parts)
            for at in self._layers()
        }

    def _named(self, state, before):
        return {
            f"{before}{at}.{part}": np.array(value)
            for at, values in state.items()
            for part, value in zip(self.model.parts, values, strict=True)
        }
