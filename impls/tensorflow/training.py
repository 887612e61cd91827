"""Loss, clipping, optimisers and the training step in TensorFlow.

The equations are those of ``suites/interface.py``. Parameters, gradients and
moments are flat dicts under the canonical names; what moves is a ``tf.Variable``,
and a whole training step is one ``tf.function``.
"""

import numpy as np
import tensorflow as tf

from suites.interface import Array, Arrays, Batch

from .device import find


def squared_error(logits, targets):
    """Mean of (logits - targets)^2 over all elements."""
    return tf.reduce_mean(tf.square(logits - targets))


def cross_entropy(logits, targets):
    """Mean of -log softmax(logits)[target] in nats."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))


LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}


def clip(grads, threshold):
    """g * min(1, threshold / ||g||), the norm taken over all parameters (Pascanu et al. 2013).

    ``tf.clip_by_global_norm`` multiplies by threshold * min(1 / ||g||, 1 / threshold):
    a rounding off 1 where clipping is idle.
    """
    norm = tf.linalg.global_norm(list(grads.values()))
    scale = tf.minimum(threshold / norm, 1)
    return {name: g * scale for name, g in grads.items()}


def sgd(params, grads, moments, step, training):
    """w <- w - lr g."""
    for name, w in params.items():
        w.assign_sub(training.learning_rate * grads[name])


def adam(params, grads, moments, step, training):
    """Kingma and Ba 2015, algorithm 1; epsilon after the bias correction, outside the root.

    ``keras.optimizers.Adam`` adds its epsilon before the bias correction.
    """
    b1, b2 = training.betas
    lr, eps = training.learning_rate, training.epsilon
    t = tf.cast(step, tf.float64)  # float32 would lose 1 - b2^t to cancellation
    c1, c2 = 1 - b1**t, 1 - b2**t
    for name, w in params.items():
        g = grads[name]
        m = moments["m." + name].assign(b1 * moments["m." + name] + (1 - b1) * g)
        v = moments["v." + name].assign(b2 * moments["v." + name] + (1 - b2) * (g * g))
        m_hat = m / tf.cast(c1, g.dtype)
        v_hat = v / tf.cast(c2, g.dtype)
        w.assign_sub(lr * m_hat / (tf.sqrt(v_hat) + eps))


OPTIMISERS = {"sgd": sgd, "adam": adam}


class Trainer:
    """The contract of ``suites/interface.py``, around a network.

    ``net(inputs, state)`` returns logits, every h and the final state; ``net.params``
    are its variables, ``net.trained`` the gradients of them that count, and
    ``net.to_canonical`` and ``net.from_canonical`` translate named arrays.
    """

    def __init__(self, task, dtype, device, net):
        self.task, self.model, self.training = task, task.model, task.training
        self.device, self.dtype = find(device), np.dtype(dtype)
        self.net, self.params = net, net.params
        self._loss = LOSSES[task.model.loss]
        self._update = OPTIMISERS[task.training.optimiser]
        self.moments: dict[str, tf.Variable] = {}
        with tf.device(self.device):
            self.steps = tf.Variable(0, dtype=tf.int64)
            for moment in ("m.", "v.") if task.training.optimiser == "adam" else ():
                for name, w in self.params.items():
                    self.moments[moment + name] = tf.Variable(tf.zeros_like(w))

    # parameters

    def load(self, params: Arrays, carry: Arrays | None = None) -> None:
        own = self.net.from_canonical({name: np.asarray(w, self.dtype) for name, w in params.items()})
        for name, w in self.params.items():
            w.assign(own[name])
        for moment in self.moments.values():
            moment.assign(tf.zeros_like(moment))
        self.steps.assign(0)
        if not self.training.stateful:
            carry = None  # every step starts from zeros
        self.state = self._zero_state() if carry is None else self._state(carry)

    def dump(self) -> Arrays:
        return self._canonical(self.params)

    def dump_optimiser(self) -> Arrays:
        dumped = {"step": self.fetch(self.steps)}
        for moment in ("m.", "v.") if self.moments else ():
            own = {name: self.moments[moment + name] for name in self.params}
            dumped |= {moment + name: value for name, value in self._canonical(own).items()}
        return dumped

    def dump_carry(self) -> Arrays:
        return self._named(self.state, "")

    # what is computed

    def forward(self, batch: Batch, carry: Arrays) -> Arrays:
        inputs, _ = self.place(batch)
        logits, hs, final = self._forward(inputs, self._state(carry))
        outputs = {"logits": self.fetch(logits), "hidden.encoder.0.fwd": self.fetch(hs)}
        return outputs | self._named(final, "final.")

    def loss(self, batch: Batch, carry: Arrays) -> float:
        loss, *_ = self._gradients(*self.place(batch), self._state(carry))
        return float(loss)

    def gradients(self, batch: Batch, carry: Arrays) -> Arrays:
        _, own, dstate, dxs = self._gradients(*self.place(batch), self._state(carry))
        grads = self._canonical(own)
        if self.model.inputs == "features":
            grads["inputs"] = self.fetch(dxs[0])
        return grads | self._named(dstate, "carry.")

    # what is timed

    def place(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return self._tensor(batch.inputs), self._tensor(batch.targets)

    def step(self, placed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        loss, final = self._step(*placed, self.state)
        if self.training.stateful:
            self.state = final
        return loss

    def infer(self, placed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return self._infer(placed[0])

    def fetch(self, value: tf.Tensor) -> Array:
        return np.array(value.numpy())  # a copy: value.numpy() may be a view of TensorFlow's memory

    def sync(self) -> None:
        tf.test.experimental.sync_devices()

    def path(self) -> dict[str, str]:
        return {"kernel": self.net.kernel, "compiled": "tf.function"}

    # what is compiled: traced once for each shape, inlined where one calls another

    @tf.function
    def _forward(self, inputs, state):
        with tf.device(self.device):
            return self.net(inputs, state)

    @tf.function
    def _infer(self, inputs):
        with tf.device(self.device):
            return self._forward(inputs, self._zero_state(inputs.shape[0]))[0]

    @tf.function
    def _gradients(self, inputs, targets, state):
        features = [inputs] if self.model.inputs == "features" else []
        with tf.device(self.device):
            loss, grads, (dstate, dxs), _ = self._value_and_grad(inputs, targets, state, [state, features])
            return loss, grads, dstate, dxs

    @tf.function
    def _step(self, inputs, targets, state):
        with tf.device(self.device):
            if not self.training.stateful:
                state = self._zero_state(inputs.shape[0])
            loss, grads, _, final = self._value_and_grad(inputs, targets, state, [])
            grads = clip(grads, self.training.clip)
            step = self.steps.assign_add(1)
            self._update(self.params, grads, self.moments, step, self.training)
            return loss, final

    # helpers

    def _value_and_grad(self, inputs, targets, state, watched):
        with tf.GradientTape() as tape:
            tape.watch(watched)
            logits, _, final = self.net(inputs, state)
            loss = self._loss(logits, targets)
        grads, dwatched = tape.gradient(loss, [self.params, watched])
        # The gradient of an embedding is a list of rows; a token may come more than once.
        grads = {name: tf.convert_to_tensor(g) for name, g in grads.items()}
        return loss, self.net.trained(grads), dwatched, final

    def _parts(self):
        return ("h", "c") if self.model.cell == "lstm" else ("h",)

    def _zero_state(self, batch=None):
        shape = (batch or self.task.batch, self.model.hidden)
        with tf.device(self.device):
            return tuple(tf.zeros(shape, self.dtype) for _ in self._parts())

    def _state(self, carry):
        return tuple(self._tensor(carry[f"encoder.0.fwd.{part}"]) for part in self._parts())

    def _named(self, state, before):
        names = (f"{before}encoder.0.fwd.{part}" for part in self._parts())
        return {name: self.fetch(part) for name, part in zip(names, state, strict=True)}

    def _canonical(self, own):
        return self.net.to_canonical({name: self.fetch(value) for name, value in own.items()})

    def _tensor(self, array):
        """On the device. Tokens as int64: int32 tensors stay on the host, even beside a GPU."""
        dtype = np.int64 if np.issubdtype(array.dtype, np.integer) else self.dtype
        with tf.device(self.device):
            return tf.constant(array.astype(dtype))
