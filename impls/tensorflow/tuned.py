"""The fastest TensorFlow that we could write: loops over time compiled by XLA, with a backward pass by hand.

What is saved over ``scratch.py``, and why (``TUNED.md`` has what each gave):

- XLA compiles the loop forward and the loop back, and fuses what is elementwise: TensorFlow's own executor
  takes a few microseconds for each operation of each step.
- All steps at once, outside the loops: the product with the inputs and that for each weight's gradient, one
  each (``tf.custom_gradient``). A step forward keeps what the way back multiplies by, where a was; a step
  back writes da, the gradient of a, and no more.
- Of tokens, x_t W_xh + b_h is taken once for each of the vocabulary where that is less than for each step
  (``products.py``).
- s(a) = (1 + tanh(a/2)) / 2: with the weights of the sigmoid gates halved (exactly), one ``tanh`` serves all
  gates.
- Inference keeps nothing for a way back; decoding is one loop in XLA (``compiled.py``).

Sequences stand time first, [T, B, .], so that a step is a run of memory.
"""

import tensorflow as tf

from suites.interface import Implementation
from suites.spec import BOS, Task

from . import scratch
from .compiled import Trainer
from .device import find
from .loops import CELLS
from .products import Tokens, added_up, arranged, flat, read
from .scratch import bridge, directions, handed_over, head, layer

# --- the recurrence over time; beyond ``lengths`` [B], where there are any, a state stays as it is. The loops
#     take all T steps: for as many as the longest sequence has, XLA would compile anew for each other number.

# Of a whole step of these XLA makes one kernel on a CPU, which LLVM does not vectorise where it looks up a[t]
# itself: where nothing is kept a[t] comes with the state. Other steps are several kernels.
AHEAD = ("gru",)


@tf.function(jit_compile=True)
def unroll(name, a, tokens, state, p, lengths, reverse, keep, rounded):
    """Every h [T + 1, B, H] with the first among them, the final state, and what the way back reads: what
    took the place of a [T, B, G*H], and others [T, B, H]. ``rounded`` is not read: it tells calls apart that
    XLA compiles differently."""
    cell, (B, H) = CELLS[name], state[0].shape
    T = (a if tokens is None else tokens).shape[0]
    if name in AHEAD and not keep:
        return unroll_ahead(cell, a, tokens, state, p, lengths, reverse)
    hs, start = array(a.dtype, T + 1, B, H), T if reverse else 0
    hs = hs.write(start, state[0])
    over = array(a.dtype, T, B, a.shape[-1])
    over = over.unstack(a) if tokens is None else over
    kept = tuple(array(a.dtype, T, B, H) for _ in range(cell.kept if keep else 0))
    for t in tf.range(T - 1, -1, -1) if reverse else tf.range(T):
        a_t = over.read(t) if tokens is None else tf.gather(a, tokens[t])
        state, over_t, kept_t = step(cell, a_t, state, p, within(lengths, t))
        hs = hs.write(t if reverse else t + 1, state[0])
        if keep:
            over = over.write(t, over_t)
            kept = tuple(every.write(t, part) for every, part in zip(kept, kept_t, strict=True))
    residuals = (over.stack(), *(every.stack() for every in kept)) if keep else ()
    return hs.stack(), state, residuals


def unroll_ahead(cell, a, tokens, state, p, lengths, reverse):
    """``unroll`` that keeps nothing; each a_t is read in the step before."""
    T, (B, H) = (a if tokens is None else tokens).shape[0], state[0].shape
    start, end, by = (T - 1, 0, -1) if reverse else (0, T - 1, 1)
    hs = array(a.dtype, T + 1, B, H).write(T if reverse else 0, state[0])
    a_t = a[start] if tokens is None else tf.gather(a, tokens[start])
    for t in tf.range(start, end + by, by):
        state, _, _ = step(cell, a_t, state, p, within(lengths, t))
        hs = hs.write(t if reverse else t + 1, state[0])
        after = tf.clip_by_value(t + by, 0, T - 1)
        a_t = a[after] if tokens is None else tf.gather(a, tokens[after])
    return hs.stack(), state, ()


