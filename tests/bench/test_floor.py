"""The GEMM floor counts the products that a cell cannot do without."""

from __future__ import annotations

import pytest

from suites import implementations, spec
from suites.bench.floor import flops, inference, training
from suites.spec import GATES


@pytest.mark.parametrize("task", spec.names())
@pytest.mark.parametrize("cell", spec.CELLS)
def test_inference_is_the_textbooks_count(task: str, cell: str) -> None:
    asked = spec.load(task, cell=cell, size="small")
    B, T, model = asked.batch, asked.length, asked.model
    width, H, G = model.input_width, model.hidden, GATES[cell]
    head = (T if model.head == "every" else 1) * B * H * model.outputs
    assert flops(inference(asked)) == 2 * (B * T * (width + H) * G * H + head)


@pytest.mark.parametrize("cell", spec.CELLS)
def test_training_is_three_times_inference_less_the_gradient_of_features(cell: str) -> None:
    tokens, features = spec.load("char_lm", cell=cell), spec.load("adding", cell=cell)
    assert flops(training(tokens)) == 3 * flops(inference(tokens))
    unneeded = 2 * features.batch * features.length * 2 * GATES[cell] * features.model.hidden
    assert flops(training(features)) == 3 * flops(inference(features)) - unneeded


def test_recurrent_products_come_one_by_one() -> None:
    asked = spec.load("adding", cell="lstm")
    B, T, H = asked.batch, asked.length, asked.model.hidden
    assert (T, B, H, 4 * H) in inference(asked)
    assert (T, B, 4 * H, H) in training(asked)


@pytest.mark.parametrize("module", ["impls.numpy", "plain"])
def test_a_floor_runs(module: str) -> None:
    products = training(spec.load("adding"))
    numpy = implementations.find("numpy")
    device = implementations.device_module(numpy)
    if module == "plain":
        from suites import plain_device as device  # type: ignore[no-redef]
    assert device.floor(products, "float32", "cpu")() is None
