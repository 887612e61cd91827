"""What ``tuned.py`` is on a GPU: a whole step, an inference, a greedy decoding as one CUDA graph each.

Launched one by one from Python, the kernels of a small network take longer to launch than to run. A graph
is recorded once for each form of a batch, and launches all of them at once. It reads and writes where it
did when it was recorded: a batch is copied there before, an answer out of there after, and the state that
one step hands to the next stays in place.

What reads from the host cannot be recorded, and runs as in ``training.py``: ragged batches, whose lengths
cuDNN packs by, and sampling, whose draws are NumPy's.
"""

from contextlib import contextmanager
from functools import partial

import torch

from . import training

WARM_UP = 3  # runs before a recording, in which libraries set themselves up


def record(run):
    """What runs ``run`` again, and its answer, which each replay writes anew."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = run()
    return graph.replay, answer


class Trainer(training.Trainer):
    """``training.Trainer``, recorded and replayed."""

    def load(self, params, carry=None):
        super().load(params, carry)
        self._recorded = {}  # what was recorded moves the moments of another optimiser
        if self.training.optimiser == "adam":
            self.optimiser.param_groups[0]["fused"] = True
            self.optimiser.param_groups[0]["capturable"] = self.device.type == "cuda"

    def step(self, placed):
        if ragged(placed):
            return super().step(placed)
        loss = self._replayed("step", placed, self._whole_step)
        self.steps += 1
        return loss

    def infer(self, placed):
        if ragged(placed):
            return super().infer(placed)
        return self._replayed("infer", placed._replace(targets=None, masks=None), super().infer)

    def decode(self, placed, steps, draws=None, temperature=1.0):
        prompt = placed._replace(targets=None, decoder_inputs=None, target_lengths=None, masks=None)
        if ragged(prompt) or draws is not None:
            return super().decode(placed, steps, draws, temperature)
        return self._replayed(f"decode {steps}", prompt, partial(super().decode, steps=steps))

    def path(self):
        way = "eager, for the batches are ragged" if self.model.ragged else "CUDA graphs"
        return super().path() | {"compiled": way}

    def _whole_step(self, placed):
        """The loss; the state goes to where the next step reads it."""
        self._mode(train=True)
        loss, final = self._train(placed)
        if self.training.stateful:
            for at, parts in self.state.items():
                for part, new in zip(parts, final[at], strict=True):
                    part.copy_(new.detach())
        return loss

    def _replayed(self, what, placed, run):
        """What ``run`` answers of a batch: recorded where it is the first of its form."""
        parts = {name: part for name, part in placed._asdict().items() if part is not None}
        form = what, *((name, part.shape) for name, part in parts.items())
        if form not in self._recorded:
            held = placed._replace(**{name: part.clone() for name, part in parts.items()})
            with self._as_it_was():
                self._recorded[form] = held, *record(partial(run, held))
        held, replay, answer = self._recorded[form]
        for name, part in parts.items():
            getattr(held, name).copy_(part)
        replay()
        return answer.clone()

    @contextmanager
    def _as_it_was(self):
        """Undoes what is done within it, for a recording takes steps. Tensors stay where they are."""
        before = {id(tensor): tensor.detach().clone() for tensor in self._moved()}
        yield
        with torch.no_grad():
            for tensor in self._moved():
                if id(tensor) in before:
                    tensor.copy_(before[id(tensor)])
                else:  # a moment that was made meanwhile
                    tensor.zero_()

    def _moved(self):
        """Every tensor that a step changes."""
        moments = [value for of in self.optimiser.state.values() for value in of.values()]
        state = [part for parts in self.state.values() for part in parts]
        return [*self.params.values(), *(m for m in moments if torch.is_tensor(m)), *state]


def ragged(placed):
    """Whether lengths, which are on the host, are read."""
    return placed.lengths is not None or placed.target_lengths is not None
