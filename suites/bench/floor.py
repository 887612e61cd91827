"""The GEMM floor: the matrix products that a cell cannot do without, at its shapes.

Only the products are counted, no gate, no loss, no optimiser. The input product
is one large product over all steps; the recurrent ones must come one by one. A
row's time over the time of these products says how far it is from the limit.
"""

from __future__ import annotations

from suites.spec import GATES, Task

Product = tuple[int, int, int, int]
"""(repeat, m, k, n): ``repeat`` products [m, k] @ [k, n], one after the other."""


def inference(task: Task) -> list[Product]:
    """The products of a forward pass."""
    B, T, model = task.batch, task.length, task.model
    I, H, O = model.input_width, model.hidden, model.outputs  # noqa: E741
    G = GATES[model.cell]
    read = B * T if model.head == "every" else B
    recurrent = [(T, B, H, G * H)]
    if model.cell == "gru_reset_before":  # r must be known before r * h is multiplied
        recurrent = [(T, B, H, 2 * H), (T, B, H, H)]
    return [(1, B * T, I, G * H), *recurrent, (1, read, H, O)]


def training(task: Task) -> list[Product]:
    """The products of a forward and a backward pass.

    Each product [m, k] @ [k, n] of the forward pass needs two in the backward pass:
    the gradient of its left operand, [m, n] @ [n, k], in the same order of time, and
    of its weights, [k, repeat m] @ [repeat m, n], gathered over all steps. Features
    need no gradient of their own.
    """
    forward = inference(task)
    backward: list[Product] = []
    for index, (repeat, m, k, n) in enumerate(forward):
        if index > 0 or task.model.inputs == "tokens":
            backward.append((repeat, m, n, k))
        backward.append((1, k, repeat * m, n))
    return forward + backward


def flops(products: list[Product]) -> int:
    """Floating-point operations of the products: a multiplication and an addition each."""
    return sum(2 * repeat * m * k * n for repeat, m, k, n in products)
