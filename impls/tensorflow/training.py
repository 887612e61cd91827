"""Loss, clipping, optimisers and the training step in TensorFlow.

The equations are those of ``suites/interface.py``. Parameters, gradients and
moments are flat dicts under the canonical names; what moves is a ``tf.Variable``,
and a whole training step is one ``tf.function``.
"""

import numpy as np
import tensorflow as tf

from suites.spec import EOS, PAD

from .device import MIXED, find


def squared_error(logits, targets, valid=None):
    """Mean of (logits - targets)^2 over all valid elements."""
    return mean(tf.square(logits - targets), valid)


def cross_entropy(logits, targets, valid=None):
    """Mean of -log softmax(logits)[target] over all valid elements in nats."""
    return mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)[..., None], valid)


def binary_cross_entropy(logits, targets, valid=None):
    """Mean of -t log s(z) - (1 - t) log(1 - s(z)) over all valid elements in nats."""
    return mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), valid)


def mean(losses, valid):
    """The mean of losses [B, ..., n] over valid steps [B, ...]."""
    if valid is None:
        return tf.reduce_mean(losses)
    valid = valid[..., None]
    count = tf.reduce_sum(tf.cast(valid, losses.dtype)) * losses.shape[-1]
    return tf.reduce_sum(tf.where(valid, losses, 0)) / count


LOSSES = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def choose(logits, u, temperature):
    """The next tokens [B] of logits [B, O]: the likeliest, or by the draws u [B] from the softmax."""
    if u is None:
        return tf.argmax(logits, axis=1)
    p = tf.nn.softmax(logits / tf.cast(temperature, logits.dtype))
    below = tf.cast(tf.cumsum(p, axis=1), u.dtype) <= u[:, None]
    return tf.minimum(tf.reduce_sum(tf.cast(below, tf.int64), axis=1), logits.shape[1] - 1)


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


def cast(tree, dtype):
    """Its floats in that dtype."""
    return tf.nest.map_structure(
        lambda x: tf.cast(x, dtype) if tf.is_tensor(x) and x.dtype.is_floating else x, tree
    )