def step(cell, a, state, p, valid):
    """One step: the state stays as it is where not ``valid`` [B, 1]."""
    new, over, kept = cell.forward(a, state, p)
    if valid is not None:
        new = tuple(tf.where(valid, after, before) for after, before in zip(new, state, strict=True))
    return new, over, kept


@tf.function(jit_compile=True)
def unroll_backward(name, dhs, dstate, residuals, p, lengths, reverse, rounded):
    """The gradients of a [T, B, G*H] and of the first state; p is transposed."""
    cell, (over, *kept), (T, B, _) = CELLS[name], residuals, dhs.shape
    das = array(dhs.dtype, T, B, over.shape[2])
    for t in tf.range(T) if reverse else tf.range(T - 1, -1, -1):
        kept_t = tuple(part[t] for part in kept)
        dstate, da = step_backward(cell, dhs[t], dstate, over[t], kept_t, p, within(lengths, t))
        das = das.write(t, da)
    return das.stack(), dstate


def step_backward(cell, dh, dstate, over, kept, p, valid):
    """One step back: where not ``valid`` [B, 1] the gradient of the state goes past it."""
    dnew = (dstate[0] + dh, *dstate[1:])
    if valid is None:
        return cell.backward(dnew, over, kept, p)
    dnew = tuple(tf.where(valid, part, 0) for part in dnew)
    dold, da = cell.backward(dnew, over, kept, p)
    return tuple(tf.where(valid, part, past) for part, past in zip(dold, dstate, strict=True)), da


def within(lengths, t):
    """valid [B, 1]: which sequences have a step t; None where all have."""
    return None if lengths is None else (t < tf.cast(lengths, tf.int32))[:, None]


def array(dtype, T, B, width):
    """An array over time, of elements [B, width]."""
    return tf.TensorArray(dtype, T, element_shape=(B, width))


def recurrence(name, a, tokens, state, p, lengths, reverse, keep):
    """Every h [T, B, H], zero in padding, and the final state; a and tokens: see ``products.read``."""
    weights, rounded = sorted(p), tf.config.experimental.tensor_float_32_execution_enabled()

    @tf.custom_gradient
    def run(a, *rest):
        first, own = rest[: len(state)], dict(zip(weights, rest[len(state) :], strict=True))
        hs, final, residuals = unroll(name, a, tokens, first, own, lengths, reverse, keep, rounded)

        def backward(dhs, *dfinal):
            transposed = {key: tf.transpose(w) for key, w in own.items()}
            given = residuals, transposed, lengths, reverse, rounded
            das, dfirst = unroll_backward(name, dhs, dfinal, *given)
            met = hs[1:] if reverse else hs[:-1]
            dweights = CELLS[name].weights(flat(das), flat(met), [flat(part) for part in residuals[1:]])
            da = das if tokens is None else added_up(das, tokens, a.shape[0])
            return (da, *dfirst, *(dweights[key] for key in weights))

        return (hs[:-1] if reverse else hs[1:], *final), backward

    hs, *final = run(a, *state, *(p[key] for key in weights))
    if lengths is not None:
        valid = tf.range(hs.shape[0], dtype=lengths.dtype)[:, None] < lengths  # [T, B]
        hs = tf.where(valid[..., None], hs, 0)
    return hs, tuple(final)


# --- the stack of layers, its name "encoder" or "decoder"


def at_once(name, xs, state, p, lengths, reverse, keep):
    """One layer in one direction over all steps: every h [T, B, H], and its final state."""
    own = {key: w for key, w in p.items() if key not in ("W_xh", "b_h")}
    a, tokens = read(xs, p)
    return recurrence(name, a, tokens, state, own, lengths, reverse, keep)


def stack(params, name, xs, state, lengths, masks, model, keep, run=at_once):
    """Every h of the top layer [T, B, D*H], and the final state of each layer; xs [T, B, I] or tokens."""
    final = {}
    for k in range(model.layers):
        if k > 0 and masks is not None:
            xs = xs * tf.cast(turned(masks[k - 1]), xs.dtype) / (1 - model.dropout)
        both = []
        for direction in directions(name, model):
            at = f"{name}.{k}.{direction}"
            p = arranged(layer(params, at), model.cell)
            hs, final[at] = run(model.cell, xs, state[at], p, lengths, direction == "bwd", keep)
            both.append(hs)
        xs = tf.concat(both, axis=2) if len(both) > 1 else both[0]  # [T, B, D*H]
    return xs, final


