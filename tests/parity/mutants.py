"""Deliberate defects, as data: what is changed in a copy of ``impls/numpy``, and the level that must see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One defect: in ``file``, ``old`` becomes ``new``."""

    name: str
    level: int  # at which it must be killed, or earlier
    tensor: str  # the start of the name of the first tensor that diverges
    file: str
    old: str
    new: str
    task: str = "adding"
    cell: str = "lstm"


SCRATCH, TRAINING = "scratch.py", "training.py"
HIDDEN = "hidden.encoder.0.fwd"

MUTANTS = [
    Mutant("lstm: i and f swapped", 1, HIDDEN, SCRATCH, "a_i, a_f, a_g, a_o = np", "a_f, a_i, a_g, a_o = np"),
    Mutant("lstm: g and o swapped", 1, HIDDEN, SCRATCH, "a_i, a_f, a_g, a_o = np", "a_i, a_f, a_o, a_g = np"),
    Mutant("gru: r and z swapped", 1, HIDDEN, SCRATCH, "h_r, h_z, h_n = np", "h_z, h_r, h_n = np", cell="gru"),
    Mutant("gru: reset before the product", 1, HIDDEN, SCRATCH,
           "q = h_n + p[\"b_hn\"]\n    n = np.tanh(x_n + r * q)",
           "q = h_n + p[\"b_hn\"]\n    n = np.tanh(x_n + (r * h) @ p[\"W_hh\"][:, 2 * h.shape[1] :] + p[\"b_hn\"])",
           cell="gru"),
    Mutant("gru: no b_hn", 1, HIDDEN, SCRATCH, 'q = h_n + p["b_hn"]', "q = h_n", cell="gru"),
    Mutant("bias dropped", 1, HIDDEN, SCRATCH, 'h @ p["W_hh"] + p["b_h"]  # [B, 4H]', 'h @ p["W_hh"]  # [B, 4H]'),
    Mutant("bias skipped at t = 0", 1, HIDDEN, SCRATCH, "state, cache = cell(xs[:, t], state, p)",
           "state, cache = cell(xs[:, t], state, p | ({} if t else {\"b_h\": 0 * p[\"b_h\"]}))"),
    Mutant("gru: z and 1 - z flipped", 1, HIDDEN, SCRATCH, "n + z * h  # [B, H]\n    return (h_new,), (x, h, r, z, n, q)",
           "h + z * n  # [B, H]\n    return (h_new,), (x, h, r, z, n, q)", cell="gru"),
    Mutant("W_hh transposed", 1, HIDDEN, SCRATCH, 'h @ p["W_hh"] + p["b_h"])  # [B, H]', 'h @ p["W_hh"].T + p["b_h"])  # [B, H]', cell="rnn"),
    Mutant("no tanh on the cell", 1, HIDDEN, SCRATCH, "tanh_c = np.tanh(c_new)", "tanh_c = c_new"),
    Mutant("hard sigmoid", 1, HIDDEN, SCRATCH, "return 0.5 * (1 + np.tanh(0.5 * a))", "return np.clip(0.2 * a + 0.5, 0, 1)"),
    Mutant("h0 = 0.01", 1, "logits", TRAINING, "np.zeros(shape, self.dtype) for", "np.full(shape, 0.01, self.dtype) for"),
    Mutant("state leaks from one batch to the next", 1, "logits", TRAINING,
           "state = self._zero_state(len(placed.inputs))\n        return self._forward(self.params, placed.inputs, state, self.model)[0]",
           "state = getattr(self, \"leak\", self._zero_state())\n        out = self._forward(self.params, placed.inputs, state, self.model)\n        self.leak = out[2]\n        return out[0]"),
    Mutant("state not carried where the spec carries it", 1, "encoder.0.fwd.h", TRAINING, "            self.state = final", "            pass", task="char_lm"),
    Mutant("state carried where the spec does not", 1, "encoder.0.fwd.h", TRAINING,
           "        if self.training.stateful:\n            self.state = final", "        self.state = final"),
    Mutant("last state read one step early", 1, "logits", SCRATCH, 'read = hs[:, -1] if model.head == "final"', 'read = hs[:, -2] if model.head == "final"'),
    Mutant("time reversed", 1, HIDDEN, SCRATCH, "for t in range(xs.shape[1]):", "for t in reversed(range(xs.shape[1])):"),
    Mutant("target shifted by one", 2, "loss", TRAINING, "at = targets[..., None]", "at = np.roll(targets, 1, axis=1)[..., None]", task="char_lm"),
    Mutant("softmax twice", 2, "loss", TRAINING, "shifted = logits - logits", "logits = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)\n    shifted = logits - logits", task="char_lm"),
    Mutant("sum in place of mean", 2, "loss", TRAINING, "(error * error).mean()", "(error * error).sum()"),
    Mutant("bits in place of nats", 2, "loss", TRAINING, "return -picked.mean(), dlogits", "return -picked.mean() / np.log(2), dlogits", task="char_lm"),
    Mutant("truncation one step short", 3, "encoder.0.fwd.W", SCRATCH, "        dxs.append(dx)",
           "        if t == 1:\n            dstate = tuple(0 * part for part in dstate)\n        dxs.append(dx)", cell="rnn"),
    Mutant("repeated embedding ids overwrite", 3, "embed", SCRATCH, 'np.add.at(grads["embed"], inputs, dxs)', 'grads["embed"][inputs] = dxs', task="char_lm"),
    Mutant("an absent row is trained", 3, "embed", SCRATCH, 'grads["embed"] = np.zeros_like(params["embed"])', 'grads["embed"] = np.full_like(params["embed"], 1e-20)', task="char_lm"),
    Mutant("a gradient off by one part in a thousand million", 3, "encoder.0.fwd.W_xh", SCRATCH, '    da = dh_new * (1 - h_new * h_new)  # [B, H]', '    da = dh_new * (1 - h_new * h_new) * (1 - 1e-9)  # [B, H]', cell="rnn"),
    Mutant("gradient of h0 dropped", 3, "carry.encoder.0.fwd.h", TRAINING, 'return grads | self._named(dstate, "carry.")', 'return grads | self._named(tuple(0 * part for part in dstate), "carry.")'),
    Mutant("epsilon inside the root", 4, "", TRAINING, "(np.sqrt(v_hat) + eps)", "np.sqrt(v_hat + eps)"),
    Mutant("epsilon before bias correction", 4, "", TRAINING, "m_hat / (np.sqrt(v_hat) + eps)", "m_hat * np.sqrt(1 - b2**step) / (np.sqrt(v) + eps)"),
    Mutant("epsilon 1e-7", 4, "", TRAINING, "(np.sqrt(v_hat) + eps)", "(np.sqrt(v_hat) + 1e-7)"),
    Mutant("beta2 .99", 4, "v.", TRAINING, "b1, b2 = training.betas", "b1, b2 = training.betas[0], 0.99"),
    Mutant("no bias correction", 4, "", TRAINING, "m_hat = m / (1 - b1**step)", "m_hat = m"),
    Mutant("clip with + 1e-6", 4, "m.", TRAINING, "scale = threshold / norm", "scale = threshold / (norm + 1e-6)"),
    Mutant("clip by value", 4, "m.", TRAINING, "return {name: g * scale for name, g in grads.items()}", "return {name: np.clip(g, -threshold, threshold) for name, g in grads.items()}"),
    Mutant("clip without a floor at 1", 4, "m.", TRAINING, "    if norm <= threshold:\n        return grads\n", ""),
    Mutant("no clip", 4, "m.", TRAINING, "    if norm <= threshold:", "    if True:"),
    Mutant("L2 decay added", 4, "m.", TRAINING, 'g = grads[name]\n', 'g = grads[name] + 1e-4 * w\n'),
    Mutant("a bias moves twice as far", 4, "encoder.0.fwd.b_h", TRAINING, "updated[name] = w - lr *", "updated[name] = w - (2 if name.endswith('b_h') else 1) * lr *"),
    Mutant("sgd without its rate", 4, "", TRAINING, "w - training.learning_rate * grads[name]", "w - 1.0001 * training.learning_rate * grads[name]"),
    Mutant("gradients not zeroed between steps", 4, "m.", TRAINING, "        grads = clip(grads, self.training.clip)\n",
           "        self.kept = {n: g + getattr(self, 'kept', {}).get(n, 0) for n, g in grads.items()}\n        grads = clip(self.kept, self.training.clip)\n"),
    Mutant("step counted twice", 4, "step", TRAINING, "        self.steps += 1\n", "        self.steps += 2\n"),
    Mutant("learning rate decays", 5, "", TRAINING, "lr, eps = training.learning_rate, training.epsilon", "lr, eps = training.learning_rate * (1 - 1e-3 * max(0, step - 50)), training.epsilon"),
    Mutant("weights not kept by load", 0, "", TRAINING, "self.params = {name: np.array(value, self.dtype)", "self.params = {name: np.array(value * 1.0000001, self.dtype)"),
    Mutant("moments survive load", 4, "", TRAINING, "        self.moments: dict = {}\n", "        kept = getattr(self, 'moments', {})\n        self.moments = dict(kept)\n        if kept:\n            self.steps = 0\n            self.params = {name: np.array(value, self.dtype) for name, value in params.items()}\n            self.state = self._zero_state() if carry is None else self._state(carry)\n            return\n"),
    Mutant("float64 asked, float32 computed", 1, HIDDEN, TRAINING, "logits, hs, final, _ = self._forward(self.params, batch.inputs, self._state(carry), self.model)",
           "logits, hs, final, _ = self._forward({n: w.astype('f4') for n, w in self.params.items()}, batch.inputs.astype('f4'), tuple(s.astype('f4') for s in self._state(carry)), self.model)\n        logits, hs, final = logits.astype('f8'), hs.astype('f8'), tuple(s.astype('f8') for s in final)"),
]  # fmt: skip
