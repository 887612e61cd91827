"""The training step of ``tuned.py``: parameters, gradients and moments in one array each."""

from functools import partial

import numpy as np

from . import products, scratch, training


class Trainer(training.Trainer):
    """``training.Trainer`` with clipping and optimiser in place."""

    def __init__(self, task, dtype, device, stack, kernel="loop over time, packed by time"):
        self._stack, self._kernel = stack, kernel
        forward, start, advance = (
            partial(function, stack=self._stack.forward)
            for function in (scratch.forward, scratch.start, scratch.advance)
        )
        if self._stack.tables:
            forward, start = products.embedded(forward), products.embedded(start)
        backward = partial(
            scratch.backward,
            stack_backward=self._stack.backward,
            embed_backward=products.embed_backward,
        )
        super().__init__(task, dtype, device, forward, backward, start, advance)

    def load(self, params, carry=None):
        super().load(params, carry)
        self._stack.forget()
        self._w, self.params = one_array(self.params)
        self._g = np.empty_like(self._w)
        if self.moments:
            names = {before: {before + name: w for name, w in self.params.items()} for before in ("m.", "v.")}
            self._m, m = one_array({name: self.moments[name] for name in names["m."]})
            self._v, v = one_array({name: self.moments[name] for name in names["v."]})
            self.moments = m | v

    def step(self, placed):
        state = self.state if self.training.stateful else self._zero_state(len(placed.inputs))
        self._stack.dinputs = False
        loss, grads, _, _, final = self._value_and_grad(placed, state)
        self._stack.dinputs = True
        np.concatenate([grads[name].ravel() for name in self.params], out=self._g)
        self.steps += 1
        norm = np.sqrt(self._g @ self._g)
        if norm > self.training.clip:
            self._g *= self.training.clip / norm
        if self.training.optimiser == "adam":
            self._adam()
        else:
            self._w -= np.multiply(self._g, self.training.learning_rate, out=self._g)
        self._stack.forget()
        if self.training.stateful:
            self.state = final
        return loss

    def _adam(self):
        """``training.adam``, in place."""
        (b1, b2), lr, eps = self.training.betas, self.training.learning_rate, self.training.epsilon
        g, m, v = self._g, self._m, self._v
        m *= b1
        m += (1 - b1) * g
        v *= b2
        np.multiply(g, g, out=g)
        g *= 1 - b2
        v += g
        root = np.sqrt(np.divide(v, 1 - b2**self.steps, out=g), out=g)
        root += eps
        np.divide(m, root, out=root)
        root *= lr / (1 - b1**self.steps)
        self._w -= root

    def path(self):
        return {"kernel": self._kernel, "compiled": "no"}


def one_array(arrays):
    """One array that holds them all, and each as a view of it."""
    whole = np.concatenate([value.ravel() for value in arrays.values()])
    ends = np.cumsum([value.size for value in arrays.values()])
    parts = np.split(whole, ends[:-1])
    return whole, {
        name: part.reshape(value.shape) for (name, value), part in zip(arrays.items(), parts, strict=True)
    }