def turned(xs):
    """[T, B, ...] of [B, T, ...], and back."""
    return tf.transpose(xs, [1, 0, *range(2, len(xs.shape))])


# --- the model: [embedding ->] encoder [-> decoder] -> head


def encode(params, batch, state, model, keep, stack=stack):
    """Every h of the encoder's top layer [T, B, D*H], and its final state."""
    xs = turned(batch.inputs)
    if model.inputs == "tokens":
        xs = Tokens(params["embed"], xs)
    return stack(params, "encoder", xs, state, batch.lengths, batch.masks, model, keep)


def decode(params, tokens, state, lengths, model, keep, stack=stack):
    """Every h of the decoder's top layer [S, B, H] over the tokens [B, S], and its final state."""
    xs = Tokens(params["decoder.embed"], turned(tokens))
    return stack(params, "decoder", xs, state, lengths, None, model, keep)


def forward(params, batch, state, model, keep, stack=stack):
    """logits, every h of each stack, and all final states; batch first."""
    hidden, final = {}, {}
    if model.wiring != "decoder":
        hidden["encoder"], final = encode(params, batch, state, model, keep, stack)
    if model.wiring != "encoder":
        first = bridge(params, batch.inputs, model) if model.wiring == "decoder" else handed_over(final)
        lengths = batch.target_lengths
        hidden["decoder"], last = decode(params, batch.decoder_inputs, first, lengths, model, keep, stack)
        final = final | last
    logits = head(params, hidden, final, model)
    if model.head == "every":
        logits = turned(logits)
    return logits, {name: turned(hs) for name, hs in hidden.items()}, final


# --- decoding, token by token


def start(params, batch, state, model):
    """The token that is read first [B], and the state that it meets."""
    if model.wiring == "encoder":  # a language model: all of the prompt but its last token
        if batch.inputs.shape[1] > 1:
            prompt = batch._replace(inputs=batch.inputs[:, :-1])
            _, state = encode(params, prompt, state, model, keep=False)
        return batch.inputs[:, -1], state
    if model.wiring == "decoder":
        first = bridge(params, batch.inputs, model)
    else:
        first = handed_over(encode(params, batch, state, model, keep=False)[1])
    return tf.fill(batch.inputs.shape[:1], tf.constant(BOS, tf.int64)), first


def reader(params, model, count):
    """Reads tokens: logits [B, O] after the tokens [B], and the new state; ``count`` tokens in all."""
    name, embed = ("encoder", "embed") if model.wiring == "encoder" else ("decoder", "decoder.embed")
    layers = {
        at: arranged(layer(params, at), model.cell) for at in (f"{name}.{k}.fwd" for k in range(model.layers))
    }
    bottom, table = layers[f"{name}.0.fwd"], params[embed]
    known = table.shape[0] <= count
    if known:
        table = table @ bottom["W_xh"] + bottom["b_h"]

    def advance(tokens, state):
        xs, new = tf.gather(table, tokens), {}
        for at, p in layers.items():
            a = xs if known and p is bottom else xs @ p["W_xh"] + p["b_h"]
            new[at], *_ = CELLS[model.cell].forward(a, state[at], p)
            xs = new[at][0]
        return xs @ params["head.W_hq"] + params["head.b_q"], new

    return advance


class Network(scratch.Network):
    """The network of ``scratch.py``, by the functions above."""

    kernel = "loop over time in XLA"
    stack = staticmethod(stack)

    def __call__(self, batch, state, keep=True):
        """logits, every h of each stack, and all final states; ``keep`` what a way back needs."""
        return forward(self.read(), batch, state, self.model, keep, self.stack)

    def start(self, batch, state):
        """The token that is read first [B], and the state that it meets."""
        return start(self.read(), batch, state, self.model)

    def read(self):
        """The parameters as tensors."""
        return self._read()


def build(task: Task, dtype: str, device: str, network=Network) -> Implementation:
    """See ``suites/interface.py``."""
    with tf.device(find(device)):
        net = network(task.model, dtype)
    return Trainer(task, dtype, device, net, reader)
