"""Which of its algorithms cuDNN took: only the names of its kernels tell.

    persistent  W_hh stays on the chip over all steps (RNN_blockPersist_fp_LSTM, RNN_blockPersist_bp_GRU_HMMA)
    standard    of each step a product and an elementwise kernel (LSTM_elementWise_fp, elemWiseRNNcell)

PyTorch chooses by shape (ATen/native/cudnn/RNN.cpp), and the way back may take another than the way forward;
JAX's binding and TensorFlow ask for the standard one, by their sources (jaxlib's ``rnn_kernels.cc``, XLA's
``cuda_dnn.cc``). The names are those that the profilers of PyTorch and TensorFlow show; the algorithms are
those of NVIDIA's documentation of ``cudnnRNNAlgo_t``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ALGORITHMS = {
    "persistent": re.compile("persist", re.IGNORECASE),
    "standard": re.compile("(LSTM|GRU|RNN)_elementWise|elemWiseRNN", re.IGNORECASE),
}
UNTOLD = "not told by the names of its kernels"


def algorithm(kernels: Iterable[str]) -> str:
    """``persistent``, ``standard``, both with "and" between, or nothing: by the names of what ran."""
    names = list(kernels)
    return " and ".join(told for told, form in ALGORITHMS.items() if any(map(form.search, names)))


def path(kernels: Mapping[str, Iterable[str]], own: Mapping[str, str]) -> dict[str, str]:
    """What a row's path says of it, by work; nothing where cuDNN took no part.

    ``own``, the row's path by its own account, says whether it did where the names do not.
    """
    found = {what: algorithm(names) for what, names in kernels.items()}
    if not found or not (any(found.values()) or any("cudnn" in text.lower() for text in own.values())):
        return {}
    return {"cuDNN": ", ".join(f"{what} {told or UNTOLD}" for what, told in found.items())}
