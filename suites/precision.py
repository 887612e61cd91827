"""What a row keeps its numbers in, and what it may round its products to.

``float32`` and ``float64`` rows reckon in what they keep. A row of a *declared* precision keeps float32, in
its parameters, moments and everything that crosses the boundary, and rounds what enters a product:

    tf32   to 11 significant bits: the tensor cores of NVIDIA GPUs since 2020, sums in float32
    bf16   to 8: bfloat16, and what the framework's own mixed precision has in bfloat16 besides

It is measured beside strict float32 and never compared with it; the gate asks it the same, by the same rules,
with its own unit roundoff (``suites/parity/tolerances.py``).
"""

from __future__ import annotations

import numpy as np

from suites.spec import DTYPES

# u, the unit roundoff: half the distance from 1 to the next number of so many significant bits
DECLARED = {"tf32": 2.0**-11, "bf16": 2.0**-8}
PRECISIONS = (*DTYPES, *DECLARED)


def kept(dtype: str) -> str:
    """The dtype of a row's arrays."""
    return "float32" if dtype in DECLARED else dtype


def roundoff(dtype: str) -> float:
    """u of a row's products."""
    return DECLARED[dtype] if dtype in DECLARED else float(np.finfo(dtype).eps) / 2
