"""The GEMM floor counts the products that a model cannot do without: those that the oracle does, no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from suites import implementations, spec, tasks, weights
from suites.bench import floor
from suites.bench.floor import decoding, flops, inference, training
from suites.interface import Batch
from suites.spec import GATES, Task


class Counted(np.ndarray):
    """An array that counts the operations of the matrix products it takes part in, and so do its heirs."""

    count = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **rest: Any) -> Any:
        plain = [plainly(value) for value in inputs]
        if ufunc is np.matmul:
            Counted.count += 2 * plain[0].size * plain[1].shape[-1]
        if out:
            rest["out"] = tuple(plainly(value) for value in out)
        found = getattr(ufunc, method)(*plain, **rest)
        if out:
            return out[0]
        return found.view(Counted) if isinstance(found, np.ndarray) else found

    def __array_function__(self, *asked: Any) -> Any:
        found = super().__array_function__(*asked)
        return found.view(Counted) if type(found) is np.ndarray else found  # np.where forgets the heirs


def plainly(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Counted) else value


def counted(task: Task, batch: Batch, work: Callable[[Any, Any], object]) -> int:
    """The operations of the products of NumPy's own implementation, at work on the batch."""
    impl: Any = implementations.builder(implementations.find("numpy"), "scratch")(task, "float64", "cpu")
    impl.load(weights.cast(weights.initial(task, 0), "float64"))
    impl.params = {name: w.view(Counted) for name, w in impl.params.items()}
    Counted.count = 0
    work(impl, impl.place(tasks.cast(batch, "float64")))
    return Counted.count


@lru_cache
def drawn(name: str) -> Batch:
    return next(tasks.batches(spec.load(name), 0))._replace(masks=None)


def first(task: Task) -> Batch:
    """Its first batch, whatever the model."""
    return drawn(task.name)


def models() -> Iterator[tuple[str, Task]]:
    """Every task with every cell, one and three layers deep, one way and both where it may."""
    for name in spec.names():
        task = spec.load(name)
        for cell in spec.CELLS:
            for layers in (1, 3):
                ways = (
                    [False, True] if task.model.wiring == "encoder" and not task.model.generates else [False]
                )
                for both in ways:
                    changed = {"cell": cell, "layers": layers, "bidirectional": both, "dropout": 0.0}
                    model = dataclasses.replace(task.model, **changed)
                    about = f"{name}-{cell}-{layers}{'-both' if both else ''}"
                    yield about, dataclasses.replace(task, model=model)


MODELS = dict(models())


@pytest.mark.parametrize("about", MODELS)
def test_inference_is_what_the_oracle_multiplies(about: str) -> None:
    task = MODELS[about]
    assert flops(inference(task)) == counted(task, first(task), lambda impl, batch: impl.infer(batch))


@pytest.mark.parametrize("about", MODELS)
def test_training_is_what_the_oracle_multiplies_less_the_gradient_of_features(about: str) -> None:
    """The oracle can give that gradient, and to this end makes the bridge's h once more."""
    task = MODELS[about]
    more = 0
    if task.model.inputs == "features":
        more = flops(inference(task)[: len(task.model.directions)])
        more *= 2 if task.model.wiring == "decoder" else 1
    assert flops(training(task)) + more == counted(task, first(task), lambda impl, batch: impl.step(batch))


@pytest.mark.parametrize("about", [about for about, task in MODELS.items() if task.model.generates])
def test_decoding_is_what_the_oracle_multiplies(about: str) -> None:
    task = MODELS[about]
    found = counted(task, first(task), lambda impl, batch: impl.decode(batch, 7))
    assert flops(decoding(task, 7)) == found


def test_a_product_too_few_is_seen() -> None:
    """The count can tell: a layer, a direction, the head."""
    (three, one) = (MODELS[f"tagging-gru-{layers}-both"] for layers in (3, 1))
    found = counted(three, first(three), lambda impl, batch: impl.infer(batch))
    way = dataclasses.replace(three, model=dataclasses.replace(three.model, bidirectional=False))
    for other in (inference(one), inference(way), inference(three)[:-1]):
        assert flops(other) != found


@pytest.mark.parametrize("task", spec.names())
def test_at_size_small_it_is_the_textbooks_count(task: str) -> None:
    """Of a stack: B T (I + H) G H for each layer and direction, each a multiplication and an addition."""
    asked = spec.load(task, size="small")
    B, T, S, model = asked.batch, asked.length, asked.target_length, asked.model
    H, L, D, GH = model.hidden, model.layers, len(model.directions), GATES[model.cell] * model.hidden
    encoder = D * T * ((model.input_width + H) + (L - 1) * (D * H + H)) * GH
    decoder = S * ((model.embedding + H) + (L - 1) * 2 * H) * GH
    bridge = model.features * H
    read = {"encoder": T if model.head == "every" else 1}.get(model.wiring, S)
    parts = {"encoder": [encoder], "encoder_decoder": [encoder, decoder], "decoder": [bridge, decoder]}
    expected = sum(parts[model.wiring]) + read * model.width * model.outputs
    assert flops(inference(asked)) == 2 * B * expected


