"""A model and its training loop as a user of PyTorch writes them, without this project.

``nox -s overhead -- --impl torch --variant native --bare`` holds the row against it. Nothing is shared
with the variants, so that what they add to ``nn.LSTM`` shows: here the optimiser and the clipping are
PyTorch's own, and both biases of a layer are trained.
"""

import torch
from torch import nn

from suites.interface import Unavailable

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
LOSSES = {
    "squared_error": nn.functional.mse_loss,
    "cross_entropy": nn.functional.cross_entropy,
    "binary_cross_entropy": nn.functional.binary_cross_entropy_with_logits,
}


class Network(nn.Module):
    """[Embedding ->] layers -> Linear, over whole sequences in one direction."""

    def __init__(self, model):
        super().__init__()
        self.every = model.head == "every"
        self.embedding = nn.Embedding(model.vocabulary, model.embedding) if model.inputs == "tokens" else None
        self.rnn = LAYERS[model.cell](model.input_width, model.hidden, model.layers, batch_first=True)
        self.linear = nn.Linear(model.hidden, model.outputs)

    def forward(self, xs, state=None):
        """logits, of every step or of the last, and the final state."""
        hs, state = self.rnn(xs if self.embedding is None else self.embedding(xs), state)  # [B, T, H]
        return self.linear(hs if self.every else hs[:, -1]), state


class Loop:
    """What is timed: one training step, and inference."""

    def __init__(self, task, device, params):
        self.task, self.state = task, None
        self.device = torch.device("cuda" if device == "gpu" else "cpu")
        self.net = Network(task.model)
        self.net.load_state_dict(named(params, self.net), strict=True)
        self.net.to(self.device)
        self.loss = LOSSES[task.model.loss]
        training = task.training
        if training.optimiser == "adam":
            self.optimiser = torch.optim.Adam(
                self.net.parameters(), training.learning_rate, training.betas, training.epsilon
            )
        else:
            self.optimiser = torch.optim.SGD(self.net.parameters(), training.learning_rate)

    def place(self, batch):
        """Inputs and targets on the device."""
        return tuple(
            torch.from_numpy(array).to(self.device, torch.float32 if array.dtype.kind == "f" else torch.long)
            for array in (batch.inputs, batch.targets)
        )

    def step(self, placed):
        """One training step; its loss."""
        inputs, targets = placed
        self.net.train()
        self.optimiser.zero_grad()
        logits, state = self.net(inputs, self.state)
        if self.task.training.stateful:
            self.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        if self.task.model.loss == "cross_entropy":
            logits, targets = logits.flatten(0, -2), targets.flatten()
        loss = self.loss(logits, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.task.training.clip)
        self.optimiser.step()
        return loss

    @torch.inference_mode()
    def infer(self, placed):
        """The logits of a batch, from a zero state."""
        self.net.eval()
        return self.net(placed[0])[0]


def named(params, net):
    """Canonical parameters under this network's names; of a layer's second bias only b_hn is not zero."""
    found = {name: torch.zeros_like(w) for name, w in net.named_parameters()}
    for name, value in params.items():
        w = torch.tensor(value.T, dtype=torch.float32)
        match name.split("."):
            case ["embed"]:
                found["embedding.weight"] = w.T
            case ["head", "W_hq"]:
                found["linear.weight"] = w
            case ["head", "b_q"]:
                found["linear.bias"] = w
            case ["encoder", k, "fwd", "b_hn"]:
                found[f"rnn.bias_hh_l{k}"][-len(w) :] = w
            case ["encoder", k, "fwd", own]:
                own = {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih"}[own]
                found[f"rnn.{own}_l{k}"] = w
    return found


def build(task, device, params):
    """Raises Unavailable for a task that takes more than whole sequences in one direction."""
    model = task.model
    plain = model.wiring == "encoder" and len(model.directions) == 1 and not (model.ragged or model.dropout)
    if not plain or model.cell not in LAYERS:
        raise Unavailable(
            "bare.py is written for whole sequences in one direction, without dropout, and cells "
            f"{', '.join(LAYERS)}; got {task.name}, {model.cell}"
        )
    return Loop(task, device, params)
