"""Loss, clipping, optimisers and the training step in PyTorch.

The equations are those of ``suites/interface.py``. Inside, parameters, gradients
and moments go by the network's own names; the network translates.
"""

import numpy as np
import torch
from torch import nn

from . import device as devices


def squared_error(logits, targets):
    """Mean of (logits - targets)^2 over all elements."""
    return nn.functional.mse_loss(logits, targets)


def cross_entropy(logits, targets):
    """Mean of -log softmax(logits)[target] in nats."""
    return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}


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
    "ThnnFusedLstmCellBackward0": "aten fused cell",
    "ThnnFusedGruCellBackward0": "aten fused cell",
}


class Trainer:
    """The contract of ``suites/interface.py``, around a network.

    ``net(inputs, state)`` returns logits, every h and the final state;
    ``net.to_canonical`` and ``net.from_canonical`` translate named tensors.
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
                moments = {
                    name: self.optimiser.state[w].get(key, torch.zeros_like(w))
                    for name, w in self.params.items()
                }
                arrays |= self._arrays(self.net.to_canonical(moments), before)
        return arrays

    def dump_carry(self):
        return self._named(self.state, "")

    # what is computed

    @torch.inference_mode()
    def forward(self, batch, carry):
        self.net.eval()
        inputs, _ = self.place(batch)
        logits, hs, final = self.net(inputs, self._state(carry))
        arrays = self._arrays({"logits": logits, "hidden.encoder.0.fwd": hs})
        return arrays | self._named(final, "final.")

    @torch.inference_mode()
    def loss(self, batch, carry):
        self.net.eval()
        inputs, targets = self.place(batch)
        logits, *_ = self.net(inputs, self._state(carry))
        return self._loss(logits, targets).item()

    def gradients(self, batch, carry):
        self.net.train()
        inputs, targets = self.place(batch)
        state = self._state(carry)
        leaves = [*self.params.values(), *(part.requires_grad_() for part in state)]
        if self.model.inputs == "features":
            leaves.append(inputs.requires_grad_())
        logits, *_ = self.net(inputs, state)
        grads = torch.autograd.grad(self._loss(logits, targets), leaves)
        n, parts = len(self.params), len(state)
        dparams = dict(zip(self.params, grads[:n], strict=True))
        arrays = self._arrays(self.net.to_canonical(dparams)) | self._named(grads[n : n + parts], "carry.")
        if self.model.inputs == "features":
            arrays["inputs"] = self.fetch(grads[-1])
        return arrays

    # what is timed

    def place(self, batch):
        return self._tensor(batch.inputs), self._tensor(batch.targets)

    def step(self, placed):
        self.net.train()
        inputs, targets = placed
        state = self.state if self.training.stateful else self._zero_state(len(inputs))
        self.optimiser.zero_grad()
        logits, _, final = self.net(inputs, state)
        loss = self._loss(logits, targets)
        loss.backward()
        clip([w.grad for w in self.params.values()], self.training.clip)
        self.optimiser.step()
        self.steps += 1
        if self.training.stateful:
            self.state = tuple(part.detach() for part in final)
        return loss.detach()

    @torch.inference_mode()
    def infer(self, placed):
        self.net.eval()
        inputs, _ = placed
        logits, *_ = self.net(inputs, self._zero_state(len(inputs)))
        return logits

    def fetch(self, value):
        return np.array(value.detach().cpu().numpy(), order="C")

    def sync(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def path(self):
        """Read off the graph that autograd records, so that a silent fallback shows."""
        self.net.train()
        shape = (self.task.batch, 2)
        if self.model.inputs == "tokens":
            inputs = torch.zeros(shape, dtype=torch.long, device=self.device)
        else:
            inputs = torch.zeros(*shape, self.model.features, dtype=self.dtype, device=self.device)
        logits, *_ = self.net(inputs, self._zero_state())
        names = recorded(logits)
        kernel = next((kernel for name, kernel in KERNELS.items() if name in names), self.net.kernel)
        path = {"kernel": kernel, "compiled": "eager"}
        if self.device.type == "cuda":
            full = all(flag.fp32_precision == "ieee" for flag in devices.FLOAT32.values())
            path["tf32"] = "off" if full else "on"
        return path

    # helpers

    def _parts(self):
        return ("h", "c") if self.model.cell == "lstm" else ("h",)

    def _zero_state(self, batch=None):
        shape = (batch or self.task.batch, self.model.hidden)
        return tuple(torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in self._parts())

    def _state(self, carry):
        return tuple(self._tensor(carry[f"encoder.0.fwd.{part}"]) for part in self._parts())

    def _named(self, state, before):
        names = (f"{before}encoder.0.fwd.{part}" for part in self._parts())
        return {name: self.fetch(part) for name, part in zip(names, state, strict=True)}

    def _tensor(self, array):
        """A copy on the device: floats in the row's dtype, tokens as the int64 that losses take."""
        dtype = torch.long if np.issubdtype(array.dtype, np.integer) else self.dtype
        return torch.tensor(array, dtype=dtype, device=self.device)

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
