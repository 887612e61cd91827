"""The training step of ``tuned.py``: optimiser and decoding compiled by XLA, inference that keeps nothing."""

import tensorflow as tf

from suites.spec import EOS, PAD

from . import training


class Trainer(training.Trainer):
    """``training.Trainer`` around a network whose ``reader`` decodes."""

    def __init__(self, task, dtype, device, net, reader):
        super().__init__(task, dtype, device, net)
        self._reader = reader
        # One pass over each parameter in place of one for each operation. The norm is left outside: XLA adds
        # up in one running sum.
        self._update = tf.function(self._update, jit_compile=True)

    def decode(self, placed, steps, draws=None, temperature=1.0):
        prompt = placed._replace(targets=None, decoder_inputs=None, target_lengths=None, masks=None)
        with tf.device(self.device):
            draws = None if draws is None else tf.constant(draws)  # in float64 for every dtype
            # ``steps`` as a number: XLA compiles for the size of what comes out.
            return self._decode(prompt, int(steps), draws, tf.constant(temperature, tf.float64))

    @tf.function
    def _forward(self, batch, state):
        with tf.device(self.device):
            return self._run(batch, state, keep=False)

    @tf.function
    def _decode(self, batch, steps, draws, temperature):
        with tf.device(self.device):
            token, state = self._start(batch)
            return self._generate(self.net.read(), token, state, steps, draws, temperature)

    @tf.function(jit_compile=True)
    def _generate(self, params, token, state, steps, draws, temperature):
        """Tokens [B, steps], the first of them read from this token and state."""
        B = token.shape[0]
        advance = self._reader(params, self.model, steps * B)
        ended = tf.zeros_like(token, tf.bool)
        tokens = tf.TensorArray(token.dtype, steps, element_shape=(B,))
        for k in tf.range(steps):
            logits, state = advance(token, state)
            logits = tf.cast(logits, self.dtype)
            token = training.choose(logits, None if draws is None else draws[:, k], temperature)
            if self.model.wiring != "encoder":
                token = tf.where(ended, tf.constant(PAD, token.dtype), token)
                ended |= token == EOS
            tokens = tokens.write(k, token)
        return tf.transpose(tokens.stack())
