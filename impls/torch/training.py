"""Loss, clipping, optimisers and the training step in PyTorch.

The equations are those of ``suites/interface.py``. Inside, parameters, gradients
and moments go by the network's own names; the network translates.
"""

import numpy as np
import torch
from torch import nn

from suites.interface import Batch
from suites.spec import EOS, PAD

from . import device as devices


def squared_error(logits, targets, valid=None):
    """Mean of (logits - targets)^2 over all valid elements."""
    return mean(nn.functional.mse_loss, logits, targets, valid)


def cross_entropy(logits, targets, valid=None):
    """Mean of -log softmax(logits)[target] over all valid elements in nats."""
    return mean(nn.functional.cross_entropy, logits.flatten(0, -2), targets.flatten(), valid)


def binary_cross_entropy(logits, targets, valid=None):
    """Mean of -t log s(z) - (1 - t) log(1 - s(z)) over all valid elements in nats."""
    return mean(nn.functional.binary_cross_entropy_with_logits, logits, targets, valid)


def mean(loss, logits, targets, valid):
    """The mean of a loss over valid steps [B, T]; not losses[valid].mean(), which waits for a GPU."""
    if valid is None:
        return loss(logits, targets)
    losses = loss(logits, targets, reduction="none").view(*valid.shape, -1)  # [B, T, n]
    count = valid.sum() * losses.shape[-1]
    return torch.where(valid[..., None], losses, 0).sum() / count


LOSSES = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def choose(logits, u, temperature):
    """The next tokens [B] of logits [B, O]: the likeliest, or by the draws u [B] from the softmax."""
    if u is None:
        return logits.argmax(dim=1)
    below = torch.cumsum(torch.softmax(logits / temperature, dim=1), dim=1) <= u[:, None]
    return below.sum(dim=1).clamp(max=logits.shape[1] - 1)


def clip(grads, threshold):
    """g * min(1, threshold / ||g||), the norm taken over all parameters (Pascanu et al. 2013).

    In place. Not ``clip_grad_norm_``, which divides by ||g|| + 1e-6; and no ``if``,
    which would wait for a GPU.
    """
    norm = nn.utils.get_total_norm(grads)
    scale = torch.clamp(threshold / norm, max=1.0)
    for g in grads:
        g.mul_(scale)


def sgd(params, training):
    """w <- w - lr g."""
    return torch.optim.SGD(params, lr=training.learning_rate)


def adam(params, training):
    """Kingma and Ba 2015, algorithm 1; epsilon after the bias correction, outside the root."""
    return torch.optim.Adam(params, lr=training.learning_rate, betas=training.betas, eps=training.epsilon)


OPTIMISERS = {"sgd": sgd, "adam": adam}

# What autograd records where a fused kernel ran; without one, the network says what it is.
KERNELS = {
    "CudnnRnnBackward0": "cuDNN",
    "MkldnnRnnLayerBackward0": "oneDNN",
    "FusedSegmentBackward": "oneDNN, in segments made again",  # of remat.py
    "ThnnFusedLstmCellBackward0": "aten fused cell",
    "ThnnFusedGruCellBackward0": "aten fused cell",
}