class Trainer:
    """The contract of ``suites/interface.py``, around a network.

    ``net(batch, state)`` returns logits, every h of each stack and all final states, in
    ``net.computes``, the dtype that it asks for its batch and state in too;
    ``net.start`` and ``net.advance`` decode; ``net.params`` are its variables,
    ``net.trained`` the gradients of them that count, and ``net.to_canonical`` and
    ``net.from_canonical`` translate named arrays.
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

    def load(self, params, carry=None):
        own = self.net.from_canonical({name: np.asarray(w, self.dtype) for name, w in params.items()})
        for name, w in self.params.items():
            w.assign(own[name])
        for moment in self.moments.values():
            moment.assign(tf.zeros_like(moment))
        self.steps.assign(0)
        if not self.training.stateful:
            carry = None  # every step starts from zeros
        self.state = self._zero_state() if carry is None else self._state(carry)

    def dump(self):
        return self._canonical(self.params)

    def dump_optimiser(self):
        dumped = {"step": self.fetch(self.steps)}
        for moment in ("m.", "v.") if self.moments else ():
            own = {name: self.moments[moment + name] for name in self.params}
            dumped |= {moment + name: value for name, value in self._canonical(own).items()}
        return dumped

    def dump_carry(self):
        return self._named(self.state, "")

    # what is computed

    def forward(self, batch, carry):
        logits, hidden, final = self._forward(self.place(batch), self._state(carry))
        arrays = {"logits": logits} | {f"hidden.{name}": hs for name, hs in hidden.items()}
        return {name: self.fetch(value) for name, value in arrays.items()} | self._named(final, "final.")

    def loss(self, batch, carry):
        loss, *_ = self._gradients(self.place(batch), self._state(carry))
        return float(loss)

    def gradients(self, batch, carry):
        _, own, dstate, dinputs = self._gradients(self.place(batch), self._state(carry))
        grads = self._canonical(own)
        if self.model.inputs == "features":
            grads["inputs"] = self.fetch(dinputs)
        return grads | self._named(dstate, "carry.")

    # what is timed

    def place(self, batch):
        return tf.nest.map_structure(self._tensor, batch)

    def step(self, placed):
        # Where none is carried, none comes or goes: a call takes time for each tensor.
        loss, final = self._step(placed, self.state if self.training.stateful else None)
        if self.training.stateful:
            self.state = final
        return loss

    def infer(self, placed):
        return self._infer(placed._replace(masks=None))

    def decode(self, placed, steps, draws=None, temperature=1.0):
        prompt = placed._replace(targets=None, decoder_inputs=None, target_lengths=None, masks=None)
        with tf.device(self.device):
            draws = None if draws is None else tf.constant(draws)  # in float64 for every dtype
            # As tensors: each new Python number would be traced anew.
            return self._decode(prompt, tf.constant(steps), draws, tf.constant(temperature, tf.float64))

    def fetch(self, value):
        return np.array(value.numpy())  # a copy: value.numpy() may be a view of TensorFlow's memory

    def sync(self):
        tf.test.experimental.sync_devices()

    def path(self):
        path = {"kernel": self.net.kernel, "compiled": "tf.function"}
        mixed = self.net.computes != self.dtype
        if self.net.kernel == "cuDNN":
            path["batch"] = f"padded, {'with lengths' if self.model.ragged else 'all of one length'}"
            if mixed:  # core/kernels/cudnn_rnn_ops.cc has no kernel of bfloat16, and casts without a word
                path["cuDNN computes in"] = "float32, what comes and goes rounded to bfloat16"
        return path | ({"policy": MIXED} if mixed else {})

    # what is compiled: traced once for each shape, inlined where one calls another

    @tf.function
    def _forward(self, batch, state):
        with tf.device(self.device):
            return self._run(batch, state)

    @tf.function
    def _gradients(self, batch, state):
        features = batch.inputs if self.model.inputs == "features" else []
        with tf.device(self.device):
            loss, grads, (dstate, dinputs), _ = self._value_and_grad(batch, state, [state, features])
            return loss, grads, dstate, dinputs

    @tf.function
    def _step(self, batch, state):
        with tf.device(self.device):
            first = state if self.training.stateful else self._zero_state(batch.inputs.shape[0])
            # Not by way of _gradients, which would be traced once less: a call that is inlined leaves
            # nodes behind, and a step of size tiny took up to 4 % longer.
            loss, grads, _, final = self._value_and_grad(batch, first, [])
            grads = clip(grads, self.training.clip)
            step = self.steps.assign_add(1)
            self._update(self.params, grads, self.moments, step, self.training)
            return loss, final if self.training.stateful else None

    @tf.function
    def _infer(self, batch):
        with tf.device(self.device):
            return self._forward(batch, self._zero_state(batch.inputs.shape[0]))[0]

    @tf.function
    def _decode(self, batch, steps, draws, temperature):
        with tf.device(self.device):
            token, state = self._start(batch)
            ended, tokens = tf.zeros_like(token, tf.bool), tf.TensorArray(token.dtype, steps)
            for k in tf.range(steps):
                logits, state = self.net.advance(token, state)
                logits = tf.cast(logits, self.dtype)
                token = choose(logits, None if draws is None else draws[:, k], temperature)
                if self.model.wiring != "encoder":
                    token = tf.where(ended, tf.constant(PAD, token.dtype), token)
                    ended |= token == EOS
                tokens = tokens.write(k, token)
            return tf.transpose(tokens.stack())

    # helpers

    def _run(self, batch, state, **options):
        """The network, in the dtype that it computes in; its answers in the row's dtype."""
        batch, state = cast((batch, state), self.net.computes)
        return cast(self.net(batch, state, **options), self.dtype)

    def _start(self, batch):
        """The token that is read first [B], and the state that it meets, from zeros."""
        zeros = self._zero_state(batch.inputs.shape[0])
        return self.net.start(*cast((batch, zeros), self.net.computes))

    def _value_and_grad(self, batch, state, watched):
        with tf.GradientTape() as tape:
            tape.watch(watched)
            logits, _, final = self._run(batch, state)
            loss = self._loss(logits, batch.targets, self._valid(batch))
        grads, dwatched = tape.gradient(loss, [self.params, watched])
        # The gradient of an embedding is a list of rows; a token may come more than once.
        grads = {name: tf.convert_to_tensor(g) for name, g in grads.items()}
        return loss, self.net.trained(grads), dwatched, final

    def _valid(self, batch):
        """Which steps [B, T] the loss counts; None for all."""
        if self.model.head == "final":
            return None
        lengths = batch.lengths if self.model.wiring == "encoder" else batch.target_lengths
        if lengths is None:
            return None
        return tf.range(batch.targets.shape[1], dtype=lengths.dtype) < lengths[:, None]

    def _layers(self):
        """The names of the layers whose initial state is given."""
        layers = range(0 if self.model.wiring == "decoder" else self.model.layers)
        return [f"encoder.{k}.{direction}" for k in layers for direction in self.model.directions]

    def _zero_state(self, batch=None):
        shape = (batch or self.task.batch, self.model.hidden)
        with tf.device(self.device):
            return {at: tuple(tf.zeros(shape, self.dtype) for _ in self.model.parts) for at in self._layers()}

    def _state(self, carry):
        return {
            at: tuple(self._tensor(carry[f"{at}.{part}"]) for part in self.model.parts)
            for at in self._layers()
        }

    def _named(self, state, before):
        return {
            f"{before}{at}.{part}": self.fetch(value)
            for at, values in state.items()
            for part, value in zip(self.model.parts, values, strict=True)
        }

    def _canonical(self, own):
        return self.net.to_canonical({name: self.fetch(value) for name, value in own.items()})

    def _tensor(self, array):
        """On the device: floats in the row's dtype, masks as they are, and tokens as int64,
        for int32 tensors stay on the host, even beside a GPU."""
        if array is None:
            return None
        dtype = {"f": self.dtype, "i": np.int64, "b": np.bool_}[array.dtype.kind]
        with tf.device(self.device):
            return tf.constant(array.astype(dtype))