# One by one


def test_recurrent_products_come_one_by_one() -> None:
    task = MODELS["sentiment-lstm-1-both"]
    B, T, H = task.batch, task.length, task.model.hidden
    assert inference(task).count((T, B, H, 4 * H)) == 2
    assert training(task).count((T, B, 4 * H, H)) == 2
    assert (1, B * T, task.model.embedding, 4 * H) in inference(task)


def test_a_decoder_has_a_recurrent_product_a_step_and_reads_gold_tokens_at_once() -> None:
    task = MODELS["seq2seq-lstm-1"]
    B, T, S, E, H = task.batch, task.length, task.target_length, task.model.embedding, task.model.hidden
    products = inference(task)
    assert (T, B, H, 4 * H) in products
    assert (S, B, H, 4 * H) in products
    assert (1, B * S, E, 4 * H) in products
    assert products[-1] == (1, B * S, H, task.model.outputs)


def test_in_decoding_every_product_comes_one_by_one() -> None:
    task = MODELS["caption-gru-1"]
    B, E, H, O = task.batch, task.model.embedding, task.model.hidden, task.model.outputs  # noqa: E741
    bridge = (1, B, task.model.features, H)
    assert decoding(task, 9) == [bridge, (9, B, E, 3 * H), (9, B, H, 3 * H), (9, B, H, O)]


def test_before_the_only_token_of_a_prompt_nothing_is_read() -> None:
    task = MODELS["char_lm-lstm-1"]
    task = dataclasses.replace(task, length=1)
    B, E, H, O = task.batch, task.model.embedding, task.model.hidden, task.model.outputs  # noqa: E741
    assert decoding(task, 9) == [(9, B, E, 4 * H), (9, B, H, 4 * H), (9, B, H, O)]


# Padding


def ragged(task: Task, **lengths: list[int]) -> Batch:
    return first(task)._replace(**{name: np.array(value, np.int32) for name, value in lengths.items()})


def test_steps_in_padding_do_not_count() -> None:
    task = MODELS["seq2seq-gru-1"]
    B, T, S = task.batch, task.length, task.target_length
    full, short = [T] * B, [2] * B
    batches = [
        ragged(task, lengths=full, target_lengths=[S] * B),
        ragged(task, lengths=short, target_lengths=[3] * B),
    ]
    assert [floor.valid_steps(task, batch) for batch in batches] == [(B * T, B * S), (B * 2, B * 3)]
    assert floor.valid_lengths(task, batches) == (round((T + 2) / 2), round((S + 3) / 2))


def test_without_lengths_all_steps_count() -> None:
    for about, expected in (("adding-gru-1", (11, 0)), ("caption-gru-1", (0, 8))):
        task = MODELS[about]
        batch = first(task)._replace(target_lengths=None)
        assert floor.valid_lengths(task, [batch]) == expected == floor.padded_lengths(task)


@pytest.mark.parametrize("about", ["tagging-gru-3-both", "seq2seq-lstm-3", "sentiment-rnn-1-both"])
def test_the_floor_of_ragged_sequences_is_that_of_sequences_so_long(about: str) -> None:
    """Sequences of 4 steps and targets of 3, all: the oracle multiplies as much as the floor says."""
    task = MODELS[about]
    batch = first(task)
    cut = batch._replace(inputs=batch.inputs[:, :4], lengths=None, target_lengths=None)
    if task.model.head == "every":
        cut = cut._replace(targets=batch.targets[:, : 3 if task.target_length else 4])
    if batch.decoder_inputs is not None:
        cut = cut._replace(decoder_inputs=batch.decoder_inputs[:, :3])
    lengths = (4, 3 if task.target_length else 0)
    found = counted(task, cut, lambda impl, placed: impl.step(placed))
    assert flops(training(task, lengths)) == found < flops(training(task))
    if task.model.generates:
        found = counted(task, cut, lambda impl, placed: impl.decode(placed, 5))
        assert flops(decoding(task, 5, lengths)) == found < flops(decoding(task, 5))


@pytest.mark.parametrize("module", ["impls.numpy", "plain"])
@pytest.mark.parametrize("task", ["adding", "seq2seq", "caption"])
def test_a_floor_runs(module: str, task: str) -> None:
    asked = spec.load(task)
    products = training(asked) + (decoding(asked, 5) if asked.model.generates else [])
    device = implementations.device_module(implementations.find("numpy"))
    if module == "plain":
        from suites import plain_device as device  # type: ignore[no-redef]
    assert device.floor(products, "float32", "cpu")() is None