class Trainer:
    """The contract of ``suites/interface.py``, around a network.

    ``net(batch, state)`` returns logits, every h of each stack and all final states; ``net.start``
    and ``net.advance`` decode; ``net.to_canonical`` and ``net.from_canonical`` translate named tensors.
    """

    def __init__(self, task, dtype, device, net):
        self.task, self.model, self.training = task, task.model, task.training
        self.device, self.dtype = devices.find(device), getattr(torch, dtype)
        self.net = net.to(self.device, self.dtype)
        self.params = {name: w for name, w in self.net.named_parameters() if w.requires_grad}
        self._loss = LOSSES[task.model.loss]
        self._optimiser = OPTIMISERS[task.training.optimiser]

    # parameters

    def load(self, params, carry=None):
        tensors = {name: self._tensor(value) for name, value in params.items()}
        self.net.load_state_dict(self.net.from_canonical(tensors))
        self.optimiser = self._optimiser(self.params.values(), self.training)
        self.steps = 0
        if not self.training.stateful:
            carry = None  # every step starts from zeros
        self.state = self._zero_state() if carry is None else self._state(carry)

    def dump(self):
        return self._arrays(self.net.to_canonical(self.params))

    def dump_optimiser(self):
        arrays = {"step": np.array(self.steps, np.int64)}
        if self.training.optimiser == "adam":
            for before, key in (("m.", "exp_avg"), ("v.", "exp_avg_sq")):
                arrays |= self._arrays(self.net.to_canonical(self._moments(key)), before)
        return arrays

    def dump_carry(self):
        return self._arrays(self._named(self.state, ""))

    # what is computed

    @torch.inference_mode()
    def forward(self, batch, carry):
        self._mode(train=False)
        logits, hidden, final = self._run(self.place(batch), self._state(carry))
        arrays = {"logits": logits} | {f"hidden.{name}": hs for name, hs in hidden.items()}
        return self._arrays(arrays | self._named(final, "final."))

    @torch.inference_mode()
    def loss(self, batch, carry):
        self._mode(train=False)
        placed = self.place(batch)
        logits, *_ = self._run(placed, self._state(carry))
        return self._loss(logits, placed.targets, self._valid(placed)).item()

    def gradients(self, batch, carry):
        self._mode(train=True)
        placed, state = self.place(batch), self._state(carry)
        leaves = self._named(state, "carry.")
        if self.model.inputs == "features":
            leaves["inputs"] = placed.inputs
        for leaf in leaves.values():
            leaf.requires_grad_()
        logits, *_ = self._run(placed, state)
        loss = self._loss(logits, placed.targets, self._valid(placed))
        named = self.params | leaves
        grads = dict(zip(named, torch.autograd.grad(loss, [*named.values()]), strict=True))
        others = {name: grads.pop(name) for name in leaves}
        return self._arrays(self.net.to_canonical(grads) | others)

    # what is timed

    def place(self, batch):
        return Batch(
            inputs=self._tensor(batch.inputs),
            targets=self._tensor(batch.targets),
            lengths=self._lengths(batch.lengths),
            decoder_inputs=self._tensor(batch.decoder_inputs),
            target_lengths=self._lengths(batch.target_lengths),
            masks=self._tensor(batch.masks),
        )

    def step(self, placed):
        self._mode(train=True)
        loss, final = self._train(placed)
        self.steps += 1
        if self.training.stateful:
            self.state = {at: tuple(part.detach() for part in parts) for at, parts in final.items()}
        return loss

    @torch.inference_mode()
    def infer(self, placed):
        self._mode(train=False)
        logits, *_ = self._run(placed._replace(masks=None), self._zero_state(len(placed.inputs)))
        return logits

    @torch.inference_mode()
    def decode(self, placed, steps, draws=None, temperature=1.0):
        self._mode(train=False)
        with torch.autocast(self.device.type, enabled=torch.is_autocast_enabled(self.device.type)):
            return self._decode(placed, steps, draws, temperature)

    def fetch(self, value):
        return np.array(value.detach().cpu().numpy(), order="C")

    def sync(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def path(self):
        """Read off the graph that autograd records, so that a silent fallback shows."""
        self._mode(train=True)
        logits, *_ = self._run(self._two_steps(), self._zero_state())
        names = recorded(logits)
        path = self.net.path | {"compiled": "eager"}
        path["kernel"] = next((kernel for name, kernel in KERNELS.items() if name in names), path["kernel"])
        if self.device.type == "cuda":
            full = all(flag.fp32_precision == "ieee" for flag in devices.FLOAT32.values())
            path["tf32"] = "off" if full else "on"
        if path["kernel"] == "cuDNN":
            path["batch"] = "packed" if self.model.ragged else "of one length"
        if torch.is_autocast_enabled(self.device.type):
            path["autocast"] = str(torch.get_autocast_dtype(self.device.type)).removeprefix("torch.")
            # cuDNN's layers get float16 there, whatever autocast is set to (ATen/cudnn/AutocastRNN.cpp).
            with torch.autocast(self.device.type):
                _, hidden, _ = self.net(self._two_steps(), self._zero_state())
            path["states"] = str(next(iter(hidden.values())).dtype).removeprefix("torch.")
        return path

    # helpers

    def _mode(self, train):
        """Of every module, told only where it changes: to tell them takes longer than many a kernel."""
        if self.net.training != train:
            self.net.train(train)

    def _run(self, *given):
        """The network, under autocast where ``device.precise`` has set it; its answers in the row's dtype."""
        if not torch.is_autocast_enabled(self.device.type):
            return self.net(*given)
        with torch.autocast(self.device.type):
            logits, hidden, final = self.net(*given)
        hidden = {name: hs.to(self.dtype) for name, hs in hidden.items()}
        final = {at: tuple(part.to(self.dtype) for part in parts) for at, parts in final.items()}
        return logits.to(self.dtype), hidden, final

    def _train(self, placed):
        """The loss, after which the parameters have moved, and the final state."""
        state = self.state if self.training.stateful else self._zero_state(len(placed.inputs))
        logits, _, final = self._run(placed, state)
        loss = self._loss(logits, placed.targets, self._valid(placed))
        self._move(loss)
        return loss.detach(), final

    def _decode(self, placed, steps, draws, temperature):
        us = [None] * steps if draws is None else torch.tensor(draws, device=self.device).unbind(dim=1)
        state = self._zero_state(len(placed.inputs))
        token, state = self.net.start(placed._replace(masks=None), state)
        ended, tokens = torch.zeros_like(token, dtype=torch.bool), []
        for u in us:
            logits, state = self.net.advance(token, state)
            token = choose(logits.to(self.dtype), u, temperature)
            if self.model.wiring != "encoder":
                token = torch.where(ended, PAD, token)
                ended = ended | (token == EOS)
            tokens.append(token)
        return torch.stack(tokens, dim=1)

    def _move(self, loss):
        """The parameters, by the gradient of the loss."""
        self.optimiser.zero_grad()
        loss.backward()
        clip([w.grad for w in self.params.values()], self.training.clip)
        self.optimiser.step()

    def _moments(self, key):
        """Adam's moments under the parameters' names; before the first step there are none."""
        state = self.optimiser.state
        return {name: state[w].get(key, torch.zeros_like(w)) for name, w in self.params.items()}

    def _two_steps(self):
        """A placed batch of the form that the task's have, of two steps.

        Where those are ragged, so is this: oneDNN runs a packed batch only where its lengths are equal.
        """
        model, B = self.model, self.task.batch
        tokens = np.zeros((B, 2), np.int32)
        lengths = 1 + np.arange(B) % 2 if model.ragged else None
        if model.wiring == "decoder":
            inputs = np.zeros((B, model.features))
        else:
            inputs = tokens if model.inputs == "tokens" else np.zeros((B, 2, model.features))
        return self.place(Batch(inputs, tokens, lengths, tokens, lengths))

    def _valid(self, batch):
        """Which steps [B, T] the loss counts; None for all."""
        if self.model.head == "final":
            return None
        lengths = batch.lengths if self.model.wiring == "encoder" else batch.target_lengths
        if lengths is None:
            return None
        lengths = lengths.to(self.device, non_blocking=True)
        return torch.arange(batch.targets.shape[1], device=self.device) < lengths[:, None]

    def _layers(self):
        """The names of the layers whose initial state is given."""
        layers = range(0 if self.model.wiring == "decoder" else self.model.layers)
        return [f"encoder.{k}.{direction}" for k in layers for direction in self.model.directions]

    def _zero_state(self, batch=None):
        layers, n = self._layers(), len(self.model.parts)
        shape = (len(layers) * n, batch or self.task.batch, self.model.hidden)
        zeros = torch.zeros(shape, dtype=self.dtype, device=self.device).unbind()  # one kernel for all
        return {at: zeros[n * k : n * (k + 1)] for k, at in enumerate(layers)}

    def _state(self, carry):
        return {
            at: tuple(self._tensor(carry[f"{at}.{part}"]) for part in self.model.parts)
            for at in self._layers()
        }

    def _named(self, state, before):
        return {
            f"{before}{at}.{part}": value
            for at, values in state.items()
            for part, value in zip(self.model.parts, values, strict=True)
        }

    def _tensor(self, array):
        """A copy on the device: floats in the row's dtype, tokens as the int64 that losses take."""
        if array is None:
            return None
        dtype = {"f": self.dtype, "i": torch.long, "b": torch.bool}[array.dtype.kind]
        return torch.tensor(array, dtype=dtype, device=self.device)

    def _lengths(self, array):
        """A copy on the CPU, where pack_padded_sequence wants it; pinned, it goes to a GPU without a wait."""
        if array is None:
            return None
        return torch.tensor(array, dtype=torch.long, pin_memory=self.device.type == "cuda")

    def _arrays(self, named, before=""):
        return {before + name: self.fetch(value) for name, value in named.items()}


def recorded(tensor):
    """The names of the operations in the graph behind a tensor."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [source for source, _ in node.next_functions]
    return {node.name() for node in seen}
