"""Which of its algorithms cuDNN took, by names of kernels as profilers show them."""

from __future__ import annotations

import pytest

from suites.bench import cudnn

PERSISTENT = "void RNN_blockPersist_fp_LSTM_HMMA<__half, __half, float, 128, 2>"
BACKWARD = "void RNN_blockPersist_bp_GRU<float, float, float, 128>"
STANDARD = "void LSTM_elementWise_fp<float, float, float, (cudnnRNNBiasMode_t)2>"
OLD = "void elemWiseRNNcell<float, float, float, (cudnnRNNMode_t)2>"
PRODUCT = "ampere_sgemm_32x128_tn"
OTHERS = [PRODUCT, "void at::native::vectorized_elementwise_kernel<4, float>", "loop_add_fusion"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([PRODUCT, PERSISTENT], "persistent"),
        ([BACKWARD], "persistent"),
        ([STANDARD, PRODUCT], "standard"),
        ([OLD], "standard"),
        ([STANDARD, PERSISTENT], "persistent and standard"),
        (OTHERS, ""),
        ([], ""),
    ],
)
def test_the_names_tell(names: list[str], told: str) -> None:
    assert cudnn.algorithm(names) == told


def test_the_path_says_it_by_work() -> None:
    ran = {"train": [PERSISTENT, STANDARD], "infer": [PERSISTENT]}
    assert cudnn.path(ran, {"kernel": "cuDNN"}) == {
        "cuDNN": "train persistent and standard, infer persistent"
    }


def test_names_that_tell_nothing_are_said_to() -> None:
    unseen = {"train": ["not seen: OSError: no CUPTI"]}
    assert cudnn.path(unseen, {"kernel": "cuDNN"}) == {"cuDNN": f"train {cudnn.UNTOLD}"}


def test_where_cudnn_took_no_part_nothing_is_said() -> None:
    assert cudnn.path({"train": OTHERS}, {"kernel": "loop over time"}) == {}
    assert cudnn.path({}, {"kernel": "cuDNN"}) == {}  # no profiler, or a CPU
