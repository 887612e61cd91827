"""Threads, precision flags, versions and the matrix-product floor of PyTorch."""

import os
import sys
import warnings

import torch

from suites.interface import Unavailable

PACKAGES = ("torch",)

# One flag per library and operation: the flag of all of torch.backends does not reach
# cuDNN's in every release (pytorch issue 179445), and reading an old allow_tf32 flag
# beside these raises.
FLOAT32 = {
    "float32 onednn matmul": torch.backends.mkldnn.matmul,
    "float32 onednn rnn": torch.backends.mkldnn.rnn,
    "float32 cublas matmul": torch.backends.cuda.matmul,
    "float32 cudnn rnn": torch.backends.cudnn.rnn,
}

DECLARED = {"tf32": torch.float32, "bf16": torch.bfloat16}
AMPERE = (8, 0)  # the first that has either; before it the flags below would be set, and change nothing


def find(device):
    """The torch device of "cpu" or "gpu"; raises Unavailable where there is none."""
    if device == "cpu":
        return torch.device("cpu")
    with warnings.catch_warnings(record=True) as told:  # of a driver that is too old it warns
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return torch.device("cuda")
    if torch.version.cuda is None:
        mend = "is built without CUDA: install locks/torch-gpu.txt, or ask for the CPU"
    else:
        mend = f"(CUDA {torch.version.cuda}) sees none: check nvidia-smi and the driver, or ask for the CPU"
        mend += "".join(f". It says: {warning.message}" for warning in told)
    raise Unavailable(f"expected a CUDA GPU, got none: torch {torch.__version__} {mend}")


def configure(device, threads):
    """Set threads (0: as they are), full float32 precision and denormals, and say what was read back."""
    where = find(device)
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    products = precise("float32", device)
    denormal = torch.full((), 2.0**-140, dtype=torch.float32, device=where)
    settings = {
        "threads": str(torch.get_num_threads()),
        "blas": "MKL" if torch.backends.mkl.is_available() else "not MKL",
        "onednn": "on" if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled else "off",
        "denormals": "kept" if (denormal * 0.5).item() else "flushed",
        "deterministic": "enforced" if torch.are_deterministic_algorithms_enabled() else "not enforced",
    }
    settings |= products
    if where.type == "cuda":
        settings |= {
            "cuda": torch.version.cuda,
            "cudnn": str(torch.backends.cudnn.version()) if torch.backends.cudnn.enabled else "off",
            "cudnn deterministic": str(torch.backends.cudnn.deterministic),
            "cudnn benchmark": str(torch.backends.cudnn.benchmark),
            "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", "not set"),
        }
    return settings


def precise(dtype, device):
    """Set what products of float32 are rounded to, and say what was read back: TF32 by the flags of
    cuBLAS and cuDNN; bfloat16 by autocast, in which the training step, inference and decoding then run."""
    where = find(device)
    if dtype == "tf32" and where.type == "cpu":
        raise Unavailable("expected a GPU for TF32, got the CPU: ask for bf16, or for --device gpu")
    if dtype in DECLARED and where.type == "cuda" and (able := _capability(where)) < AMPERE:
        raise Unavailable(
            f"expected for {dtype} a GPU of compute capability {AMPERE[0]}.0 or later, got "
            f"{'.'.join(map(str, able))}: ask for float32"
        )
    for name, flag in FLOAT32.items():
        flag.fp32_precision = "tf32" if dtype == "tf32" and "cu" in name else "ieee"
    torch.set_autocast_dtype(where.type, torch.bfloat16)
    torch.set_autocast_enabled(where.type, dtype == "bf16")
    settings = {name: flag.fp32_precision for name, flag in FLOAT32.items()}
    return settings | ({"autocast": "bfloat16"} if torch.is_autocast_enabled(where.type) else {})


def _capability(where):
    """Compute capability of the GPU; of one that has none, enough."""
    return torch.cuda.get_device_capability(where) if torch.version.cuda else AMPERE


def floor(products, dtype, device):
    """A function that runs just these products: (repeat, m, k, n) is repeat times [m, k] @ [k, n]."""
    where, dtype = find(device), DECLARED.get(dtype) or getattr(torch, dtype)
    operands = [
        (
            repeat,
            torch.ones(m, k, dtype=dtype, device=where),
            torch.ones(k, n, dtype=dtype, device=where),
            torch.empty(m, n, dtype=dtype, device=where),
        )
        for repeat, m, k, n in products
    ]

    def run():
        for repeat, a, b, out in operands:
            for _ in range(repeat):
                torch.matmul(a, b, out=out)

    if where.type == "cpu":
        return run

    # Launched one by one from Python, small products would time the launches: record them once.
    run()  # cuBLAS sets itself up, which a recording must not see
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    def replay():
        graph.replay()
        return operands  # a recording knows where they are, and does not keep them: this function does

    return replay


def copy(size, device):
    """A function that moves so many bytes in the GPU's memory, half read and half written."""
    source = torch.ones(size // 2, dtype=torch.uint8, device=find(device))
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def wait(answer):
    """Return once the products or the copy are done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def profile(call):
    """Seconds of a call by operation, without those it calls itself; where there is a GPU, by kernel."""
    on_gpu = torch.cuda.is_available()
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CUDA if on_gpu else activity.CPU]) as seen:
        call()
        if on_gpu:
            torch.cuda.synchronize()
    took = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    return {event.key: 1e-6 * getattr(event, took) for event in seen.key_averages()}


def compilations():
    """The graphs that torch.compile has made so far; eager PyTorch makes none, and never loads Dynamo."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo.counters["stats"]["unique_graphs"] if dynamo else 0


def peak_memory(device):
    """The caching allocator's peaks and what the whole device has in use, in bytes."""
    if find(device).type == "cpu":
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "device_used_bytes": total - free,
    }
